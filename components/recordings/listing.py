"""What a listing of the input holds."""

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
    """What the speaker's recordings of one occasion share; None where that is not known."""
    columns: Mapping[str, str] = field(default_factory=dict, hash=False)
    """What else a table says of it, by the column's name; no empty cell."""


@dataclass(frozen=True, order=True)
class Span:
    """One of the folders, or manifests, that a pattern stands for."""

    number: int
    """TFX's: as written, or days since 1970-01-01."""
    name: str
    """Below the pattern's fixed part, the same wherever that lies."""
    path: str


@dataclass(frozen=True)
class Listing:
    """Everything that the input holds, sorted by name."""

    recordings: tuple[Recording, ...]
    rejects: tuple[Reject, ...]
    speakers: frozenset[str]
    """All that the input names, also those without a recording."""
    spans: tuple[Span, ...] = ()
    """Those that were listed, the newest last; none where the input is no pattern."""
    remarks: tuple[str, ...] = ()
    """One line each, of what may not be what is meant."""


# The speaker whose it is, if any, and what was found.
Found = tuple[str | None, Recording | Reject | Remark]


def data_digest(listing: Listing) -> str:
    """SHA-256 (hex) over every name, size, time, speaker, gender and cut, and every reject.

    A path counts only where the name does not end it: a folder that moves with its
    times keeps its digest. Sessions and other columns do not count: nothing is trained by them.
    """
    digest = hashlib.sha256()
    items: list[Recording | Reject] = [*listing.recordings, *listing.rejects]
    for item in items:
        row = asdict(item)
        row.pop("session", None)
        row.pop("columns", None)
        row.pop("same_as", None)  # known only when the speech is
        fields = list(row.values())
        if isinstance(item, Recording) and item.path.endswith(f"/{item.recording}"):
            fields.remove(item.path)
        digest.update(json.dumps([type(item).__name__, *fields]).encode() + b"\n")
    return digest.hexdigest()


class NoSpeakerError(SwarError):
    """An input without a speaker."""


def no_speaker(data: str) -> NoSpeakerError:
    """The error of an input without a speaker."""
    return NoSpeakerError(
        f"{data!r} holds no speaker's folder: lay it out as <speaker>/<recording>"
    )


# What folders of sets, or of all recordings, are called; a person rarely is.
_NO_SPEAKER: Final = re.compile(
    r"(train|dev|test|val|valid|validation|eval|wav|wavs|flac|mp3|audio|clips|data|recordings|speech)"
    r"([-_. ].*)?",
    re.IGNORECASE,
)


def level_remarks(data: str, names: Iterable[str]) -> list[Remark]:
    """One, where the speakers seem to lie a folder deeper than they are looked for.

    That is where what should be speakers are folders of folders alone, and it is only one of them,
    or they are called as sets are.

    Args:
        data: the folder.
        names: of all recordings in it, `<speaker>/...`.
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
    """Refuses cuts of a file that share a part of it: it could lie in two splits.

    The same segment twice is found by its speech later: a duplicate, or audio of two speakers.

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
    """One name for a file, however a manifest spells it: by another path, link or case."""
    if FileSystems.get_scheme(path) is not None:
        return path
    try:
        status = os.stat(path)
    except OSError:
        return os.path.realpath(path)
    return f"{status.st_dev}:{status.st_ino}"
