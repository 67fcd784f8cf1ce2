"""Digests of a published version's files, checked before they are loaded.

`assets.extra/SHA256SUMS` is what `sha256sum` writes: `sha256sum --check` in a version's folder
checks it too. It tells a version that is damaged, cut short or changed since it was published. It
does not tell who published it: who can write the folder can write the file.
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
    """Of what a file holds, in hexadecimal."""
    digest = hashlib.sha256()
    while chunk := file.read(_CHUNK_BYTES):
        digest.update(chunk)
    return digest.hexdigest()


def as_text(digests: Mapping[str, str]) -> str:
    """What `DIGESTS` holds.

    Args:
        digests: path below the version's folder, with slashes, to SHA-256.
    """
    return "".join(f"{digest}  {path}\n" for path, digest in sorted(digests.items()))


def write_digests(folder: Path) -> None:
    """Writes `DIGESTS` into a version's folder, of all files that are there."""
    (folder / DIGESTS).parent.mkdir(exist_ok=True)
    (folder / DIGESTS).write_text(as_text(_digests(folder)), "utf-8")


def check_digests(folder: Path) -> None:
    """Compares a version with what was published, and warns where nothing says what that was.

    Raises:
        SwarError: a file was changed, added or removed since.
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
