"""Bytes, text and listings, on any filesystem that Beam knows."""

import contextlib
import glob
import os
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from apache_beam.io.filesystem import CompressionTypes
from apache_beam.io.filesystems import FileSystems

from components.decoding.errors import TOO_LARGE, AudioError
from components.errors import SwarError
from components.local_files import File

MOST_RECORDING_BYTES: Final = 4_096_000_000
"""Of a recording's file where no setting says otherwise."""
MOST_TEXT_BYTES: Final = 512_000_000
"""Of a manifest or another table: some five million recordings."""


def is_remote(path: str) -> bool:
    """Whether a path is on another filesystem than this machine's.

    Raises:
        SwarError: Beam has no filesystem for it.
    """
    if FileSystems.get_scheme(path) is None:
        return False
    try:
        FileSystems.get_filesystem(path)
    except ValueError as error:
        raise SwarError(f"no filesystem for {path!r}: install Beam's extra for it") from error
    return True


def remote_files(root: str) -> list[File]:
    """The files of a remote folder and of those below it; none where there is no such folder.

    Args:
        root: of the folder, without a slash at the end.

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
    """A local file with the bytes of a recording: itself, or a copy that goes with the context.

    Raises:
        AudioError: it has more than `max_bytes`; no more of it are copied.
    """
    if FileSystems.get_scheme(path) is None:
        with contextlib.suppress(OSError):  # what it is instead, its decoder says
            _check_size(os.stat(path).st_size, max_bytes)
        yield path
        return
    with tempfile.NamedTemporaryFile(prefix="swar-copy-", suffix=Path(path).suffix) as copy:
        with _opened(path) as source:
            while part := source.read(2**20):
                _check_size(copy.tell() + len(part), max_bytes)
                copy.write(part)
        copy.flush()
        yield copy.name


def _check_size(size_bytes: int, max_bytes: int) -> None:
    if size_bytes > max_bytes:
        raise AudioError(TOO_LARGE, f"has more than {max_bytes / 1e6:,.0f} MB")


def read_text(path: str) -> str:
    """A whole file of UTF-8, such as a manifest.

    Raises:
        SwarError: it cannot be read, is none (a pipe would wait for its writer), has more than
            MOST_TEXT_BYTES, or is of another encoding.
    """
    try:
        if FileSystems.get_scheme(path) is None and not stat.S_ISREG(os.stat(path).st_mode):
            raise SwarError(f"{path!r} is no regular file: name one")
        with _opened(path) as file:
            content: bytes = file.read(MOST_TEXT_BYTES + 1)
        if len(content) > MOST_TEXT_BYTES:
            raise SwarError(f"{path!r} has more than {MOST_TEXT_BYTES / 1e6:,.0f} MB: divide it")
        return content.decode("utf-8-sig")
    except OSError as error:
        raise SwarError(f"{path!r} cannot be read: {error}") from error
    except UnicodeDecodeError as error:
        raise SwarError(f"{path!r} is not UTF-8 at byte {error.start}: save it as UTF-8") from error


def _opened(path: str):  # type: ignore[no-untyped-def]  # Beam's handles have no common type
    """The bytes as they lie there: Beam would gunzip by extension."""
    return FileSystems.open(path, compression_type=CompressionTypes.UNCOMPRESSED)
