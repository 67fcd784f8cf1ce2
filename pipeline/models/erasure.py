"""`swar erase-speaker`: a person is removed from an output folder, as far as that goes.

What was computed from the speech of many people is removed whole: the next run makes it anew from
the recordings that are there then. A model is not changed: what it has learned cannot be taken out
of it, and the templates of speakers that it holds are a part of what its digest names.
"""

import json
import re
import shutil
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Final

from components.artifacts import RECORDINGS_FILE, REJECTS_FILE
from components.atomic_write import new_file
from components.errors import SwarError
from components.recordings.tables import speaker_name
from pipeline.models.lineage import Sighting, models_of_speaker
from pipeline.output.folder import claimed
from pipeline.output.records import Records

# Made from speech or pairs, and made again by the next run. Models and what was said of them stay.
_MADE_AGAIN: Final = ("Examples", "ExampleStatistics", "ExampleAnomalies", "File")
_READ_BYTES: Final = 1 << 20


@dataclass(frozen=True)
class Erasure:
    """What was removed of a person, and what still knows them."""

    speaker: str
    recordings: int
    """Rows about the person's recordings, of all runs."""
    removed: list[str]
    """Folders and files with the person's speech, or with what was computed from it."""
    models: list[Sighting]
    """Those that were trained, calibrated or judged with the person's speech."""
    left: list[str]
    """Files in which the name is still to be read."""


def erase_speaker(output: Path, speaker: str) -> Erasure:
    """Removes a person from an output folder; no run may write to it meanwhile.

    Args:
        output: folder of a local run.
        speaker: as the data named the person.

    Raises:
        SwarError: no run wrote there, or it was moved, or no run used such a speaker.
    """
    output = output.absolute()
    records = Records(output)
    with claimed(output):
        runs = [
            (artifact, records.outputs(records.producer(artifact)))
            for artifact in records.live("File")
            if Path(artifact.uri, RECORDINGS_FILE).is_file()
        ]
        models = models_of_speaker(output, speaker)
        removed, count, rejected = [], 0, 0
        for artifact, outputs in runs:
            records.check_place(artifact)
            rejects = Path(outputs["rejects"].uri, REJECTS_FILE)
            rejected += _remove_rows(rejects, lambda row: _is_in_folder_of(row["file"], speaker))
            found = _remove_rows(
                Path(artifact.uri, RECORDINGS_FILE), lambda row: row["speaker"] == speaker
            )
            if not found:
                continue
            count += found
            kept = {artifact.id, outputs["rejects"].id}
            for made in records.made_from(outputs["speech"], _MADE_AGAIN):
                if made.id not in kept and Path(made.uri).is_dir():
                    records.check_place(made)
                    shutil.rmtree(made.uri)
                    removed.append(made.uri)
        if not count + rejected:
            raise SwarError(f"no run in {output} used recordings of a speaker named {speaker!r}")
        removed += _remove_unfinished(output / "checkpoints")
        for log in sorted((output / "logs").glob("*.log")):
            _remove_lines(log, speaker)
        return Erasure(speaker, count, removed, models, _files_with(output, speaker))


def _is_in_folder_of(file: str, speaker: str) -> bool:
    """Whether a reject lies in a speaker's folder, which may be below a span's, or is it."""
    return any(speaker_name(part) == speaker for part in PurePosixPath(file).parts)


def _remove_rows(file: Path, is_of_speaker: Callable[[dict[str, Any]], bool]) -> int:
    lines = file.read_text("utf-8").splitlines(keepends=True)
    kept = [line for line in lines if not is_of_speaker(json.loads(line))]
    if len(kept) < len(lines):
        _rewrite(file, "".join(kept))
    return len(lines) - len(kept)


def _remove_lines(log: Path, speaker: str) -> None:
    """Those in which the name stands by itself, as in the path of a rejected file."""
    name = re.compile(rf"(?<![\w.-]){re.escape(speaker)}(?![\w.-])")
    lines = log.read_text("utf-8", "replace").splitlines(keepends=True)
    kept = [line for line in lines if not name.search(line)]
    if len(kept) < len(lines):
        _rewrite(log, "".join(kept))


def _rewrite(file: Path, text: str) -> None:
    with new_file(file) as to:
        to.write(text.encode())


def _remove_unfinished(checkpoints: Path) -> list[str]:
    """The state of trainings that were broken off: weights, made from the person's speech too."""
    found = sorted(checkpoints.iterdir()) if checkpoints.is_dir() else []
    for entry in found:
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink()
    return [str(entry) for entry in found]


def _files_with(output: Path, speaker: str) -> list[str]:
    wanted = {speaker.encode(), json.dumps(speaker)[1:-1].encode()}  # as text, and in JSON
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
