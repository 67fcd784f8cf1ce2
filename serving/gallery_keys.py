"""How a gallery is sealed: with keys from a file or an environment variable."""

import os
import stat
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from cryptography.fernet import Fernet, InvalidToken, MultiFernet

from components.atomic_write import new_file
from components.errors import SwarError

SEALED_COLUMNS: Final = ("vector", "source", "consent", "audio")
_PLAIN, _SEALED = b"\x00", b"\x01"
_ENVIRONMENT: Final = "env:"


class GalleryKeys:
    """Seals values of a gallery's rows, or marks them as not sealed without a key.

    A seal is Fernet's (AES-128-CBC and HMAC-SHA256): a changed value, or one moved to another row
    or column, is not opened.

    Args:
        keys: Fernet keys. The first one seals, all open: the others are earlier ones.

    Raises:
        SwarError: one of them is no key.
    """

    def __init__(self, keys: Sequence[str] = ()) -> None:
        try:
            fernets = [Fernet(key) for key in keys]
        except ValueError as error:
            raise SwarError("a gallery's key is not one that `swar gallery-key` made") from error
        self._fernet = MultiFernet(fernets) if fernets else None

    def seal_row(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """A row as it is stored, with its values of SEALED_COLUMNS sealed."""
        return {**row} | {
            name: self.seal(row[name], _place(row, name))
            for name in SEALED_COLUMNS
            if row.get(name) is not None
        }

    def reseal_row(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """A stored row, sealed with the first key."""
        return {**row} | {
            name: self.reseal(row[name], _place(row, name))
            for name in SEALED_COLUMNS
            if row[name] is not None
        }

    def open_column(self, row: Mapping[str, Any], name: str) -> bytes:
        """A stored row's value of one of SEALED_COLUMNS; raises as `open` does."""
        return self.open(row[name], _place(row, name))

    def seal(self, value: bytes, place: str) -> bytes:
        """A value as it is stored.

        Args:
            value: what to store.
            place: names the row and the column.
        """
        if self._fernet is None:
            return _PLAIN + value
        return _SEALED + self._fernet.encrypt(place.encode() + b"\x00" + value)

    def open(self, stored: bytes, place: str) -> bytes:
        """The value that `seal` stored.

        Raises:
            SwarError: it is sealed and there is no key or none that fits, or it was changed; or it
                is not sealed though there is a key.
        """
        mark, value = stored[:1], stored[1:]
        if mark == _PLAIN and self._fernet is None:
            return value
        if mark == _PLAIN:
            raise SwarError("the gallery is not sealed: `swar seal` seals it with this key")
        if self._fernet is None:
            raise SwarError("the gallery is sealed: name its key with --gallery-key")
        return self._opened(value, place)

    def reseal(self, stored: bytes, place: str) -> bytes:
        """Seals a stored value with the first key; any of them, or none, may have sealed it."""
        if stored[:1] == _PLAIN:
            return self.seal(stored[1:], place)
        return self.seal(self.open(stored, place), place)

    def _opened(self, token: bytes, place: str) -> bytes:
        assert self._fernet is not None
        try:
            found, _, value = self._fernet.decrypt(token).partition(b"\x00")
        except InvalidToken:
            raise SwarError(
                "the gallery was sealed with another key, or was changed: name the right key with "
                "--gallery-key"
            ) from None
        if found != place.encode():
            raise SwarError("the gallery was changed: a sealed value is not in its place")
        return value


def _place(row: Mapping[str, Any], column: str) -> str:
    """The place a sealed value is bound to: it opens nowhere else."""
    return f"{row['id']} {column}"


def read_keys(source: str) -> GalleryKeys:
    """The keys of a source, a line each.

    Args:
        source: a file of mode 0600, or `env:NAME`, an environment variable.

    Raises:
        SwarError: it is missing, others can read it, or it has no valid keys.
    """
    if source.startswith(_ENVIRONMENT):
        text = os.environ.get(source.removeprefix(_ENVIRONMENT), "")
    else:
        text = _read(Path(source))
    keys = text.split()
    if not keys:
        raise SwarError(f"--gallery-key {source} holds no key: `swar gallery-key FILE` makes one")
    try:
        return GalleryKeys(keys)
    except SwarError as error:
        raise SwarError(f"--gallery-key {source}: {error}") from error


def write_new_key(file: Path) -> int:
    """Puts a new key before those of a file, which is made with mode 0600 if missing.

    Returns:
        How many keys the file then has.

    Raises:
        SwarError: others can read the file, or it holds something else.
    """
    keys = _read(file).split() if file.exists() else []
    GalleryKeys(keys)
    keys.insert(0, Fernet.generate_key().decode())
    with new_file(file, private=True) as to:
        to.writelines(f"{key}\n".encode() for key in keys)
    return len(keys)


def _read(file: Path) -> str:
    try:
        if file.is_dir():
            raise SwarError(f"{str(file)!r} is a folder: name a file for the key")
        if file.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
            raise SwarError(f"others can read {file}: run `chmod 600` on it")
        return file.read_text("utf-8-sig")  # an editor may have put a mark before it
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no text"
        raise SwarError(
            f"the key {str(file)!r} cannot be read ({reason}): `swar gallery-key FILE` makes one"
        ) from error
