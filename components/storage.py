"""Bytes, text and listings, on any filesystem that Beam knows."""

import contextlib
import glob
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from apache_beam.io.filesystem import CompressionTypes
from apache_beam.io.filesystems import FileSystems

from components.errors import SwarError
from components.local_files import File


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


def read_text(path: str) -> str:
    """A whole file of UTF-8.

    Raises:
        SwarError: it cannot be read, or is of another encoding.
    """
    try:
        with _opened(path) as file:
            content: bytes = file.read()
        return content.decode("utf-8-sig")
    except OSError as error:
        raise SwarError(f"{path!r} cannot be read: {error}") from error
    except UnicodeDecodeError as error:
        raise SwarError(f"{path!r} is not UTF-8 at byte {error.start}: save it as UTF-8") from error


def _opened(path: str):  # type: ignore[no-untyped-def]  # Beam's handles have no common type
    """The bytes as they lie there: Beam would gunzip by extension."""
    return FileSystems.open(path, compression_type=CompressionTypes.UNCOMPRESSED)
