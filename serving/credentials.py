"""What a client trusts and shows on an encrypted connection: CA, certificate and key, token."""

import ssl
from dataclasses import dataclass
from pathlib import Path

from components.errors import SwarError


@dataclass(frozen=True)
class Credentials:
    """Files, all optional. Certificates and the key are PEM, the key without a password."""

    ca: Path | None = None
    """Certificates of the authorities that may sign the server's; the system's where None."""
    certificate: Path | None = None
    """The client's own, with its chain."""
    key: Path | None = None
    """Of the client's certificate."""
    token_file: Path | None = None
    """Holds a bearer token. It is read for every request, so that it can be exchanged."""

    def __bool__(self) -> bool:
        return self != Credentials()

    def check(self) -> None:
        """Raises SwarError for a file that cannot be read or is no PEM, and for half of a pair."""
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
        text = token.decode("ascii", "replace").strip()
        if not text.isprintable() or not text.isascii() or " " in text or not text:
            raise SwarError(f"{self.token_file} holds no token: one line of letters is expected")
        return {"authorization": f"Bearer {text}"}


def content(file: Path | None) -> bytes | None:
    """Of a file, None where there is none. Raises SwarError where it cannot be read."""
    try:
        return None if file is None else file.read_bytes()
    except OSError as error:
        raise SwarError(f"{file} cannot be read: {error.strerror}") from error
