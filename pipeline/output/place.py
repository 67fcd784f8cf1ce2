"""Where a run may write: outside its data, and to a path without wildcards."""

import os
from pathlib import Path
from typing import Final

from components.errors import SwarError
from components.recordings.spans import SpanPattern, is_pattern
from components.recordings.tables import is_manifest_name

# Beam and TFX find the files that they wrote by patterns.
_WILDCARDS: Final = "*?[]\\"


def check_output(output: Path, data: str) -> None:
    """Refuses an output folder that a run could not read back, or would take for new data.

    Args:
        output: local folder; need not exist.
        data: folder or manifest of recordings, or pattern of spans.

    Raises:
        SwarError: the folder's path holds a wildcard, or it lies where the data is listed.
    """
    absolute = os.path.abspath(output)
    found = [character for character in _WILDCARDS if character in absolute]
    if found:
        raise SwarError(
            f"the path of the output folder, {absolute}, holds {' and '.join(found)}, which Beam "
            "takes for a pattern: choose another one"
        )
    listed = _listed_folder(data)
    if listed is None:
        return
    folder, prefix = listed
    # Listing the data follows links, so the real paths count as well.
    as_named = _is_listed(absolute, folder, prefix)
    if as_named or _is_listed(os.path.realpath(absolute), os.path.realpath(folder), prefix):
        raise SwarError(
            f"the output folder {absolute} lies in the data, {folder}, and would be listed as a "
            "part of it: choose a folder outside"
        )


def _is_listed(output: str, folder: str, prefix: str) -> bool:
    """Whether a path lies in a folder, in or at an entry with a prefix ("": or is the folder)."""
    if not Path(output).is_relative_to(folder):
        return False
    below = Path(output).relative_to(folder).parts
    return (below[0] if below else "").startswith(prefix)


def _listed_folder(data: str) -> tuple[str, str] | None:
    """The listed local folder and its entries' prefix; None for a manifest or a URI."""
    if "://" in data:
        return None
    if is_pattern(data):
        pattern = SpanPattern(data)
        return None if is_manifest_name(data) else (os.path.abspath(pattern.base), pattern.prefix)
    return (os.path.abspath(data), "") if os.path.isdir(data) else None
