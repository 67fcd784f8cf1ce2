"""`swar erase-speaker`: removes a person from an output folder, as far as possible.

What was computed from the speech of many people is removed whole, and the next run makes it again
from the recordings that are left. A model is not changed: what it has learned cannot be taken out
of it, and its digest covers the templates of speakers that it holds.
"""

import json
import re
import shutil
import unicodedata
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Final

from ml_metadata.proto.metadata_store_pb2 import Artifact

from components.artifacts import RECORDINGS_FILE, REJECTS_FILE
from components.atomic_write import new_file
from components.errors import SwarError
from components.recordings.tables import path_spellings, speaker_name
from pipeline.failures import storage_errors
from pipeline.models.lineage import Sighting, models_of_speaker
from pipeline.output.folder import claimed
from pipeline.output.records import Records
from pipeline.output.results import read_rows

# Made from speech or pairs, and made again by the next run. Models and their evaluations stay.
_MADE_AGAIN: Final = ("Examples", "ExampleStatistics", "ExampleAnomalies", "File")
_READ_BYTES: Final = 1 << 20


@dataclass(frozen=True)
class Erasure:
    """What was removed of a person, and what still knows them."""

    speaker: str
    recordings: int
    """Number of rows about the person's recordings, in all runs."""
    removed: list[str]
    """Folders and files with the person's speech, or with what was computed from it."""
    models: list[Sighting]
    """Models that were trained, calibrated or judged with the person's speech."""
    left: list[str]
    """Files that still contain the name."""


def erase_speaker(output: Path, speaker: str) -> Erasure:
    """Removes a person from an output folder; no run may write to it meanwhile.

    Args:
        output: folder of a local run.
        speaker: the person's name in the data.

    Raises:
        SwarError: no run wrote to the folder or used such a speaker, or the folder was moved or
            cannot be written.
    """
    output, speaker = output.absolute(), speaker_name(speaker)
    records = Records(output)

    def is_recording(row: dict[str, Any]) -> bool:
        return bool(row["speaker"] == speaker)

    def is_reject(row: dict[str, Any]) -> bool:
        return _is_in_folder_of(row["file"], speaker)

    with storage_errors(output), claimed(output):
        models = models_of_speaker(output, speaker)
        runs = _runs(records)
        rejects = [Path(outputs["rejects"].uri, REJECTS_FILE) for outputs in runs.values()]
        counts = {file: _count_rows(file, is_recording) for file in runs}
        if not any(counts.values()) and not any(_count_rows(each, is_reject) for each in rejects):
            raise SwarError(f"no run in {output} used recordings of a speaker named {speaker!r}")
        made = [
            artifact
            for file, outputs in runs.items()
            if counts[file]
            for artifact in records.made_from(outputs["speech"], _MADE_AGAIN)
        ]
        removed = _remove_folders(records, made)
        removed += _remove_unfinished(records)
        for log in sorted((output / "logs").glob("*.log")):
            _remove_lines(log, speaker)
        # The rows last: after an interruption, the repeated command finds the rest by them.
        for file in rejects:
            _remove_rows(file, is_reject)
        for file in runs:
            _remove_rows(file, is_recording)
        left = _files_with(output, speaker)
        return Erasure(speaker, sum(counts.values()), removed, models, left)


def _runs(records: Records) -> dict[Path, dict[str, Artifact]]:
    """The outputs of each SpeechExampleGen, by its file of recordings."""
    found = {}
    for artifact in records.live("File"):
        file = Path(artifact.uri, RECORDINGS_FILE)
        if file.is_file():
            records.check_place(artifact)
            found[file] = records.outputs(records.producer(artifact))
    return found


def _is_in_folder_of(file: str, speaker: str) -> bool:
    """Whether a reject is a speaker's folder or lies in it; that may be in a span's folder."""
    return any(speaker_name(part) == speaker for part in PurePosixPath(file).parts)


def _count_rows(file: Path, is_of_speaker: Callable[[dict[str, Any]], bool]) -> int:
    return sum(map(is_of_speaker, read_rows(file)))


def _remove_rows(file: Path, is_of_speaker: Callable[[dict[str, Any]], bool]) -> None:
    lines = file.read_text("utf-8").splitlines(keepends=True)
    rows = zip(lines, read_rows(file), strict=True)
    kept = [line for line, row in rows if not is_of_speaker(row)]
    if len(kept) < len(lines):
        _rewrite(file, "".join(kept))


def _remove_lines(log: Path, speaker: str) -> None:
    """Removes lines with the name as a whole word, as in the path of a rejected file."""
    name = re.compile(rf"(?<![\w.-]){re.escape(speaker)}(?![\w.-])")
    lines = log.read_text("utf-8", "replace").splitlines(keepends=True)
    kept = [line for line in lines if not name.search(unicodedata.normalize("NFC", line))]
    if len(kept) < len(lines):
        _rewrite(log, "".join(kept))


def _rewrite(file: Path, text: str) -> None:
    with new_file(file) as to:
        to.write(text.encode())


def _remove_folders(records: Records, artifacts: Iterable[Artifact]) -> list[str]:
    """Removes the folders of artifacts that still exist, and gives their paths."""
    removed = []
    for artifact in artifacts:
        records.check_place(artifact)
        if Path(artifact.uri).is_dir():
            shutil.rmtree(artifact.uri)
            removed.append(artifact.uri)
    return removed


def _remove_unfinished(records: Records) -> list[str]:
    """Removes incomplete artifacts and the weights of unfinished trainings; gives their paths.

    Both may hold the person's speech. Neither is in the records, and no run reads the former.
    """
    checkpoints = records.output / "checkpoints"
    found = sorted(checkpoints.iterdir()) if checkpoints.is_dir() else []
    found += records.unfinished()
    for entry in found:
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink()
    return [str(entry) for entry in found]


def _files_with(output: Path, speaker: str) -> list[str]:
    spellings = path_spellings(speaker)
    wanted = {each.encode() for each in spellings}  # as text, and in JSON
    wanted |= {json.dumps(each)[1:-1].encode() for each in spellings}
    files = (path for path in sorted(output.rglob("*")) if not path.is_symlink())
    return [str(path) for path in files if path.is_file() and _holds(path, wanted)]


def _holds(path: Path, wanted: Collection[bytes]) -> bool:
    end, longest = b"", max(map(len, wanted))
    with path.open("rb") as file:
        while chunk := file.read(_READ_BYTES):
            read = end + chunk
            if any(each in read for each in wanted):
                return True
            end = read[-longest:]
    return False
