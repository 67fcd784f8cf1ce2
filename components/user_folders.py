"""Where this user keeps what can be made again, also without a home that can be written.

A container's user, a service's and OpenShift's have no such home, perhaps none at all.
"""

import os
import stat
import tempfile
from collections.abc import Callable
from pathlib import Path

import platformdirs

from components.errors import SwarError


def ensure_home() -> None:
    """Gives this process and its children a home where the system knows none.

    Libraries end without one: Keras imports IPython, which looks for its cache there.

    Raises:
        OSError, SwarError: see `temporary_cache`.
    """
    if not os.path.isabs(os.path.expanduser("~")):
        os.environ["HOME"] = str(temporary_cache())


def user_cache() -> Path | None:
    """Swar's folder in the user's cache, which may not be there yet; None without any home."""
    return _of_home(platformdirs.user_cache_dir)


def user_data() -> Path | None:
    """Swar's folder among the data of the user, which may not be there yet; None without a home:
    what `ensure_home` gives does not last."""
    folder = _of_home(platformdirs.user_data_dir)
    is_lasting = folder is not None and not folder.is_relative_to(_temporary_place())
    return folder if is_lasting else None


def is_writable(folder: Path) -> bool:
    """Whether a folder, or the one that it would be made in, can be written to."""
    there = next(path for path in (folder, *folder.parents) if os.path.exists(path))
    return os.path.isdir(there) and os.access(there, os.W_OK | os.X_OK)


def temporary_cache() -> Path:
    """A folder among the temporary files that is made for this user, and that others cannot write.

    Raises:
        OSError: it cannot be made.
        SwarError: something of its name is there that others can write: a model from there could
            be anybody's.
    """
    folder = _temporary_place()
    folder.mkdir(mode=0o700, exist_ok=True)
    status = folder.lstat()
    is_own = stat.S_ISDIR(status.st_mode) and status.st_uid == os.getuid()
    if not is_own or status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise SwarError(
            f"{folder} is not this user's alone: remove it, or set XDG_CACHE_HOME to a folder "
            "that can be written"
        )
    return folder


def _of_home(place: Callable[[str], str]) -> Path | None:
    """A folder that platformdirs names; without a home some of its versions raise, or give `~`."""
    try:
        folder = Path(place("swar"))
    except RuntimeError:
        return None
    return folder if folder.is_absolute() else None


def _temporary_place() -> Path:
    return Path(tempfile.gettempdir(), f"swar-{os.getuid()}")
