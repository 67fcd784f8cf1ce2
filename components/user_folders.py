"""The user's folders for caches and data, also without a home that can be written.

Users of containers, services and OpenShift have no such home, or none at all.
"""

import os
import stat
import tempfile
from collections.abc import Callable
from pathlib import Path

import platformdirs

from components.errors import SwarError


def ensure_home() -> None:
    """Gives this process and its children a home if the system knows none.

    Libraries fail without one: Keras imports IPython, which looks for its cache there.

    Raises:
        OSError, SwarError: see `temporary_cache`.
    """
    if not os.path.isabs(os.path.expanduser("~")):
        os.environ["HOME"] = str(temporary_cache())


def user_cache() -> Path | None:
    """Swar's folder in the user's cache, which may not exist yet; None without any home."""
    return _of_home(platformdirs.user_cache_dir)


def user_data() -> Path | None:
    """Swar's folder in the user's data, which may not exist yet; None without a home, as the one
    from `ensure_home` does not last."""
    folder = _of_home(platformdirs.user_data_dir)
    is_lasting = folder is not None and not folder.is_relative_to(_temporary_place())
    return folder if is_lasting else None


def is_writable(folder: Path) -> bool:
    """Whether a folder, or its nearest parent that exists, can be written to."""
    there = next(path for path in (folder, *folder.parents) if os.path.exists(path))
    return os.path.isdir(there) and os.access(there, os.W_OK | os.X_OK)


def temporary_cache() -> Path:
    """Makes a folder among the temporary files that only this user can write.

    Raises:
        OSError: it cannot be made.
        SwarError: the path is not such a folder: a model in it could come from another user.
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
    """A folder from platformdirs; None without a home, where its versions raise or return `~`."""
    try:
        folder = Path(place("swar"))
    except RuntimeError:
        return None
    return folder if folder.is_absolute() else None


def _temporary_place() -> Path:
    return Path(tempfile.gettempdir(), f"swar-{os.getuid()}")
