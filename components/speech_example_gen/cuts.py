"""Parts of the same file that are listed more than once."""

import math
import os
from collections.abc import Iterable
from itertools import pairwise
from typing import NamedTuple

from apache_beam.io.filesystems import FileSystems

from components.errors import SwarError
from components.speech_example_gen.listing import Recording


class _Stretch(NamedTuple):
    file: str
    start_seconds: float
    end_seconds: float
    recording: str


def check_cuts(recordings: Iterable[Recording]) -> None:
    """Refuses cuts of a file that share a part of it, whoever speaks: it could lie in two splits.

    The same stretch twice is left to whoever hears it: a duplicate, or audio of two speakers.

    Raises:
        SwarError: two cuts overlap.
    """
    listed = list(recordings)
    if all(item.start_seconds is item.end_seconds is None for item in listed):
        return
    for one, other in pairwise(sorted(map(_stretch, listed))):
        is_same = one[:3] == other[:3]
        if one.file == other.file and other.start_seconds < one.end_seconds and not is_same:
            raise SwarError(
                f"{one.recording!r} and {other.recording!r} overlap: correct their seconds"
            )


def _stretch(item: Recording) -> _Stretch:
    return _Stretch(
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
