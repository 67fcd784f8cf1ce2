"""The files below a local folder: links followed, odd ones told apart, nothing opened."""

import errno
import os
import stat
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from components.errors import SwarError

HIDDEN: Final = "hidden"
SPEAKER_WITHOUT_SPEECH: Final = "speaker_without_speech"
UNCOUNTED_REASONS: Final = frozenset(
    {HIDDEN, "outside_speaker", "outside_span", "empty_folder", SPEAKER_WITHOUT_SPEECH}
)
"""No recording was lost: these do not count towards `max_reject_fraction` of the recordings."""


@dataclass(frozen=True)
class File:
    """A regular file behind any links."""

    name: str
    """Below the data folder, with `/`."""
    path: str
    size_bytes: int
    modified: float | None
    """Seconds since 1970; None where the filesystem does not tell."""


@dataclass(frozen=True)
class Reject:
    """A file, folder or link that gives no speech, and why."""

    file: str
    """Below the data folder; bytes that are not UTF-8 as backslash escapes."""
    reason: str
    """A short snake_case code."""
    seconds: float | None
    detail: str
    same_as: str | None = None
    """Of a duplicate by its speech: the recording that was kept, by its name."""

    @property
    def counts(self) -> bool:
        """Whether it counts towards `max_reject_fraction` of the recordings."""
        return self.reason not in UNCOUNTED_REASONS


def check_present(data: str) -> None:
    """Raises SwarError for data that are a path on this machine, no pattern, and not there."""
    if "://" not in data and "{" not in data and not os.path.lexists(data):
        raise SwarError(f"{data!r} does not exist: name a folder of speakers or a manifest")


def check_folder(data: Path) -> None:
    """Raises SwarError unless the path is a folder."""
    if not data.is_dir():
        raise SwarError(f"{str(data)!r} is no folder on this machine: name a folder of recordings")


def files_below(root: Path, speaker: str) -> Iterator[File | Reject]:
    """Walks a speaker's folder: links are followed, each folder behind them once."""
    folders = deque([(speaker, frozenset([_identity(root)]))])
    seen = set()
    while folders:
        name, above = folders.popleft()
        identity = _identity(root / name)
        if identity in above:
            yield Reject(name, "circular_link", None, "a link to a folder that holds it")
            continue
        if identity in seen:
            yield Reject(name, "duplicate", None, "a link to a folder already listed")
            continue
        seen.add(identity)
        try:
            entries = entries_of(root / name)
        except SwarError as error:
            yield Reject(name, "unreadable", None, str(error))
            continue
        if not entries:
            yield Reject(name, "empty_folder", None, "a folder without files")
        for entry in entries:
            child = f"{name}/{entry.name}"
            status = entry_state(entry, child)
            if isinstance(status, Reject):
                yield status
            elif not stat.S_ISDIR(status.st_mode):
                yield File(child, str(entry), status.st_size, status.st_mtime)
            elif entry.is_symlink():
                folders.append((child, above | {identity}))
            else:
                folders.appendleft((child, above | {identity}))


def entries_of(folder: Path) -> list[Path]:
    """Real ones before links, so that a link never takes the place of what it points to."""
    try:
        with os.scandir(folder) as entries:
            ordered = sorted(entries, key=lambda entry: (entry.is_symlink(), entry.name))
    except OSError as error:
        raise SwarError(f"{str(folder)!r} cannot be listed: {error.strerror}") from error
    return [Path(entry.path) for entry in ordered]


def entry_state(path: Path, name: str) -> os.stat_result | Reject:
    """As `state`, of an entry that was found, not named: its name is judged too."""
    try:
        name.encode()
    except UnicodeEncodeError:
        # The escape is of the byte itself, not of the surrogate that stands for it.
        printable = os.fsencode(name).decode("utf-8", "backslashreplace")
        return Reject(printable, "name_not_utf8", None, "its name is not UTF-8")
    return hidden(name) if path.name.startswith(".") else state(path, name)


def hidden(name: str) -> Reject:
    """The reject of a name with a dot in front."""
    return Reject(name, HIDDEN, None, "its name starts with a dot")


def outside_span(name: str) -> Reject:
    """The reject of what lies beside the spans and is none."""
    printable = os.fsencode(name).decode("utf-8", "backslashreplace")
    return Reject(printable, "outside_span", None, "its name is no span of the pattern")


def state(path: Path, name: str) -> os.stat_result | Reject:
    """What a file or folder is, behind any links, or why it is neither."""
    try:
        status = path.stat()
    except OSError as error:
        reason = "unreadable"
        if error.errno == errno.ELOOP:
            reason = "circular_link"
        elif error.errno in (errno.ENOENT, errno.ENOTDIR):
            reason = "broken_link" if path.is_symlink() else "missing"
        return Reject(name, reason, None, error.strerror or str(error))
    if stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode):
        return status
    return Reject(name, "not_a_file", None, "a pipe, socket or device")


def _identity(folder: Path) -> tuple[int, int]:
    status = folder.stat()
    return status.st_dev, status.st_ino
