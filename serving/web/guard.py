"""Lets only requests for the page's own routes, from its own address and its users, reach it.

Gradio serves far more than this page needs: files, a screen recorder's ffmpeg, monitoring. So this
list names what is let through, and it stands before gradio.
"""

import asyncio
import base64
import contextlib
import hashlib
import ipaddress
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from components.errors import SwarError
from components.terminal import say
from serving.web.calls import ASK, USER
from serving.web.login import Login
from serving.web.uploads import UPLOAD, Uploads

_FILE: Final = "/gradio_api/file="
_FILES_OF_PAGE: Final = re.compile(r"/(static|assets)(/[\w-][\w.-]*)+")
_ROUTES: Final = {
    "GET": (
        "/",
        "/manifest.json",
        "/favicon.ico",
        "/theme.css",
        "/gradio_api/upload_progress",
    ),
    "POST": (ASK, UPLOAD),
}
_MAX_BODY_BYTES: Final = 2**16
"""Of every request but an upload."""
_BODY_SECONDS: Final = 60.0
"""Time to send the body of any request but an upload, which has a limit of its own."""
_LOCAL_HOSTS: Final = frozenset({"127.0.0.1", "localhost", "[::1]"})
_HOST: Final = re.compile(r"(\[[0-9a-f:.]+\]|[^:\[\]/@\s]+)(:\d{1,5})?")
_INLINE_SCRIPT: Final = re.compile(rb"<script(?![^>]*\ssrc=)[^>]*>(.*?)</script>", re.S | re.I)
_HEADERS: Final = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "microphone=(self), camera=(), geolocation=(), payment=(), usb=()",
}


@dataclass(frozen=True)
class PageSettings:
    """Where the page is, and who may use it."""

    host: str = "127.0.0.1"
    """Where to listen."""
    port: int = 7860
    """Where to listen; 0 takes a free one."""
    public_hosts: tuple[str, ...] = ()
    """What browsers call the page besides 127.0.0.1, localhost and [::1]; without ports."""
    login: Login | None = None
    """How users say who they are; None lets in all who reach the page."""

    def check(self) -> None:
        """Raises SwarError if other machines could reach a page without a login."""
        for name in self.public_hosts:
            if not _HOST.fullmatch(f"{name.lower()}:1"):
                raise SwarError(
                    f"--public-host {name!r} is not the name of a host: leave out scheme and port"
                )
        local = _is_loopback(self.host)
        if not local and not self.public_hosts:
            raise SwarError(
                f"--host {self.host} is reached under a name: give it with --public-host NAME"
            )
        if self.login is None and (self.public_hosts or not local):
            raise SwarError(
                "a page that others can reach needs a login: give --auth FILE (see `swar "
                "app-password`), or --auth-header and --auth-proxy of a proxy that asks who it is"
            )


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


class Guard:
    """An ASGI application that stands before the page's.

    Args:
        app: the page.
        settings: hosts and login.
        uploads: the only folder whose files are served.
        scripts: inline scripts that the page's own code adds to its head.
    """

    def __init__(
        self, app: ASGIApp, settings: PageSettings, uploads: Uploads, scripts: Sequence[str]
    ) -> None:
        self._app = app
        self._hosts = _LOCAL_HOSTS | {name.lower() for name in settings.public_hosts}
        self._login = settings.login
        self._uploads = uploads
        self._script_hashes = tuple(_script_hash(script.encode()) for script in scripts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Lets a request through, or answers that it is refused."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
        elif scope["type"] == "http":
            send = _Answer(scope["path"], self._script_hashes, send)
            if scope["path"] != UPLOAD:
                receive = _in_time(receive)
            with contextlib.suppress(ClientDisconnect):  # no one is left to answer
                await (await self._let_in(scope, receive) or self._through)(scope, receive, send)
        else:
            await send({"type": "websocket.close", "code": 1008})

    async def _let_in(self, scope: Scope, receive: Receive) -> ASGIApp | None:
        """What answers instead of the page; None if the request goes through."""
        headers = Headers(scope=scope)
        if refusal := self._foreign(scope, headers):
            return PlainTextResponse(refusal, 403)
        if scope["path"] != UPLOAD and (refused := _body_refused(headers)):
            return refused
        scope[USER] = ""
        if self._login is not None and (asked := await self._asked(self._login, scope, receive)):
            return asked
        if not self._is_route(scope):
            return PlainTextResponse("there is nothing here", 404)
        return None

    async def _asked(self, login: Login, scope: Scope, receive: Receive) -> Response | None:
        """The login's answer; None for a user who is logged in, whom the scope then names."""
        request = Request(scope, receive)
        try:
            if answer := await login.answer(request):
                return answer
            scope[USER] = login.user(request)
        except SwarError as error:  # in its file, which the page's owner has to correct
            say(str(error), error=True)
            return PlainTextResponse("nobody can be let in: see what the page says", 503)
        return login.ask(request) if scope[USER] is None else None

    async def _through(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope = {**scope, "headers": _kept_headers(scope)}
        if scope["path"] == "/":
            scope["query_string"] = b""  # which would load saved states
        await self._app(scope, receive, send)

    def _foreign(self, scope: Scope, headers: Headers) -> str:
        """Why a request is not from this page's own address; empty if it is."""
        (host, *others) = headers.getlist("host") or [""]
        named = _HOST.fullmatch(host.lower())
        if others or named is None or named[1] not in self._hosts:
            return "this page is not served under that name: see --public-host"
        origins = headers.getlist("origin")
        if any(
            each.lower() not in (f"http://{host}", f"https://{host}".lower()) for each in origins
        ):
            return "another site may not use this page"
        site = headers.get("sec-fetch-site", "none")
        opened = scope["method"] == "GET" and headers.get("sec-fetch-dest") == "document"
        if site not in ("none", "same-origin") and not (opened and scope["path"] == "/"):
            return "another site may not use this page"
        return ""

    def _is_route(self, scope: Scope) -> bool:
        method, path = scope["method"], scope["path"]
        if method == "HEAD":
            method = "GET"
        if method == "GET" and path.startswith(_FILE):
            return self._uploads.has(path.removeprefix(_FILE))
        return path in _ROUTES.get(method, ()) or (
            method == "GET" and _FILES_OF_PAGE.fullmatch(path) is not None
        )


def _body_refused(headers: Headers) -> Response | None:
    if "transfer-encoding" in headers:
        return PlainTextResponse("a request says how long it is", 411)
    if int(headers.get("content-length") or 0) > _MAX_BODY_BYTES:
        return PlainTextResponse("the request is too long", 413)
    return None


def _kept_headers(scope: Scope) -> list[tuple[bytes, bytes]]:
    """Without those that tell gradio another address or make it compress the HTML."""
    dropped = {b"x-forwarded-host", b"x-forwarded-prefix", b"x-gradio-server"}
    if scope["path"] == "/":
        dropped.add(b"accept-encoding")
    return [(name, value) for name, value in scope["headers"] if name not in dropped]


def _in_time(receive: Receive) -> Receive:
    """Receives a body; raises HTTPException 408 if it is not complete in time."""
    ends_at = asyncio.get_running_loop().time() + _BODY_SECONDS
    is_whole = False

    async def receive_in_time() -> Message:
        nonlocal is_whole
        if is_whole:
            return await receive()  # the client's disconnection, which may take any time
        try:
            async with asyncio.timeout_at(ends_at):
                message = await receive()
        except TimeoutError:
            raise HTTPException(408, "the request took too long to arrive") from None
        is_whole = not message.get("more_body", False)
        return message

    return receive_in_time


class _Answer:
    """Sends an answer with the headers that isolate the page from other sites.

    The page's own HTML is held back until it is complete: the policy names each of its scripts.
    """

    def __init__(self, path: str, script_hashes: Sequence[str], send: Send) -> None:
        self._path = path
        self._script_hashes = tuple(script_hashes)
        self._send = send
        self._start: Message | None = None
        self._body = b""

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._start = message
            if self._path != "/":
                await self._begin()
        elif self._path != "/":
            await self._send(message)
        else:
            self._body += message.get("body", b"")
            if not message.get("more_body", False):
                await self._begin()
                await self._send({**message, "body": self._body})

    async def _begin(self) -> None:
        assert self._start is not None
        headers = MutableHeaders(raw=list(self._start["headers"]))
        for name in [name for name in headers if name.startswith("access-control-")]:
            del headers[name]
        headers.update(_HEADERS)
        if self._start["status"] == 408:
            headers["Connection"] = "close"  # else the server waits for the body
        headers["Content-Security-Policy"] = self._policy()
        if not _FILES_OF_PAGE.fullmatch(self._path):
            headers["Cache-Control"] = "no-store"
        await self._send({**self._start, "headers": headers.raw})

    def _policy(self) -> str:
        if self._path.startswith(_FILE):  # users' uploads may run nothing
            return "default-src 'none'; sandbox; frame-ancestors 'none'"
        found = (_script_hash(script) for script in _INLINE_SCRIPT.findall(self._body))
        scripts = " ".join(dict.fromkeys((*self._script_hashes, *found)))
        # gradio's HTML component evaluates its templates; answers still run nothing, since their
        # scripts and handlers have no hash here.
        return (
            f"default-src 'self'; script-src 'self' 'unsafe-eval' {scripts}; "
            "style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; "
            "media-src 'self' data: blob:; connect-src 'self' data: blob:; "
            "font-src 'self' data:; worker-src 'self' blob:; object-src 'none'; "
            "base-uri 'self'; form-action 'self'; frame-ancestors 'none'"
        )


def _script_hash(script: bytes) -> str:
    digest = hashlib.sha256(script.replace(b"\r\n", b"\n")).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"
