"""Files and folders that are complete or absent, whatever ends the process that writes them."""

import contextlib
import errno
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from components.errors import SwarError


class FolderInUse(SwarError):
    """A folder to be made is there already, and not empty."""

    def __init__(self, folder: Path) -> None:
        super().__init__(f"{folder} exists and is not an empty folder; choose another or remove it")


@contextlib.contextmanager
def new_file(path: Path, *, private: bool = False) -> Iterator[BinaryIO]:
    """A file to write to, which takes the path's place once it is on the disk.

    Where an error is raised, the path stays as it was. One process at a time may write a path:
    what a killed one left beside it is overwritten.

    Args:
        path: of the file.
        private: for the file's user alone, whatever the umask.

    Raises:
        OSError: it cannot be written.
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
    """Raises FolderInUse unless the folder is absent, or empty."""
    if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        raise FolderInUse(folder)


@contextlib.contextmanager
def new_folder(folder: Path) -> Iterator[Path]:
    """A place to write in, beside the folder; it becomes the folder unless an error is raised.

    Raises:
        FolderInUse: the folder is not empty, or another process was quicker.
        OSError: it cannot be written.
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
