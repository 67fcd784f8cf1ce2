"""An endpoint that lies takes neither memory nor time without end (the audit's L4)."""

import contextlib
import http.server
import socketserver
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import grpc
import numpy as np
import pytest

from components.errors import SwarError
from serving import answers, wire
from serving.client import Client
from serving.predict_pb2 import DT_FLOAT, DT_STRING, PredictResponse
from serving.recordings import Waveform
from serving.transport import MAX_ANSWER_BYTES
from tests.serving.support_endpoint import FakeModel, grpc_endpoint

Answer = Callable[[http.server.BaseHTTPRequestHandler], None]


@contextlib.contextmanager
def answering(answer: Answer) -> Iterator[str]:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            with contextlib.suppress(OSError):
                answer(self)

        def log_message(self, *_: Any) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def with_body(body: bytes, status: int = 200, **headers: str) -> Answer:
    def answer(handler: http.server.BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        for name, value in headers.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)

    return answer


def refusal(url: str, seconds: float = 10.0) -> str:
    with (
        pytest.raises(SwarError) as caught,
        Client(url, attempts=2, deadline_seconds=seconds) as client,
    ):
        client.describe()
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 1_000
    return str(caught.value)


DEEP = b'{"outputs": ' + b"[" * 100_000 + b"]" * 100_000 + b"}"
WIDE = b'{"outputs": {"sample_rate": [' + b"[[0]]," * 1_000_000 + b"0]}}"


@pytest.mark.parametrize(
    "answer",
    [
        with_body(DEEP),
        with_body(DEEP, 500),
        with_body(WIDE),
        with_body(b'{"outputs": {"sample_rate": [' + b"9" * 100_000 + b"]}}"),
        with_body(b'{"outputs": {"sample_rate": [1e999], "embedding_size": [3]}}'),
        with_body(b'{"outputs": ' + b"[" * 90 + b"]" * 90 + b"}"),
        with_body(b'{"outputs": {"sample_rate": ' + b"[" * 90 + b"]" * 90 + b"}}"),
        with_body(b'{"outputs": 5}'),
        with_body(b"\xff\xfe"),
        with_body(b"no gzip", Content_Encoding="gzip"),
        with_body(b'{"error": "\\u001b[2J\\n"}', 400),
        with_body(b"\x1b[2J", 404),
    ],
)
def test_an_answer_without_sense_is_one_line(answer: Answer) -> None:
    with answering(answer) as url:
        refusal(url)


def test_an_answer_without_end_is_given_up() -> None:
    sent = 0

    def answer(handler: http.server.BaseHTTPRequestHandler) -> None:
        nonlocal sent
        handler.send_response(200)
        handler.end_headers()
        while sent < 20 * MAX_ANSWER_BYTES:
            handler.wfile.write(b" " * 2**20)
            sent += 2**20

    with answering(answer) as url:
        assert f"more than {MAX_ANSWER_BYTES} bytes" in refusal(url)
    assert sent < 3 * MAX_ANSWER_BYTES


def test_an_answer_that_drips_ends_with_the_deadline() -> None:
    def answer(handler: http.server.BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.end_headers()
        for _ in range(100):
            handler.wfile.write(b" ")
            time.sleep(0.1)

    started = time.monotonic()
    with answering(answer) as url:
        assert "did not answer within 0.5 s" in refusal(url, seconds=0.5)
    assert time.monotonic() - started < 15


@contextlib.contextmanager
def pouring(start: bytes, again: bytes, pause: float = 0.0) -> Iterator[tuple[str, list[int]]]:
    """An endpoint that answers each connection with a start and then the same for ever.

    Yields its URL, and a list of how many bytes were sent.
    """
    sent = [0]
    ended = threading.Event()

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            with contextlib.suppress(OSError):
                self.request.recv(2**16)
                self.request.sendall(start)
                while not ended.wait(pause) and sent[0] < 20 * MAX_ANSWER_BYTES:
                    self.request.sendall(again)
                    sent[0] += len(again)

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}", sent
        finally:
            ended.set()
            server.shutdown()
            thread.join()


_OK = b"HTTP/1.1 200 OK\r\n"
_CHUNKED = _OK + b"Transfer-Encoding: chunked\r\n\r\n"
ENDLESS = {
    "interim answers": (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    "headers of interim answers": (b"HTTP/1.1 100 Continue\r\n", b"X: y\r\n"),
    "the length of a chunk": (_CHUNKED, b"0"),
    "chunks": (_CHUNKED, b"1\r\n \r\n"),
    "what is added to a chunk": (_CHUNKED + b"1;", b"x"),
    "trailers": (_CHUNKED + b"1\r\n \r\n0\r\n", b"X: y\r\n"),
    "a header": (_OK + b"X: ", b"y"),
}


@pytest.mark.parametrize("part", ENDLESS)
def test_no_part_of_an_answer_takes_time_without_end(part: str) -> None:
    start, again = ENDLESS[part]
    started = time.monotonic()
    with pouring(start, again, pause=0.05) as (url, _):
        assert "did not answer within 1 s" in refusal(url, seconds=1.0)
    assert time.monotonic() - started < 10


@pytest.mark.parametrize("part", ENDLESS)
def test_no_part_of_an_answer_takes_memory_without_end(part: str) -> None:
    start, again = ENDLESS[part]
    with pouring(start, again * (2**16 // len(again))) as (url, sent):
        refusal(url, seconds=10.0)
        assert sent[0] < 5 * MAX_ANSWER_BYTES


def test_what_a_description_says_is_checked() -> None:
    said = {
        "sample_rate": np.array([16_000.0]),
        "embedding_size": np.array([3.0]),
        "threshold": np.array([1.0]),
        "model_digest": np.array([b"digest"], object),
        "card": np.array([b"{}"], object),
    }
    assert answers.description(said).sample_rate_hz == 16_000
    for wrong in (
        {"sample_rate": np.array([1e9])},  # recordings would be converted to it
        {"sample_rate": np.array([np.inf])},
        {"sample_rate": np.array([np.nan])},
        {"embedding_size": np.array([np.nan])},
        {"card": np.array([b"5"], object)},
        {"card": np.array([b'{"calibration": 5}'], object)},
        {"card": np.array([b'{"calibration": {"nontargets": [{"seconds": {}}]}}'], object)},
        {"card": np.array([b'{"calibration": {"conditions": {"least_snr_db": "x"}}}'], object)},
        {"card": np.array([b"[" * 100_000], object)},
        {"model_digest": np.array([b"\xff"], object)},
        {"model_digest": np.array([b""], object)},
        {"model_digest": np.array([b"\x1b[2J"], object)},
        {"model_digest": np.array([b"a" * 10_000], object)},  # galleries and messages have it
    ):
        with pytest.raises(ValueError):
            answers.description({**said, **wrong})


def declared(dtype: int, sizes: list[int], **values: list[Any]) -> PredictResponse:
    response = PredictResponse()
    tensor = response.outputs["sample_rate"]
    tensor.dtype = dtype
    for size in sizes:
        tensor.tensor_shape.dim.add(size=size)
    for field, content in values.items():
        getattr(tensor, field).extend(content)
    return response


@pytest.mark.parametrize(
    "response",
    [
        declared(DT_FLOAT, [10**8], float_val=[1.0]),
        declared(DT_FLOAT, [10**10], float_val=[1.0]),
        declared(DT_FLOAT, [2**62, 2**62], float_val=[1.0]),
        declared(DT_STRING, [10**8], string_val=[b""]),
        declared(DT_STRING, [1], string_val=[b""] * 1_000_000),
        declared(DT_FLOAT, [1] * 1_000, float_val=[1.0]),
    ],
)
def test_a_tensor_takes_no_more_memory_than_it_should(response: PredictResponse) -> None:
    started = time.monotonic()
    with pytest.raises(ValueError):
        wire.predict_outputs(response)
    assert time.monotonic() - started < 1


def test_a_message_without_end_is_one_line(model: FakeModel) -> None:
    model.digest = "x" * (MAX_ANSWER_BYTES + 1)
    with grpc_endpoint(model) as url:
        assert grpc.StatusCode.RESOURCE_EXHAUSTED.name in refusal(url)


def test_a_status_from_elsewhere_steers_no_terminal(client: Client, model: FakeModel) -> None:
    def spoil(outputs: dict[str, Any]) -> dict[str, Any]:
        return {**outputs, "status_a": [b"\x1b[2J\nok"]}

    model.spoil = spoil
    recording = Waveform(np.zeros(32_000, np.float32), 16_000)
    with pytest.raises(SwarError) as caught:
        client.verify(recording, recording)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("probability", [np.nan, np.inf, -0.1, 1.5])
def test_a_probability_is_one(probability: float) -> None:
    """Else odds are divided by it: with a prior of 0.25 the 1.5 would be a division by zero."""
    said = {
        "distance": np.array([0.3]),
        "probability": np.array([probability]),
        "same_speaker": np.array([True]),
    }
    with pytest.raises(ValueError):
        answers.decisions(said, 1)
