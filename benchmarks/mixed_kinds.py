"""The kinds of requests that a mixed load is made of, and how many clients send each."""

import random
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Final

import numpy as np

from benchmarks.interfaces import (
    MODEL,
    Grpc,
    Interface,
    Lines,
    Rest,
    grpc_connection,
    send_half,
)
from benchmarks.mixed_hostile import (
    bombs,
    damaged_recordings,
    halves,
    requests_over_grpc,
    requests_over_rest,
    silent_connections,
)
from benchmarks.mixed_requests import CutOff, Expected, Request, cut_off
from serving.standin.limits import Limits

CUT_SECONDS: Final = (0.001, 0.3)
UNKNOWN: Final = {
    replace(MODEL, name="nobody"): ("NOT_FOUND", "404"),
    replace(MODEL, version=999_999_999_999): ("NOT_FOUND", "404"),
    replace(MODEL, label="nothing"): ("INVALID_ARGUMENT", "400"),
}
"""The gRPC code of each refusal, and its HTTP status by TF Serving's mapping."""


@dataclass(frozen=True)
class Kind:
    """Requests that belong together; every client waits between two of them."""

    name: str
    requests: list[Request]
    clients: int
    pause_seconds: float


def all_kinds(lines: Lines, expected: Expected, limits: Limits) -> list[Kind]:
    """The whole mix: some 25 clients, half of them always busy, and 66 that hardly send."""
    longest = limits.max_request_bytes
    slow: list[Request] = [
        partial(expected.embed, line, name) for line in lines.slow for name in expected.good
    ]
    status = partial(expected.status, lines.session, lines.ports.rest)
    huge = list(_huge(lines, expected, longest))
    cut = list(_cut_off(lines, expected, longest))
    over_rest, over_grpc = requests_over_rest(lines, expected), requests_over_grpc(lines, expected)
    return [
        Kind("good, gRPC", list(_good(lines.grpc, expected)), 3, 0.0),
        Kind("good, REST", list(_good(lines.rest, expected)), 3, 0.0),
        Kind("bad recording", list(_bad_recordings(lines, expected)), 2, 0.5),
        Kind("bad request", list(_bad_requests(lines, expected)), 2, 0.2),
        Kind("huge", huge, 1, 2.0),
        Kind("drop by drop", slow, 4, 0.0),
        Kind("cut off", cut, 2, 0.2),
        Kind("status", [status], 1, 0.2),
        Kind("hostile", [*over_rest, *over_grpc], 2, 0.2),
        Kind("bomb", list(bombs(lines, longest)), 1, 2.0),
        Kind("damaged", list(damaged_recordings(lines, expected)), 2, 0.2),
        Kind("silent", list(silent_connections(lines, limits)), 60, 0.0),
        Kind("never whole", list(halves(lines, limits)), 6, 0.0),
    ]


def _good(interface: Interface, expected: Expected) -> Iterator[Request]:
    names = expected.good
    yield partial(expected.embed, interface, *names)
    for name, before in zip(names, np.roll(names, 1).tolist(), strict=True):
        yield partial(expected.embed, interface, name)
        yield partial(expected.verify, interface, name, before)


def _bad_recordings(lines: Lines, expected: Expected) -> Iterator[Request]:
    good = expected.good[0]
    for interface in (lines.grpc, lines.rest):
        for name in expected.bad:
            yield partial(expected.embed, interface, name, good)  # the good one is not affected
            yield partial(expected.verify, interface, good, name)


def _bad_requests(lines: Lines, expected: Expected) -> Iterator[Request]:
    audio = expected.audio(expected.good[0])
    for interface in (lines.grpc, lines.rest):
        over_grpc = isinstance(interface, Grpc)
        good = interface.body("embed", audio)
        invalid = "INVALID_ARGUMENT" if over_grpc else "400"
        one_side = {"audio_a": audio["audio"]}
        for body, code in {
            good[:-9]: invalid,  # cut short, it is neither message nor JSON
            interface.body("nothing", audio): "FAILED_PRECONDITION" if over_grpc else "400",
            interface.body("embed", one_side): invalid,
            interface.body("serving_default", one_side): invalid,
            interface.body("serving_default", one_side | {"audio_b": [b"", b""]}): invalid,
        }.items():
            yield partial(expected.refuse, interface, body, code)
    for body in (b"", b"[]", b'{"inputs": {"audio": [{"b64": "?"}]}}', b'{"inputs": [1]}'):
        yield partial(expected.refuse, lines.rest, body, "400")
    for spec, (grpc_code, http_status) in UNKNOWN.items():
        for unknown, code in lines.both(spec, grpc_code, http_status):
            yield partial(expected.refuse, unknown, unknown.body("embed", audio), code)


def _huge(lines: Lines, expected: Expected, max_request_bytes: int) -> Iterator[Request]:
    """Requests exactly as long as the limit, and one byte longer."""
    for interface, code in ((lines.grpc, "RESOURCE_EXHAUSTED"), (lines.rest, "413")):
        longest = _huge_body(interface, expected, max_request_bytes)
        yield partial(expected.send_embed, interface, longest, "too_long")
        longer = _huge_body(interface, expected, max_request_bytes + 1)
        yield partial(expected.refuse, interface, longer, code)


def _huge_body(interface: Interface, expected: Expected, length: int) -> bytes:
    """A request of `embed` of exactly `length` bytes: a recording followed by zeros."""
    (wav,) = expected.audio("too_long")["audio"]
    if isinstance(interface, Rest):  # base64 makes four of three; blanks fill the rest
        wav = wav.ljust(length * 3 // 4 - 1000, b"\0")
        return interface.body("embed", {"audio": [wav]}).ljust(length)
    wav = wav.ljust(length - 1000, b"\0")
    around = len(interface.body("embed", {"audio": [wav]})) - len(wav)
    return interface.body("embed", {"audio": [wav.ljust(length - around, b"\0")]})


def _cut_off(lines: Lines, expected: Expected, max_request_bytes: int) -> Iterator[Request]:
    """Connections that end in the middle of a request, or before the answer."""
    chance = random.Random(0)
    good = expected.good[-1]
    rest_body = lines.rest.body("embed", expected.audio(good))
    huge = _huge_body(lines.grpc, expected, max_request_bytes)

    async def half_rest() -> None:
        await send_half(lines.ports.rest, rest_body, chance.uniform(*CUT_SECONDS))
        raise CutOff

    async def whole_rest() -> None:
        await cut_off(partial(expected.embed, lines.rest, good), chance.uniform(*CUT_SECONDS))

    async def half_grpc() -> None:
        async with grpc_connection(lines.ports.grpc) as channel:
            request = partial(expected.send_embed, Grpc(channel), huge, "too_long")
            await cut_off(request, chance.uniform(*CUT_SECONDS))

    async def whole_grpc() -> None:
        async with grpc_connection(lines.ports.grpc) as channel:
            request = partial(expected.embed, Grpc(channel), good)
            await cut_off(request, chance.uniform(*CUT_SECONDS))

    yield from (half_rest, whole_rest, half_grpc, whole_grpc)
