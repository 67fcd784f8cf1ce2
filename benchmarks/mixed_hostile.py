"""Requests of a mixed load that are meant to harm, and the answer that each must get."""

import asyncio
import contextlib
import gzip
import itertools
import struct
import time
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Final

import grpc
import numpy as np
from tensorflow.core.framework import tensor_pb2, types_pb2

from benchmarks.fuzz import changed
from benchmarks.interfaces import HOST, MODEL, Interface, Lines
from benchmarks.mixed_requests import Expected, Request, Wrong
from serving import wire
from serving.standin.limits import Limits

SLACK_SECONDS: Final = 20.0
"""Time that a busy machine may take to notice that a limit is over."""
FLOOD_RPCS: Final = 10
FLOOD_CONNECTIONS: Final = 44
"""Connections beyond the limit."""
_PATH: Final = f"/v1/models/{MODEL.name}:predict"
_SILENT: Final = (b"", b"P", b"POST / HTTP/1.1\r\nHost: localhost\r\nX: ")
_DIGITS: Final = "9" * 5_000
_HALF_BYTES: Final = 100_000
_AT_ONCE_SECONDS: Final = 5.0
_EMPTY_STRING: Final = b"\x42\x00"
"""An item of TensorProto's `string_val`."""
_INPUTS_TAG, _KEY_TAG, _VALUE_TAG = b"\x12", b"\x0a", b"\x12"


def requests_over_rest(lines: Lines, expected: Expected) -> Iterator[Request]:
    """Headers and bodies that must be refused with a status."""
    good = lines.rest.body("embed", expected.audio(expected.good[0]))
    length: dict[str, str | int] = {"Content-Length": len(good)}
    long_number = f"/v1/models/{MODEL.name}/versions/{_DIGITS}:predict"
    heads = [
        (_head({"Host": "evil.example"} | length), "403"),
        (_head({"Host": "127.0.0.1.evil.example:8501"} | length), "403"),
        (_head({"Origin": "http://evil.example"} | length), "403"),
        (_head({"Content-Length": 10**18}), "413"),
        (_head({"Content-Length": -1}), "400"),
        (_head({"Transfer-Encoding": "chunked"}) + b"zz\r\n", "400"),
        (_head({"Transfer-Encoding": "chunked"} | length), "400"),
        (_head({"X": "x" * 2**20} | length), "400"),
        (_head(length, long_number), "400"),
        (b"\x16\x03\x01\x02\x00\x01\r\n\r\n", "400"),
    ]
    for head, status in heads:
        yield partial(_refuse_bytes, lines.ports.rest, head + good, status)
    for body in (
        _nested(65),
        _nested(500_000),
        b'{"inputs": [' + _DIGITS.encode() + b"]}",
        b'{"signature_name": "embed", "instances": [' + b'"",' * 1_024 + b'""]}',
        b'{"inputs": [' + b"[[0]]," * 300_000 + b"[[0]]]}",
    ):
        yield partial(expected.refuse, lines.rest, body, "400")


def requests_over_grpc(lines: Lines, expected: Expected) -> Iterator[Request]:
    """Invalid messages, and messages that declare more than is allowed."""
    good = lines.grpc.body("embed", expected.audio(expected.good[0]))
    shapes = ([50_000], [2**26], [2**62], [2**32, 2**32], [-1], [1] * 99)
    for body in (
        np.random.default_rng(0).bytes(1_000),
        b"\x0a\xff\xff\xff\xff\x0f" + good,
        good[:20] + b"\xff" * 10 + good[20:],
        *(_message(_tensor(*shape) + _EMPTY_STRING) for shape in shapes),
        _message(_tensor(1_025) + _EMPTY_STRING * 1_025),
        _message(_tensor(1) + _EMPTY_STRING * 400_000),
    ):
        yield partial(expected.refuse, lines.grpc, body, "INVALID_ARGUMENT")


def bombs(lines: Lines, max_request_bytes: int) -> Iterator[Request]:
    """Requests that are short when sent, and longer than the limit when unpacked."""
    unpacked = b" " * (2 * max_request_bytes)
    packed = gzip.compress(unpacked)
    head = _head({"Content-Encoding": "gzip", "Content-Length": len(packed)})
    yield partial(_refuse_bytes, lines.ports.rest, head + packed, "413")
    call = lines.channel.unary_unary(wire.PREDICT_METHOD)

    async def over_grpc() -> None:
        try:
            await call(unpacked, compression=grpc.Compression.Gzip)
        except grpc.aio.AioRpcError as error:
            if error.code() != grpc.StatusCode.RESOURCE_EXHAUSTED:
                raise Wrong(f"refused with {error.code().name}") from error
        else:
            raise Wrong("a message longer than the limit was answered")

    yield over_grpc


def damaged_recordings(lines: Lines, expected: Expected) -> Iterator[Request]:
    """WAVs with random changes and WAVs with impossible headers, among good ones."""
    (wav,) = expected.audio(expected.good[0])["audio"]
    recordings = _damaged(wav)

    async def send(interface: Interface) -> None:
        await expected.embed_between(interface, next(recordings))

    return (partial(send, interface) for interface in (lines.grpc, lines.rest))


def silent_connections(lines: Lines, limits: Limits) -> Iterator[Request]:
    """Connections that never send a request, to be closed when their time is over."""
    for port, sent in itertools.product((lines.ports.rest, lines.ports.grpc), _SILENT):
        yield partial(_exchange, port, sent, limits.idle_seconds)


def halves(lines: Lines, limits: Limits) -> Iterator[Request]:
    """Requests whose end never comes."""
    half = _head({"Content-Length": 2 * _HALF_BYTES}) + b" " * _HALF_BYTES
    yield partial(_refuse_bytes, lines.ports.rest, half, "408", limits.body_seconds)
    call = lines.channel.stream_unary(wire.PREDICT_METHOD)

    async def over_grpc() -> None:
        try:
            async with asyncio.timeout(limits.body_seconds + SLACK_SECONDS):
                await call()  # whose message would be written later
        except grpc.aio.AioRpcError as error:
            if error.code() != grpc.StatusCode.CANCELLED:
                raise Wrong(f"refused with {error.code().name}") from error

    yield over_grpc


async def flood(lines: Lines, limits: Limits) -> None:
    """More of everything than is allowed at one time.

    Bodies that never end, long messages of gRPC that would take many times their length, and
    connections without a request. Raises Wrong unless all are refused or closed in time.
    """
    size = limits.max_request_bytes - 1_000
    half = _head({"Content-Length": size + 1}) + b" " * size
    strings = _message(_tensor(1) + _EMPTY_STRING * (size // len(_EMPTY_STRING)))
    async with asyncio.TaskGroup() as tasks:
        bodies = [
            tasks.create_task(_exchange(lines.ports.rest, half, limits.body_seconds))
            for _ in range(limits.max_bytes_in_flight // limits.max_request_bytes + 2)
        ]
        await asyncio.sleep(1.0)
        calls = [tasks.create_task(_refusal(lines.grpc, strings)) for _ in range(FLOOD_RPCS)]
        silent = [
            tasks.create_task(_seconds_open(lines.ports.rest, limits.idle_seconds))
            for _ in range(limits.max_connections + FLOOD_CONNECTIONS)
        ]
    statuses = sorted(_status(task.result()) for task in bodies)
    # Connections that hold the bytes end unanswered if newer ones need their places.
    if "503" not in statuses or not set(statuses) <= {"", "408", "503"}:
        raise Wrong(f"bodies of more than there may be were answered with {statuses}")
    refused = {task.result() for task in calls}
    if not refused <= {"INVALID_ARGUMENT", "UNAVAILABLE"}:
        raise Wrong(f"messages of empty strings were answered with {refused}")
    at_once = sum(task.result() < _AT_ONCE_SECONDS for task in silent)
    if at_once < FLOOD_CONNECTIONS:
        raise Wrong(f"only {at_once} connections beyond the limit were closed at once")


def _damaged(wav: bytes) -> Iterator[bytes]:
    generator = np.random.default_rng(1)
    for declaring in itertools.cycle(_declaring_wavs(wav)):
        yield changed(wav, generator)
        yield declaring


def _declaring_wavs(wav: bytes) -> list[bytes]:
    """Variants of a WAV whose header has 44 bytes, as `pack_wav` writes it."""
    samples = wav[44:]
    rate, tag = struct.unpack_from("<I", wav, 24)[0], struct.Struct("<4sI4s4sIHHIIHH4sI")

    def headed(
        *, channels: int = 1, hertz: int = rate, bits: int = 16, form: int = 1, size: int = 0
    ) -> bytes:
        head = (b"RIFF", 2**32 - 1, b"WAVE", b"fmt ", 16, form, channels, hertz, 2 * hertz % 2**32)
        return tag.pack(*head, channels * bits // 8 % 2**16, bits, b"data", size or len(samples))

    chunks = wav[:36] + b"JUNK\0\0\0\0" * 100_000 + wav[36:]
    return [
        headed(size=2**32 - 1) + samples,
        headed(channels=65_535) + samples,
        headed(channels=0) + samples,
        headed(hertz=2**32 - 1) + samples,
        headed(hertz=0) + samples,
        headed(bits=65_535) + samples,
        headed(bits=32, form=3) + np.full(rate, np.nan, "<f4").tobytes(),
        headed(bits=32, form=3) + np.full(rate, np.inf, "<f4").tobytes(),
        chunks,
        wav[:44],
        b"",
    ]


def _head(headers: Mapping[str, str | int], path: str = _PATH) -> bytes:
    lines = [f"{name}: {value}\r\n" for name, value in ({"Host": HOST} | dict(headers)).items()]
    return f"POST {path} HTTP/1.1\r\n{''.join(lines)}\r\n".encode()


def _nested(depth: int) -> bytes:
    return b'{"inputs": ' + b"[" * depth + b"1" + b"]" * depth + b"}"


def _tensor(*shape: int) -> bytes:
    """A declared tensor of strings, without the strings."""
    tensor = tensor_pb2.TensorProto(dtype=types_pb2.DT_STRING)
    for size in shape:
        tensor.tensor_shape.dim.add(size=size)
    serialised: bytes = tensor.SerializeToString()
    return serialised


def _message(tensor: bytes) -> bytes:
    """A PredictRequest of `embed` with the tensor as its `audio`."""
    spec: bytes = wire.predict_request(MODEL, "embed", {}).SerializeToString()
    entry = _KEY_TAG + _sized(b"audio") + _VALUE_TAG + _sized(tensor)
    return spec + _INPUTS_TAG + _sized(entry)


def _sized(content: bytes) -> bytes:
    """A field's bytes after their length as protobuf's varint."""
    length, size = len(content), bytearray()
    while length >= 0x80:
        size.append(length & 0x7F | 0x80)
        length >>= 7
    return bytes([*size, length]) + content


async def _exchange(port: int, sent: bytes, limit_seconds: float = 0.0) -> bytes:
    """The beginning of the answer; empty if the connection is closed.

    Raises Wrong if neither happens in time.
    """
    reader, writer = await asyncio.open_connection(HOST, port)
    try:
        async with asyncio.timeout(limit_seconds + SLACK_SECONDS):
            with contextlib.suppress(ConnectionError):
                writer.write(sent)
                await writer.drain()
            answer = b""
            with contextlib.suppress(ConnectionError):
                while b"\n" not in answer and (more := await reader.read(1_000)):
                    answer += more
            return answer
    except TimeoutError as error:
        raise Wrong(f"neither answered nor closed: {sent[:80]!r}") from error
    finally:
        writer.transport.abort()


async def _refusal(interface: Interface, body: bytes) -> str | None:
    try:
        return (await interface.send(body)).refused
    except ConnectionError:  # there is no room
        return "UNAVAILABLE"


async def _refuse_bytes(port: int, sent: bytes, status: str, limit_seconds: float = 0.0) -> None:
    answer = await _exchange(port, sent, limit_seconds)
    if _status(answer) != status:
        raise Wrong(f"{sent[:80]!r}: {answer[:80]!r}, not {status}")


def _status(answer: bytes) -> str:
    """The HTTP status; "" for another answer."""
    return answer[9:12].decode("latin-1") if answer.startswith(b"HTTP/1.") else ""


async def _seconds_open(port: int, limit_seconds: float) -> float:
    """How long a connection without a request stays open."""
    started = time.monotonic()
    with contextlib.suppress(ConnectionError):
        await _exchange(port, b"", limit_seconds)
    return time.monotonic() - started
