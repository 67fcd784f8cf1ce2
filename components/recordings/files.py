"""Lists the files below a folder, on any filesystem that Beam knows.

Links within a local folder are followed, and odd files are rejects; listing opens no file.
"""

import codecs
import contextlib
import errno
import glob
import os
import stat
import tempfile
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from apache_beam.io.filesystem import CompressionTypes
from apache_beam.io.filesystems import FileSystems

from components.decoding.errors import check_size
from components.errors import SwarError

MOST_RECORDING_BYTES: Final = 4_096_000_000
"""Largest file of a recording if no setting says otherwise."""
MOST_TEXT_BYTES: Final = 512_000_000
"""Largest manifest or other table: about five million recordings."""
HIDDEN: Final = "hidden"
OUTSIDE_LINK: Final = "outside_link"
"""A link that leads out of the data folder."""
SPEAKER_WITHOUT_SPEECH: Final = "speaker_without_speech"
COMPANION: Final = "companion"
"""A file that corpora or systems store beside recordings."""
_COMPANION_SUFFIXES: Final = (
    *(".txt", ".lab", ".textgrid", ".eaf", ".srt", ".vtt", ".trn", ".phn", ".wrd", ".ctm", ".rttm"),
    *(".json", ".jsonl", ".csv", ".tsv", ".xml", ".yaml", ".yml", ".ini", ".log", ".md", ".html"),
    *(".pdf", ".doc", ".docx", ".xlsx", ".jpg", ".jpeg", ".png", ".py", ".sh", ".md5", ".sha256"),
    *(".trs", ".stm", ".cha", ".mlf", ".par", ".scp", ".npy", ".npz", ".m3u", ".pls", ".cue"),
    *(".gif", ".lst", ".pitchtier", ".pitch", ".f0", ".bak"),
    *(".lnk", ".url", ".pkf", ".sfk", ".pek", ".asd", ".reapeaks", ".aup", ".aup3"),
    # Files that Windows, Synology, macOS and VoxForge store beside others.
    *("thumbs.db", ":zone.identifier", "@synoeastream", "@synoresource", "/icon\r"),
    *("/readme", "/license", "/prompts", "/prompts-original", "/audiofile_details"),
    *("/hdman_log", "/hvite_log", "/julius_log"),
)
_SYSTEM_FOLDERS: Final = frozenset(
    {"__MACOSX", "@eaDir", "#recycle", "$RECYCLE.BIN", "System Volume Information", "lost+found"}
)
UNCOUNTED_REASONS: Final = frozenset(
    {HIDDEN, COMPANION, "outside_speaker", "outside_span", "empty_folder", SPEAKER_WITHOUT_SPEECH}
)
"""Reasons that lose no recording and do not count towards `max_reject_fraction` of recordings."""


@dataclass(frozen=True)
class File:
    """A regular file, perhaps behind links."""

    name: str
    """Path below the data folder, with `/`."""
    path: str
    size_bytes: int
    modified: float | None
    """Seconds since 1970; None where the filesystem does not tell."""


@dataclass(frozen=True)
class Reject:
    """A file, folder or link that gives no speech, and why."""

    file: str
    """Path below the data folder; bytes that are not UTF-8 as backslash escapes."""
    reason: str
    """A short snake_case code."""
    seconds: float | None
    detail: str
    same_as: str | None = None
    """The recording of the same speech that was kept, by its name."""

    @property
    def counts(self) -> bool:
        """Whether it counts towards `max_reject_fraction` of the recordings."""
        return self.reason not in UNCOUNTED_REASONS


def files_below(root: Path, speaker: str, *, within: Path | None) -> Iterator[File | Reject]:
    """Walks a speaker's folder and follows links, listing each folder once.

    Args:
        root: the data folder.
        speaker: the name of a folder in it.
        within: the folder that links must not lead out of; a link that does is a reject, and
            nothing behind it is listed. None follows all links.
    """
    folders = deque([(speaker, frozenset([_identity(root)]))])
    seen = set()
    while folders:
        name, above = folders.popleft()
        identity = _identity(root / name)
        entries = _entries_below(root, name, identity in above, identity in seen)
        seen.add(identity)
        if isinstance(entries, Reject):
            yield entries
            continue
        for entry in entries:
            child = f"{name}/{entry.name}"
            status = entry_state(entry, child, within)
            if isinstance(status, Reject):
                yield status
            elif not stat.S_ISDIR(status.st_mode):
                yield File(child, str(entry), status.st_size, status.st_mtime)
            elif entry.is_symlink():
                folders.append((child, above | {identity}))
            else:
                folders.appendleft((child, above | {identity}))


def _entries_below(root: Path, name: str, is_above: bool, is_seen: bool) -> list[Path] | Reject:
    """The entries of a folder, or why it is not listed."""
    if is_above:
        return Reject(name, "circular_link", None, "a link to a folder that holds it")
    if is_seen:
        return Reject(name, "duplicate", None, "a link to a folder already listed")
    try:
        entries = entries_of(root / name)
    except SwarError as error:
        return Reject(name, "unreadable", None, str(error))
    return entries or Reject(name, "empty_folder", None, "a folder without files")


def entries_of(folder: Path) -> list[Path]:
    """The entries of a folder, links last, so that no link takes the place of its target."""
    try:
        with os.scandir(folder) as entries:
            ordered = sorted(entries, key=lambda entry: (entry.is_symlink(), entry.name))
    except OSError as error:
        raise SwarError(f"{str(folder)!r} cannot be listed: {error.strerror}") from error
    return [Path(entry.path) for entry in ordered]


def entry_state(path: Path, name: str, within: Path | None) -> os.stat_result | Reject:
    """As `state`, for an entry found by listing, whose name and links are checked too.

    Args:
        path: path of the entry.
        name: its name in a reject.
        within: the folder that a link must not lead out of; None if it may.
    """
    try:
        name.encode()
    except UnicodeEncodeError:
        # Escapes the byte itself, not the surrogate that stands for it.
        printable = os.fsencode(name).decode("utf-8", "backslashreplace")
        return Reject(printable, "name_not_utf8", None, "its name is not UTF-8")
    if is_hidden(path.name):
        return hidden(name)
    status = state(path, name)
    if isinstance(status, Reject) or within is None or not leads_out(path, within):
        return status
    return Reject(name, OUTSIDE_LINK, None, "a link out of the data folder")


def leads_out(path: Path, folder: Path) -> bool:
    """Whether a path is a link to something that is not below the folder."""
    return path.is_symlink() and not is_below(path, folder)


def is_below(path: Path, folder: Path) -> bool:
    """Whether a path, with all links resolved, is below a folder."""
    return path.resolve().is_relative_to(folder.resolve())


def is_hidden(name: str) -> bool:
    """Whether the name of a file or folder starts with a dot, or is that of a system's folder."""
    return name.startswith(".") or name in _SYSTEM_FOLDERS


def hidden(name: str) -> Reject:
    """The reject for a hidden name."""
    return Reject(name, HIDDEN, None, "its name starts with a dot, or is a system's")


def companion(name: str) -> Reject | None:
    """The reject for a transcript, list or picture, known by its name; None for other files."""
    if not name.lower().endswith(_COMPANION_SUFFIXES):
        return None
    return Reject(name, COMPANION, None, "its name is no recording's")


def outside_span(name: str) -> Reject:
    """The reject for what lies beside the spans and is none."""
    printable = os.fsencode(name).decode("utf-8", "backslashreplace")
    return Reject(printable, "outside_span", None, "its name is no span of the pattern")


def state(path: Path, name: str) -> os.stat_result | Reject:
    """The status of a file or folder, behind any links, or why it is neither."""
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


def is_remote(path: str) -> bool:
    """Whether a path is on a filesystem other than this machine's.

    Raises:
        SwarError: Beam has no filesystem for it.
    """
    if FileSystems.get_scheme(path) is None:
        return False
    try:
        FileSystems.get_filesystem(path)
    except ValueError as error:
        raise no_filesystem(path) from error
    return True


def no_filesystem(path: str) -> SwarError:
    """The error for a path on a filesystem that Beam does not know, or has no libraries for."""
    return SwarError(
        f"no filesystem for {path!r}: install Beam's extra for it, or copy the files here"
    )


def remote_files(root: str) -> list[File]:
    """The files of a remote folder and its subfolders; none if there is no such folder.

    Args:
        root: the folder, without a slash at the end.

    Raises:
        SwarError: it cannot be listed.
    """
    try:
        (match,) = FileSystems.match([f"{glob.escape(root)}/**"])
    except OSError as error:
        raise SwarError(f"{root!r} cannot be listed: {error}") from error
    return [
        File(
            item.path.removeprefix(f"{root}/"),
            item.path,
            item.size_in_bytes,
            item.last_updated_in_seconds or None,
        )
        for item in match.metadata_list
        if not item.path.endswith("/")  # object stores keep an empty object for a folder
    ]


@contextlib.contextmanager
def open_locally(path: str, max_bytes: int = MOST_RECORDING_BYTES) -> Iterator[str]:
    """Yields a recording's local path: its own, or a copy that is deleted with the context.

    Raises:
        AudioError: the file has more than `max_bytes`; no more are copied.
    """
    if FileSystems.get_scheme(path) is None:
        with contextlib.suppress(OSError):  # its decoder tells what is wrong
            check_size(os.stat(path).st_size, max_bytes)
        yield path
        return
    with tempfile.NamedTemporaryFile(prefix="swar-copy-", suffix=Path(path).suffix) as copy:
        with _opened(path) as source:
            while part := source.read(2**20):
                check_size(copy.tell() + len(part), max_bytes)
                copy.write(part)
        copy.flush()
        yield copy.name


def read_text(path: str) -> str:
    """Reads a whole file, such as a manifest, in UTF-8, or in UTF-16 with a byte order mark.

    Raises:
        SwarError: it cannot be read, is not regular (a pipe would wait for its writer), has more
            than MOST_TEXT_BYTES, or has another encoding.
    """
    try:
        if FileSystems.get_scheme(path) is None and not stat.S_ISREG(os.stat(path).st_mode):
            raise SwarError(f"{path!r} is no regular file: name one")
        with _opened(path) as file:
            content: bytes = file.read(MOST_TEXT_BYTES + 1)
        if len(content) > MOST_TEXT_BYTES:
            raise SwarError(f"{path!r} has more than {MOST_TEXT_BYTES / 1e6:,.0f} MB: divide it")
        is_utf16 = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
        return content.decode("utf-16" if is_utf16 else "utf-8-sig")
    except OSError as error:
        why = error.strerror or error
        raise SwarError(f"{path!r} cannot be read ({why}): name another file") from error
    except UnicodeDecodeError as error:
        raise SwarError(f"{path!r} is not UTF-8 at byte {error.start}: save it as UTF-8") from error


def _opened(path: str):  # type: ignore[no-untyped-def]  # Beam's handles have no common type
    """Opens the raw bytes of a file: Beam would gunzip by extension."""
    return FileSystems.open(path, compression_type=CompressionTypes.UNCOMPRESSED)
