"""Writes files and folders that are complete or absent, however the process ends."""

import contextlib
import errno
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from components.errors import SwarError


class FolderInUse(SwarError):
    """The path of a new folder exists, and is not an empty folder."""

    def __init__(self, folder: Path) -> None:
        super().__init__(f"{folder} exists and is not an empty folder; choose another or remove it")


@contextlib.contextmanager
def new_file(path: Path, *, private: bool = False) -> Iterator[BinaryIO]:
    """Opens a file for writing that replaces `path` once it is on the disk.

    On an error, `path` stays as it was. One process at a time may write a path: the partial file
    of a killed process is overwritten.

    Args:
        path: the file.
        private: whether only its owner has access, whatever the umask.

    Raises:
        OSError: the file cannot be written.
    """
    partial = path.with_name(f".{path.name}.partial")
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
    try:
        with open(os.open(partial, flags, 0o600 if private else 0o666), "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def check_new_folder(folder: Path) -> None:
    """Raises FolderInUse unless the folder is absent or empty."""
    if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        raise FolderInUse(folder)


@contextlib.contextmanager
def new_folder(folder: Path) -> Iterator[Path]:
    """Yields a folder to write in, which is moved to `folder` unless an error is raised.

    Raises:
        FolderInUse: the folder is not empty, or another process created it first.
        OSError: the folder cannot be written.
    """
    check_new_folder(folder)
    target = folder.resolve()
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{target.name}.", dir=target.parent) as work:
        build = Path(work, target.name)
        build.mkdir()
        yield build
        try:
            build.replace(target)
        except OSError as error:
            if error.errno in (errno.EEXIST, errno.ENOTEMPTY):
                raise FolderInUse(folder) from error
            raise
