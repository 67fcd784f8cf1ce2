"""What lies in the input: which recordings, of whom, and what cannot be one.

A folder `DATA/<speaker>/<any audio file>`, or a manifest, on any filesystem that
Beam knows. Nothing is decoded here.
"""

import contextlib
import glob
import hashlib
import json
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Final

from apache_beam.io.filesystem import CompressionTypes
from apache_beam.io.filesystems import FileSystems

from components.errors import SwarError
from components.speech_example_gen import tables
from components.speech_example_gen.local_files import (
    File,
    Reject,
    entries_of,
    entry_state,
    files_below,
    hidden,
    state,
)

__all__ = ["Listing", "Recording", "Reject", "data_digest", "list_recordings", "open_locally"]

SPEAKERS_FILE: Final = "SPEAKERS.tsv"


@dataclass(frozen=True)
class Recording:
    """One recording, or one cut of it, of one speaker."""

    path: str
    speaker: str
    gender: str
    """One of features.GENDERS."""
    recording: str
    """The name below the data folder: unique, and the same wherever the folder lies."""
    start_seconds: float | None
    end_seconds: float | None
    size_bytes: int
    modified: float | None
    """Seconds since 1970; None where the filesystem does not tell."""


@dataclass(frozen=True)
class Listing:
    """Everything that the input holds, sorted by name."""

    recordings: tuple[Recording, ...]
    rejects: tuple[Reject, ...]
    speakers: frozenset[str]
    """Everybody whom the input names, also those without a recording."""


# Whose it is, where it is somebody's, and what was found.
Found = tuple[str | None, Recording | Reject]


def list_recordings(data: str) -> Listing:
    """Lists a folder of speakers' folders, or a `.csv` or `.tsv` manifest, without decoding.

    Raises:
        SwarError: the input is missing, has no speaker's folder, or a table is wrong;
            for tables the line and the column are named.
    """
    remote = FileSystems.get_scheme(data) is not None
    if remote:
        try:
            FileSystems.get_filesystem(data)
        except ValueError as error:
            raise SwarError(f"no filesystem for {data!r}: install Beam's extra for it") from error
    elif not os.path.lexists(data):
        raise SwarError(f"{data!r} does not exist: name a folder of speakers or a manifest")
    if data.lower().endswith((".csv", ".tsv")) and (remote or not Path(data).is_dir()):
        found = _manifest(data)
    elif remote:
        found = _remote_folder(data.rstrip("/"))
    elif Path(data).is_dir():
        found = _local_folder(Path(data).absolute())
    else:
        raise SwarError(f"{data!r} is no folder, .csv or .tsv: name a folder or a manifest")
    owned = list(found)
    recordings = [item for _, item in owned if isinstance(item, Recording)]
    rejects = [item for _, item in owned if isinstance(item, Reject)]
    return Listing(
        tuple(sorted(recordings, key=lambda item: item.recording)),
        tuple(sorted(rejects, key=lambda item: (item.file, item.reason))),
        frozenset(speaker for speaker, _ in owned if speaker is not None),
    )


@contextlib.contextmanager
def open_locally(path: str) -> Iterator[str]:
    """A local file with the bytes of `path`: itself, or a copy that goes with the context."""
    if FileSystems.get_scheme(path) is None:
        yield path
        return
    with tempfile.NamedTemporaryFile(prefix="swar-copy-", suffix=Path(path).suffix) as copy:
        with _opened(path) as source:
            shutil.copyfileobj(source, copy, 2**20)
        copy.flush()
        yield copy.name


def data_digest(listing: Listing) -> str:
    """SHA-256 (hex) over every name, size, time, speaker, gender and cut, and every reject.

    A path counts only where the name does not end it: a folder that moves with its
    times keeps its digest.
    """
    digest = hashlib.sha256()
    items: list[Recording | Reject] = [*listing.recordings, *listing.rejects]
    for item in items:
        fields = list(astuple(item))
        if isinstance(item, Recording) and item.path.endswith(f"/{item.recording}"):
            fields.remove(item.path)
        digest.update(json.dumps([type(item).__name__, *fields]).encode() + b"\n")
    return digest.hexdigest()


def _opened(path: str):  # type: ignore[no-untyped-def]  # Beam's handles have no common type
    """The bytes as they lie there: Beam would gunzip by extension."""
    return FileSystems.open(path, compression_type=CompressionTypes.UNCOMPRESSED)


def _text(path: str) -> str:
    try:
        with _opened(path) as file:
            content: bytes = file.read()
        return content.decode("utf-8-sig")
    except OSError as error:
        raise SwarError(f"{path!r} cannot be read: {error}") from error
    except UnicodeDecodeError as error:
        raise SwarError(f"{path!r} is not UTF-8 at byte {error.start}: save it as UTF-8") from error


def _local_folder(root: Path) -> Iterator[Found]:
    entries = entries_of(root)
    genders: dict[str, str] = {}
    if (root / SPEAKERS_FILE).is_file():
        table = str(root / SPEAKERS_FILE)
        genders = tables.parse_speakers(_text(table), table)
    any_speaker = False
    for entry in entries:
        status = entry_state(entry, entry.name)
        if isinstance(status, Reject):
            yield None, status
        elif stat.S_ISDIR(status.st_mode):
            any_speaker = True
            for found in files_below(root, entry.name):
                item = _of(entry.name, genders, found) if isinstance(found, File) else found
                yield entry.name, item
        elif entry.name != SPEAKERS_FILE:
            yield None, _outside(entry.name)
    if not any_speaker:
        raise _no_speaker(str(root))


def _remote_folder(root: str) -> Iterator[Found]:
    try:
        (match,) = FileSystems.match([f"{glob.escape(root)}/**"])
    except OSError as error:
        raise SwarError(f"{root!r} cannot be listed: {error}") from error
    files = [
        File(
            item.path.removeprefix(f"{root}/"),
            item.path,
            item.size_in_bytes,
            item.last_updated_in_seconds or None,
        )
        for item in match.metadata_list
        if not item.path.endswith("/")  # object stores keep an empty object for a folder
    ]
    genders: dict[str, str] = {}
    for file in files:
        if file.name == SPEAKERS_FILE:
            genders = tables.parse_speakers(_text(file.path), file.path)
    if not any("/" in file.name for file in files):
        raise _no_speaker(root)
    for file in files:
        speaker, slash, _ = file.name.partition("/")
        if any(part.startswith(".") for part in file.name.split("/")):
            yield None, hidden(file.name)
        elif slash:
            yield speaker, _of(speaker, genders, file)
        elif file.name != SPEAKERS_FILE:
            yield None, _outside(file.name)


def _manifest(table: str) -> Iterator[Found]:
    folder = FileSystems.split(table)[0]
    for row in tables.parse_manifest(_text(table), table):
        absolute = FileSystems.get_scheme(row.path) is not None or row.path.startswith("/")
        path = row.path if absolute else FileSystems.join(folder, row.path)
        file = _listed(path, row.recording)
        if isinstance(file, Reject):
            yield row.speaker, file
            continue
        recording = Recording(
            path=file.path,
            speaker=row.speaker,
            gender=row.gender,
            recording=file.name,
            start_seconds=row.start_seconds,
            end_seconds=row.end_seconds,
            size_bytes=file.size_bytes,
            modified=file.modified,
        )
        yield row.speaker, recording


def _listed(path: str, name: str) -> File | Reject:
    if FileSystems.get_scheme(path) is None:
        local = Path(path).absolute()
        status = state(local, name)
        if isinstance(status, Reject):
            return status
        if stat.S_ISDIR(status.st_mode):
            return Reject(name, "not_a_file", None, "a folder")
        return File(name, str(local), status.st_size, status.st_mtime)
    try:
        found = FileSystems.get_filesystem(path).metadata(path)
    except ValueError as error:
        raise SwarError(f"no filesystem for {path!r}: install Beam's extra for it") from error
    except OSError as error:
        return Reject(name, "missing", None, str(error))
    return File(name, path, found.size_in_bytes, found.last_updated_in_seconds or None)


def _of(speaker: str, genders: dict[str, str], file: File) -> Recording:
    return Recording(
        path=file.path,
        speaker=speaker,
        gender=genders.get(speaker, "unknown"),
        recording=file.name,
        start_seconds=None,
        end_seconds=None,
        size_bytes=file.size_bytes,
        modified=file.modified,
    )


def _outside(name: str) -> Reject:
    return Reject(name, "outside_speaker", None, "it lies in no speaker's folder")


def _no_speaker(data: str) -> SwarError:
    return SwarError(f"{data!r} holds no speaker's folder: lay it out as <speaker>/<recording>")
