"""Paths that a user names, looked at before anything slow is imported or loaded."""

import os
from pathlib import Path

from components.errors import SwarError


def check_present(data: str) -> None:
    """Checks that recordings are where a user says.

    Args:
        data: a path on this machine; URIs and patterns with `{...}` are not looked at.

    Raises:
        SwarError: nothing is there.
    """
    if "://" not in data and "{" not in data and not os.path.lexists(data):
        raise SwarError(f"{data!r} does not exist: name a folder of speakers or a manifest")


def check_folder(data: Path) -> None:
    """Checks that a path is a folder.

    Raises:
        SwarError: it is a file, or nothing is there.
    """
    if not data.is_dir():
        raise SwarError(f"{str(data)!r} is no folder on this machine: name a folder of recordings")
