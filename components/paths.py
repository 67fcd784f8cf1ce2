"""Checks a user's paths before anything slow is imported or loaded."""

import os
from pathlib import Path

from components.errors import SwarError


def check_present(data: str) -> None:
    """Checks that a path to recordings exists.

    Args:
        data: a path on this machine; URIs and patterns with `{...}` are not checked.

    Raises:
        SwarError: the path does not exist.
    """
    if "://" not in data and "{" not in data and not os.path.lexists(data):
        raise SwarError(f"{data!r} does not exist: name a folder of speakers or a manifest")


def check_folder(data: Path) -> None:
    """Checks that a path is a folder.

    Raises:
        SwarError: the path is a file or does not exist.
    """
    if not data.is_dir():
        raise SwarError(f"{str(data)!r} is no folder on this machine: name a folder of recordings")
