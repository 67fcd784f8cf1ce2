"""Digests of a published version's files, checked before they are loaded.

`assets.extra/SHA256SUMS` is what `sha256sum` writes: `sha256sum --check` in a version's folder
checks it too. It reveals a version that is damaged, cut short or changed since publication. It does
not prove who published it: a user who can write the folder can write the file.
"""

import hashlib
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO, Final

from components.errors import SwarError

DIGESTS: Final = "assets.extra/SHA256SUMS"
_CHUNK_BYTES: Final = 2**20
log = logging.getLogger("swar.progress")


def sha256(file: BinaryIO) -> str:
    """SHA-256 of a file, in hexadecimal."""
    digest = hashlib.sha256()
    while chunk := file.read(_CHUNK_BYTES):
        digest.update(chunk)
    return digest.hexdigest()


def as_text(digests: Mapping[str, str]) -> str:
    """The text of `DIGESTS`.

    Args:
        digests: SHA-256 by path below the version's folder, with slashes.
    """
    return "".join(f"{digest}  {path}\n" for path, digest in sorted(digests.items()))


def write_digests(folder: Path) -> None:
    """Writes `DIGESTS` of all files in a version's folder."""
    (folder / DIGESTS).parent.mkdir(exist_ok=True)
    (folder / DIGESTS).write_text(as_text(_digests(folder)), "utf-8")


def check_digests(folder: Path) -> None:
    """Checks a version against its published digests; warns where it has none.

    Raises:
        SwarError: a file was changed, added or removed, or the digests cannot be read.
    """
    try:
        published = (folder / DIGESTS).read_text("utf-8")
    except FileNotFoundError:
        log.warning(
            "%s has no %s: it was published by an older version of swar, or elsewhere. "
            "A model is code that runs as you: use it only if you trust where it is from",
            folder,
            DIGESTS,
        )
        return
    except (OSError, UnicodeDecodeError) as error:
        raise SwarError(f"{folder / DIGESTS} cannot be read: publish the model again") from error
    if as_text(digests := _digests(folder)) == published:
        return
    lines = set(published.splitlines())
    changed = [path for path in sorted(digests) if f"{digests[path]}  {path}" not in lines]
    raise SwarError(
        f"{folder} is not what was published ({changed[0] if changed else 'a file'} was changed, "
        "added or removed): publish the model again, and find out who changed it"
    )


def _digests(folder: Path) -> dict[str, str]:
    digests = {}
    for path in folder.rglob("*"):
        name = path.relative_to(folder).as_posix()
        if path.is_file() and name != DIGESTS:
            with path.open("rb") as file:
                digests[name] = sha256(file)
    return digests
