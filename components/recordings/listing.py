"""The types of a listing of the input, and checks of it."""

import hashlib
import json
import math
import os
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from typing import Final, NamedTuple

from apache_beam.io.filesystems import FileSystems

from components.errors import SwarError
from components.recordings.files import Reject
from components.recordings.tables import Remark


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
    session: str | None = None
    """Shared by the speaker's recordings of one occasion; None if not known."""
    columns: Mapping[str, str] = field(default_factory=dict, hash=False)
    """Other cells of a table about it, by column name; no empty cells."""


@dataclass(frozen=True, order=True)
class Span:
    """One of the folders, or manifests, that a pattern stands for."""

    number: int
    """TFX's span number: as written, or days since 1970-01-01."""
    name: str
    """Path below the pattern's fixed part, the same wherever that lies."""
    path: str


@dataclass(frozen=True)
class Listing:
    """Everything that the input holds, sorted by name."""

    recordings: tuple[Recording, ...]
    rejects: tuple[Reject, ...]
    speakers: frozenset[str]
    """All that the input names, also those without a recording."""
    spans: tuple[Span, ...] = ()
    """The listed spans, the newest last; none if the input is no pattern."""
    remarks: tuple[str, ...] = ()
    """One line each, about what may not be intended."""


# The speaker that the item belongs to, if any, and the item.
Found = tuple[str | None, Recording | Reject | Remark]


def data_digest(listing: Listing) -> str:
    """SHA-256 (hex) over every name, size, time, speaker, gender and cut, and every reject.

    A path counts only if it does not end with the name: a folder that is moved with its times
    keeps its digest. Sessions and other columns do not count: training does not use them.
    """
    digest = hashlib.sha256()
    items: list[Recording | Reject] = [*listing.recordings, *listing.rejects]
    for item in items:
        row = asdict(item)
        row.pop("session", None)
        row.pop("columns", None)
        row.pop("same_as", None)  # known only after cleaning
        fields = list(row.values())
        if isinstance(item, Recording) and item.path.endswith(f"/{item.recording}"):
            fields.remove(item.path)
        digest.update(json.dumps([type(item).__name__, *fields]).encode() + b"\n")
    return digest.hexdigest()


class NoSpeakerError(SwarError):
    """An input without a speaker."""


def no_speaker(data: str) -> NoSpeakerError:
    """The error for an input without a speaker."""
    return NoSpeakerError(
        f"{data!r} holds no speaker's folder: lay it out as <speaker>/<recording>"
    )


# Names of folders of data sets, or of all recordings, which speakers rarely have.
_NO_SPEAKER: Final = re.compile(
    r"(train|dev|test|val|valid|validation|eval|wav|wavs|flac|mp3|audio|clips|data|recordings|speech)"
    r"([-_. ].*)?",
    re.IGNORECASE,
)


def level_remarks(data: str, names: Iterable[str]) -> list[Remark]:
    """A remark if the speakers seem to lie one folder deeper than expected, else none.

    That is so if all top folders hold only folders, and there is only one of them, with several
    folders, or all have names of data sets.

    Args:
        data: the folder.
        names: names of all recordings in it, `<speaker>/...`.
    """
    below: defaultdict[str, set[str]] = defaultdict(set)
    for name in names:
        top, *folders, _ = name.split("/")
        if not folders:
            return []
        below[top].add(folders[0])
    is_one = len(below) == 1 and len(next(iter(below.values()))) > 1
    if not is_one and not (below and all(map(_NO_SPEAKER.fullmatch, below))):
        return []
    first = max(sorted(below), key=lambda top: len(below[top]))
    return [
        Remark(
            f"{first!r} counts as a speaker with {len(below[first])} sessions: if these are the "
            f"speakers, the data is {f'{data}/{first}'!r}"
        )
    ]


class _FileSegment(NamedTuple):
    file: str
    start_seconds: float
    end_seconds: float
    recording: str


def check_cuts(recordings: Iterable[Recording]) -> None:
    """Refuses cuts of a file that share a part of it, which could get into two splits.

    Equal cuts are found later by their speech: as a duplicate, or as audio of two speakers.

    Raises:
        SwarError: two cuts overlap.
    """
    listed = list(recordings)
    if all(item.start_seconds is item.end_seconds is None for item in listed):
        return
    for one, other in pairwise(sorted(map(_segment, listed))):
        is_same = one[:3] == other[:3]
        if one.file == other.file and other.start_seconds < one.end_seconds and not is_same:
            raise SwarError(
                f"{one.recording!r} and {other.recording!r} overlap: correct their seconds"
            )


def _segment(item: Recording) -> _FileSegment:
    return _FileSegment(
        _file(item.path),
        item.start_seconds or 0.0,
        math.inf if item.end_seconds is None else item.end_seconds,
        item.recording,
    )


def _file(path: str) -> str:
    """One name for a file, whichever path, link or case a manifest writes."""
    if FileSystems.get_scheme(path) is not None:
        return path
    try:
        status = os.stat(path)
    except OSError:
        return os.path.realpath(path)
    return f"{status.st_dev}:{status.st_ino}"
