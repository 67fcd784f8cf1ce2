"""What a client trusts and shows on an encrypted connection: CA, certificate and key, token."""

import codecs
import os
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from components.errors import SwarError

_MAX_FILE_BYTES: Final = 2**22
_MAX_TOKEN_CHARACTERS: Final = 4096  # servers take headers of 8 KiB


@dataclass(frozen=True)
class Credentials:
    """Files, all optional. Certificates and the key are PEM, the key without a password."""

    ca: str | os.PathLike[str] | None = None
    """Certificates of the authorities that may sign the server's; None for the system's."""
    certificate: str | os.PathLike[str] | None = None
    """The client's own, with its chain."""
    key: str | os.PathLike[str] | None = None
    """Of the client's certificate."""
    token_file: str | os.PathLike[str] | None = None
    """Holds a bearer token. It is read for every request, so that it can be replaced."""

    def __bool__(self) -> bool:
        return self != Credentials()

    def check(self) -> None:
        """Raises SwarError if a file cannot be read or is no PEM, or half of a pair is missing."""
        if (self.certificate is None) != (self.key is None):
            raise SwarError("a client's certificate needs its key: give --certificate and --key")
        for file in (self.ca, self.certificate, self.key):
            content(file)
        context = ssl.create_default_context()
        try:
            if self.ca is not None:
                context.load_verify_locations(self.ca)
            if self.certificate is not None:
                context.load_cert_chain(self.certificate, self.key, password="")  # never prompts
        except ssl.SSLError as error:
            files = " and ".join(
                str(each) for each in (self.ca, self.certificate, self.key) if each
            )
            raise SwarError(
                f"{files} cannot be used: give certificates and a key without a password, in PEM "
                f"({error})"
            ) from error
        self.authorization()

    def authorization(self) -> dict[str, str]:
        """The header that holds the token, if there is one."""
        token = content(self.token_file)
        if token is None:
            return {}
        text = token.removeprefix(codecs.BOM_UTF8).decode("ascii", "replace").strip()
        is_line = text.isprintable() and text.isascii() and " " not in text
        if not is_line or not 1 <= len(text) <= _MAX_TOKEN_CHARACTERS:
            raise SwarError(
                f"{self.token_file} holds no token: one line of 1 to {_MAX_TOKEN_CHARACTERS} "
                "letters is expected"
            )
        return {"authorization": f"Bearer {text}"}


def content(file: str | os.PathLike[str] | None) -> bytes | None:
    """A file's bytes; None for None. Raises SwarError if it cannot be read."""
    if file is None:
        return None
    try:
        with Path(file).open("rb") as opened:
            read = opened.read(_MAX_FILE_BYTES + 1)
    except OSError as error:
        raise SwarError(f"{file} cannot be read: {error.strerror}") from error
    if len(read) > _MAX_FILE_BYTES:
        raise SwarError(f"{file} is longer than {_MAX_FILE_BYTES} bytes: name another file")
    return read
