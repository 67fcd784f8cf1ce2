"""Clients that connect and do not go on: none of them keeps others from the page."""

import asyncio
import contextlib
import os
import resource
import socket
import time
from collections.abc import AsyncIterator, Callable, Iterator
from urllib.parse import urlsplit

import pytest
import requests
from starlette.requests import Request
from starlette.responses import PlainTextResponse, StreamingResponse

from serving import open_files
from serving.web import connections, guard
from serving.web import page as page_module
from serving.web.guard import PageSettings
from serving.web.login import PasswordLogin, write_password
from tests.serving.web.support_page import served_page

PATIENCE_SECONDS = 10.0
Connect = Callable[..., socket.socket]


@pytest.fixture
def page(tmp_path, monkeypatch) -> Iterator[Callable[..., str]]:
    """Serves a page with other bounds than its own; gives its address."""
    with contextlib.ExitStack() as stack:

        def serve(**bounds) -> str:
            for name, value in bounds.items():
                owner = guard if name == "_BODY_SECONDS" else connections
                monkeypatch.setattr(owner, name, value)
            write_password(tmp_path / "users", "sita", "a long password")
            login = PasswordLogin(tmp_path / "users")
            settings = PageSettings(port=0, login=login)
            return stack.enter_context(served_page(tmp_path / "gallery", settings=settings))

        yield serve


@pytest.fixture
def connect() -> Iterator[Connect]:
    """Opens a connection, and sends something."""
    with contextlib.ExitStack() as stack:

        def opened(url: str, sent: bytes = b"") -> socket.socket:
            address = ("127.0.0.1", urlsplit(url).port)
            connection = stack.enter_context(socket.create_connection(address, PATIENCE_SECONDS))
            connection.sendall(sent)
            return connection

        yield opened


def post(path: str, length: int, body: bytes = b"", host: str = "localhost") -> bytes:
    """The start of a request, or all of it."""
    content_type = "application/x-www-form-urlencoded"
    lines = [f"POST {path} HTTP/1.1", f"Host: {host}", f"Content-Type: {content_type}"]
    return "\r\n".join([*lines, f"Content-Length: {length}", "", ""]).encode() + body


def status(url: str) -> int:
    return requests.get(url, timeout=PATIENCE_SECONDS).status_code


def seconds_until_closed(connection: socket.socket) -> float:
    started = time.monotonic()
    with contextlib.suppress(ConnectionResetError):
        while connection.recv(4096):
            pass
    return time.monotonic() - started


def is_open(connection: socket.socket) -> bool:
    connection.settimeout(0.2)
    try:
        return connection.recv(1) != b""
    except TimeoutError:
        return True
    except ConnectionResetError:
        return False


@pytest.mark.parametrize("sent", [b"", b"G", b"GET / HTTP/1.1\r\nHost: localhost\r\nX: "])
def test_a_silent_connection_is_closed(page, connect, sent):
    url = page(HEADER_SECONDS=0.5)
    assert seconds_until_closed(connect(url, sent)) < 3


def test_a_header_that_comes_byte_by_byte_has_no_more_time(page, connect):
    connection = connect(page(HEADER_SECONDS=0.5), b"GET / HTTP/1.1\r\n")
    with pytest.raises(ConnectionError):
        for _ in range(50):
            connection.sendall(b"X")
            time.sleep(0.1)


def test_a_connection_that_begins_a_second_request_is_closed(page, connect):
    connection = connect(page(HEADER_SECONDS=0.5), b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert connection.recv(100).startswith(b"HTTP/1.1 401")
    connection.sendall(b"G")  # after which uvicorn itself would wait for ever
    assert seconds_until_closed(connection) < 3


def test_silent_connections_keep_nobody_out(page, connect):
    url = page(MAX_CONNECTIONS=8)
    silent = [connect(url) for _ in range(40)]
    assert [status(url) for _ in range(3)] == [401] * 3
    assert sum(map(is_open, silent)) <= 8


def test_requests_that_never_end_keep_nobody_out(page, connect):
    """Anybody can begin to sign in."""
    url = page(MAX_CONNECTIONS=8)
    unfinished = [connect(url, post("/login", 100, b"name=")) for _ in range(40)]
    assert [status(url) for _ in range(3)] == [401] * 3
    assert sum(map(is_open, unfinished)) <= 8


def test_uploads_take_their_time_and_a_new_connection_is_closed(tmp_path, connect, monkeypatch):
    monkeypatch.setattr(connections, "MAX_CONNECTIONS", 3)
    with served_page(tmp_path / "gallery") as url:
        uploads = [connect(url, post("/gradio_api/upload", 100)) for _ in range(3)]
        time.sleep(0.3)
        assert seconds_until_closed(connect(url)) < 3
        assert all(map(is_open, uploads))
        uploads.pop().close()
        time.sleep(0.3)
        assert status(url) == 200
        for each in uploads:
            each.close()


def test_the_time_for_a_header_is_not_that_for_an_answer(page, connect):
    """The page's calls take as long as the model does."""
    url = page(HEADER_SECONDS=0.5)
    connection = connect(url, post("/login", 8, b"name="))
    time.sleep(1.5)
    connection.sendall(b"abc")
    assert connection.recv(100).startswith(b"HTTP/1.1 401")


def test_a_stream_may_be_silent_longer_than_a_request(tmp_path, monkeypatch):
    for owner, name in (
        (connections, "HEADER_SECONDS"),
        (connections, "READING_SECONDS"),
        (guard, "_BODY_SECONDS"),
    ):
        monkeypatch.setattr(owner, name, 0.3)

    async def events() -> AsyncIterator[str]:
        for number in range(3):
            await asyncio.sleep(0.6)
            yield f"data: {number}\n\n"

    async def stream(_request: Request) -> StreamingResponse:
        return StreamingResponse(events(), media_type="text/event-stream")

    monkeypatch.setattr(page_module, "progress", stream)
    with served_page(tmp_path / "gallery") as url:
        answer = requests.get(f"{url}gradio_api/upload_progress", timeout=PATIENCE_SECONDS)
    assert answer.text == "data: 0\n\ndata: 1\n\ndata: 2\n\n"


def test_a_client_that_does_not_read_is_closed(page, connect, monkeypatch):
    url = page(READING_SECONDS=0.5, HEADER_SECONDS=0.5)
    monkeypatch.setattr(PlainTextResponse, "render", lambda *_: b"x" * 2**25)
    connection = connect(url, post("/login", 0, host="evil.example"))
    time.sleep(2)
    received = bytearray()
    with contextlib.suppress(ConnectionResetError):
        while chunk := connection.recv(2**20):
            received += chunk
    assert 0 < len(received) < 2**25


def test_a_slow_reader_is_given_all_of_the_answer(page, connect, monkeypatch):
    url = page(READING_SECONDS=5.0, HEADER_SECONDS=0.3)
    monkeypatch.setattr(PlainTextResponse, "render", lambda *_: b"x" * 2**25)
    connection = connect(url, post("/login", 0, host="evil.example"))
    time.sleep(1)
    received = 0
    while chunk := connection.recv(2**20):
        received += len(chunk)
    assert received > 2**25


def test_the_slow_body_of_a_login_is_ended(page, connect):
    connection = connect(page(_BODY_SECONDS=0.5), post("/login", 100, b"name="))
    assert connection.recv(100).startswith(b"HTTP/1.1 408")
    assert seconds_until_closed(connection) < 3


def test_the_slow_body_of_a_call_is_ended(tmp_path, connect, monkeypatch):
    monkeypatch.setattr(guard, "_BODY_SECONDS", 0.5)
    with served_page(tmp_path / "gallery") as url:
        connection = connect(url, post("/gradio_api/run/predict", 100, b"{"))
        assert connection.recv(100).startswith(b"HTTP/1.1 408")
        assert seconds_until_closed(connection) < 3


def test_an_upload_has_a_time_of_its_own(tmp_path, connect, monkeypatch):
    monkeypatch.setattr(guard, "_BODY_SECONDS", 0.3)
    with served_page(tmp_path / "gallery") as url:
        connection = connect(url, post("/gradio_api/upload", 100, b"files="))
        time.sleep(0.5)
        assert is_open(connection)
        connection.close()


def test_clients_that_misbehave_leave_no_line_in_the_log(page, connect, capfd):
    url = page()
    for sent in (
        b"no HTTP\r\n\r\n",
        post("/login", 100, b"name="),
        post("/gradio_api/upload", 100, b"files="),
        b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
    ):
        connect(url, sent).close()
    time.sleep(0.5)
    assert status(url) == 401
    assert capfd.readouterr().err == ""


@contextlib.contextmanager
def no_more_files() -> Iterator[None]:
    """Lets this process open no file."""
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowest_free = os.dup(0)
    os.close(lowest_free)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest_free, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)


def test_where_files_run_out_the_log_does_not_fill_and_the_page_goes_on(page, caplog):
    url = page()
    clients = [socket.socket() for _ in range(4)]
    with no_more_files():
        for client in clients:
            client.connect(("127.0.0.1", urlsplit(url).port))
        time.sleep(0.5)
    for client in clients:
        client.close()
    assert status(url) == 401
    assert not [record for record in caplog.records if record.name == "asyncio"]


def test_fewer_connections_where_fewer_files_may_be_open(monkeypatch):
    raised = []
    monkeypatch.setattr(resource, "setrlimit", lambda which, limits: raised.append(limits))
    monkeypatch.setattr(resource, "getrlimit", lambda which: (192, 192))
    assert open_files.affordable_connections(256) == 64
    assert open_files.affordable_connections(256, 2) == 32
    raised.clear()
    monkeypatch.setattr(resource, "getrlimit", lambda which: (256, 4096))
    assert open_files.affordable_connections(256) == 256
    assert raised == [(384, 4096)]


@pytest.mark.parametrize("path", ["/login", "/"])
def test_what_is_no_body_is_refused_without_a_line_in_the_log(page, connect, capfd, path):
    url = page()
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
    for sent in ("no length\r\n", "1;" + "x" * 2**17, "1\r\naab"):
        for whole in (head + sent, "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n" + head + sent):
            with contextlib.suppress(ConnectionResetError, BrokenPipeError):
                seconds_until_closed(connect(url, whole.encode()))
    assert status(url) == 401  # it still answers
    assert capfd.readouterr().err == ""
