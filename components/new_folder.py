"""A folder of results that is complete or absent."""

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from components.errors import SwarError


def check_new_folder(folder: Path) -> None:
    """Raises SwarError unless the folder is absent, or empty."""
    if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        raise SwarError(f"{folder} exists and is not an empty folder; choose another or remove it")


@contextlib.contextmanager
def new_folder(folder: Path) -> Iterator[Path]:
    """A place to write in, beside the folder; it becomes the folder unless an error is raised.

    Raises:
        SwarError: the folder is not empty.
        OSError: it cannot be written.
    """
    check_new_folder(folder)
    target = folder.resolve()
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{target.name}.", dir=target.parent) as work:
        build = Path(work, target.name)
        build.mkdir()
        yield build
        os.replace(build, target)
