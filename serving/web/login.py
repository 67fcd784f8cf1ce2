"""Who uses the page: known by a password from a file, or from a proxy's header."""

import asyncio
import base64
import hashlib
import hmac
import html
import ipaddress
import os
import re
import secrets
import stat
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response

from components.atomic_write import new_file
from components.errors import SwarError

MIN_PASSWORD_CHARACTERS: Final = 12
_NAME: Final = re.compile(r"[\w.@-]{1,64}")
_ENTRY: Final = re.compile(r"scrypt:[A-Za-z0-9+/]{22}==:[A-Za-z0-9+/]{43}=")
"""What follows the name in a password file: 16 bytes of salt and 32 of the key."""
_NAME_OF_PROXY: Final = re.compile(r"[!-+\--~]{1,256}")
"""Such as "auth0|5f7c8e": visible ASCII but the comma, which joins repeated headers."""
_COOKIE: Final = "swar-session"
_SESSION_SECONDS: Final = 3600.0  # without a request
_MAX_SESSIONS: Final = 1000
_SESSIONS_OF_A_USER: Final = 20  # one more ends the first
_FAILURES: Final = 5  # of a name, before a pause
_PAUSE_SECONDS: Final = 60.0
_SCRYPT: Final = {"n": 2**15, "r": 8, "p": 1, "maxmem": 2**26}
_FORM: Final = """<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Swar</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<style>body{{font-family:system-ui,sans-serif;max-width:20rem;margin:15vh auto;padding:0 1rem}}
label,input,button{{display:block;width:100%;box-sizing:border-box;font:inherit}}
input,button{{padding:.5rem;margin:.25rem 0 1rem}}</style></head>
<body><h1>Swar</h1><p role="status">{message}</p><form method="post" action="/login">
<label>Name <input name="name" autocomplete="username" required autofocus></label>
<label>Password <input name="password" type="password" autocomplete="current-password" required>
</label><button>Sign in</button></form></body></html>"""


class Login(Protocol):
    """How users say who they are."""

    signs_out: bool
    """Whether the page offers signing out."""

    async def answer(self, request: Request) -> Response | None:
        """The answer to a request for the login itself; None for all others."""

    def user(self, request: Request) -> str | None:
        """The user's name; None for one who is not logged in."""

    def ask(self, request: Request) -> Response:
        """The answer to a user who is not logged in."""


@dataclass
class _Session:
    name: str
    entry: str
    """The file's line at sign-in: the session ends once it is changed or removed."""
    ends_at: float


class PasswordLogin:
    """Names and hashed passwords in a file; a cookie's session ends after an idle hour.

    The file is read again whenever it changes.

    Raises:
        SwarError: the file is missing, has an invalid line, or others can access it.
    """

    signs_out = True

    def __init__(self, file: Path) -> None:
        self._file = file
        self._entries: tuple[int, dict[str, str]] = (-1, {})
        self._sessions: dict[str, _Session] = {}
        self._failures: dict[str, list[float]] = {}
        # Each takes 32 MiB and a tenth of a second: one at a time. Those that wait hold none of
        # the page's few dozen threads.
        self._hashing = asyncio.Lock()
        self._users()

    async def answer(self, request: Request) -> Response | None:
        """See Login; signs users in and out."""
        path = (request.method, request.url.path)
        if path == ("POST", "/logout"):
            self._sessions.pop(self._token(request), None)
            response = RedirectResponse("/", 303)
            response.delete_cookie(_COOKIE)
            return response
        if path != ("POST", "/login"):
            return None
        try:
            async with request.form(max_files=0, max_fields=2) as form:
                name, password = str(form.get("name", "")), str(form.get("password", ""))
        except HTTPException as refused:
            return PlainTextResponse(refused.detail, refused.status_code)
        async with self._hashing:
            matches = await run_in_threadpool(self._matches, name, password)
        if matches is None:
            return self._form("Too many attempts: wait a minute.", 429)
        if not matches:
            return self._form("That is not a name and its password.", 401)
        return self._signed_in(request, name)

    def user(self, request: Request) -> str | None:
        """See Login."""
        session = self._sessions.get(self._token(request))
        now = time.monotonic()
        if session is None or session.ends_at < now:
            return None
        if self._users().get(session.name) != session.entry:
            return None
        session.ends_at = now + _SESSION_SECONDS
        return session.name

    def ask(self, request: Request) -> Response:
        """See Login: the form for the page, else only a message."""
        if request.url.path == "/" and request.method in ("GET", "HEAD"):
            return self._form("Sign in to go on.", 401)
        return PlainTextResponse("sign in first", 401)

    def _signed_in(self, request: Request, name: str) -> Response:
        now = time.monotonic()
        self._sessions = {
            token: each for token, each in self._sessions.items() if each.ends_at >= now
        }
        own = [token for token, each in self._sessions.items() if each.name == name]
        for token in own[: len(own) + 1 - _SESSIONS_OF_A_USER]:
            del self._sessions[token]
        if len(self._sessions) >= _MAX_SESSIONS:
            return self._form("Too many are signed in: try again later.", 503)
        token = secrets.token_urlsafe(32)
        self._sessions[_hashed(token)] = _Session(
            name, self._users().get(name, ""), now + _SESSION_SECONDS
        )
        response = RedirectResponse("/", 303)
        over_tls = "https" in (request.url.scheme, request.headers.get("x-forwarded-proto"))
        response.set_cookie(_COOKIE, token, httponly=True, samesite="lax", secure=over_tls)
        return response

    def _matches(self, name: str, password: str) -> bool | None:
        """None after too many failures, without a check of the password."""
        users = self._users()
        key = name if name in users else ""  # all unknown names share one count
        now = time.monotonic()
        recent = [at for at in self._failures.get(key, ()) if at > now - _PAUSE_SECONDS]
        self._failures[key] = recent
        if len(recent) >= _FAILURES:
            return None
        # An unknown name takes as long as a known one.
        matches = _verify(password, users.get(name, next(iter(users.values())))) and bool(key)
        if not matches:
            recent.append(time.monotonic())
        return matches

    def _users(self) -> dict[str, str]:
        changed = _private_status(self._file).st_mtime_ns
        if changed != self._entries[0]:
            self._entries = (changed, _read(self._file))
        return self._entries[1]

    def _token(self, request: Request) -> str:
        return _hashed(request.cookies.get(_COOKIE, ""))

    def _form(self, message: str, status: int) -> Response:
        return HTMLResponse(_FORM.format(message=html.escape(message)), status)


class ProxyLogin:
    """A proxy in front of the page asks who the user is, and says so in a header.

    Args:
        header: its name, for example X-Forwarded-User.
        proxies: addresses or networks; the header is ignored from anywhere else.

    Raises:
        SwarError: one of the proxies is no address or network.
    """

    signs_out = False

    def __init__(self, header: str, proxies: Sequence[str]) -> None:
        self._header = header
        try:
            self._proxies = [ipaddress.ip_network(each) for each in proxies]
        except ValueError as error:
            raise SwarError(f"--auth-proxy: {error}: give an address or a network") from error

    async def answer(self, request: Request) -> Response | None:
        """See Login; the proxy signs users in and out."""
        return None

    def user(self, request: Request) -> str | None:
        """See Login."""
        named = request.headers.getlist(self._header)
        if request.client is None or len(named) != 1 or not _NAME_OF_PROXY.fullmatch(named[0]):
            return None
        try:
            peer = ipaddress.ip_address(request.client.host)
        except ValueError:
            return None
        return named[0] if any(peer in each for each in self._proxies) else None

    def ask(self, request: Request) -> Response:
        """See Login."""
        message = "come through the proxy, which asks who you are"
        if any(request.headers.getlist(self._header)):
            message += "; the name that came is none, comes from elsewhere, or is longer than 256"
        return PlainTextResponse(message, 403)


def write_password(file: Path, name: str, password: str) -> None:
    """Adds a user to a password file, mode 0600, or changes a user's password.

    Raises:
        SwarError: the name or the password is not allowed, or the file is no such file.
    """
    if not _NAME.fullmatch(name):
        raise SwarError(f"the name {name!r} is not of letters, digits, '.', '-', '_' and '@'")
    if len(password) < MIN_PASSWORD_CHARACTERS:
        raise SwarError(f"a password has at least {MIN_PASSWORD_CHARACTERS} characters")
    users = _read(file) if file.exists() else {}
    salt = secrets.token_bytes(16)
    users[name] = f"scrypt:{_encoded(salt)}:{_encoded(_key(password, salt))}"
    with new_file(file, private=True) as to:
        to.writelines(f"{each}:{entry}\n".encode() for each, entry in users.items())


def _private_status(file: Path) -> os.stat_result:
    try:
        status = file.stat()
    except OSError as error:
        raise SwarError(f"{file}: {error.strerror}: `swar app-password` writes one") from error
    if status.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise SwarError(f"others can read {file}: run `chmod 600` on it")
    return status


def _read(file: Path) -> dict[str, str]:
    _private_status(file)
    users = {}
    for line in file.read_text("utf-8", "replace").splitlines():
        name, _, entry = line.partition(":")
        if not _NAME.fullmatch(name) or not _ENTRY.fullmatch(entry):
            raise SwarError(f"{file} has a line that `swar app-password` did not write")
        users[name] = entry
    if not users:
        raise SwarError(f"{file} names nobody: `swar app-password` adds a user")
    return users


def _verify(password: str, entry: str) -> bool:
    _, salt, key = entry.split(":")
    return hmac.compare_digest(_key(password, base64.b64decode(salt)), base64.b64decode(key))


def _key(password: str, salt: bytes) -> bytes:
    return hashlib.scrypt(password.encode("utf-8", "surrogatepass"), salt=salt, dklen=32, **_SCRYPT)


def _encoded(value: bytes) -> str:
    return base64.b64encode(value).decode()


def _hashed(token: str) -> str:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()
