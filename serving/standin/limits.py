"""The most that a stand-in holds at any moment."""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from typing import Final

import tensorflow as tf

from serving.open_files import affordable_connections

SHARED_SECONDS: Final = 5.0
"""Time that a client has to send its request or read the answer while others wait for room."""
_INTERFACES: Final = 3
"""REST, and gRPC twice: it has more connections for a moment, until the oldest are closed."""


@dataclass(frozen=True)
class Limits:
    """Bounds of REST and gRPC."""

    max_request_bytes: int = 64 * 2**20
    """Longest request."""
    max_bytes_in_flight: int = 256 * 2**20
    """Of all requests together; one without room is refused with UNAVAILABLE, HTTP 503."""
    max_connections: int = 256
    """Open connections of each interface; fewer if the process may open fewer files. Beyond
    that, the one that has waited longest for its client is closed."""
    max_rpcs: int = 256
    """gRPC calls at one time. Beyond that, the one that has waited longest for its client ends;
    if none waits, the new one is refused with RESOURCE_EXHAUSTED."""
    idle_seconds: float = 30.0
    """Limit of a connection without a request, and of a request's header."""
    rpc_idle_seconds: float = 300.0
    """Limit of a gRPC connection between calls: clients keep it, and complain if it is closed."""
    body_seconds: float = 60.0
    """Limit for sending a request, and for reading the answer."""

    def affordable_connections(self) -> int:
        """How many connections each interface may have, by the files that the process may open.

        Raises the process's limit of open files as far as it is allowed.
        """
        return affordable_connections(self.max_connections, _INTERFACES)


class WaitingForClients:
    """Whatever waits for a client to send or read: the longest waiting gives way first."""

    def __init__(self) -> None:
        self._ends: dict[object, tuple[float, Callable[[], None]]] = {}
        """Since when each waits, and what ends it; the longest waiting first."""

    @contextlib.contextmanager
    def waiting(self, end: Callable[[], None]) -> Iterator[None]:
        """Counts as waiting; `end` is called at most once, if it has to give way."""
        key = object()
        self._ends[key] = time.monotonic(), end
        try:
            yield
        finally:
            self._ends.pop(key, None)

    def end_first(self, after_seconds: float = 0.0) -> bool:
        """Ends the longest waiting one if it has waited so long; returns whether it did."""
        for key, (since, end) in self._ends.items():
            if time.monotonic() - since < after_seconds:
                break
            del self._ends[key]
            end()
            return True
        return False


def reschedule(end: asyncio.Timeout, at: float) -> None:
    """Moves a timeout to a time of the event loop; 0 ends it now."""
    if not end.expired():  # its task may not have noticed yet
        end.reschedule(at)


Take = Callable[[int], Awaitable[None]]
"""Takes bytes for a request. Raises UNAVAILABLE if too few are free."""


class Budget:
    """Bytes that all requests together may hold.

    If too few are free, a request that has waited some seconds for its client gives way.

    Attributes:
        holders: the requests that wait for their clients and hold bytes.
    """

    def __init__(self, limit: int, shared_seconds: float) -> None:
        self._free = limit
        self._shared_seconds = shared_seconds
        self._given_back = asyncio.Event()
        self.holders = WaitingForClients()

    @contextlib.contextmanager
    def request(self) -> Iterator[Take]:
        """One request; yields a function that takes bytes, given back at the end."""
        taken = 0

        async def take(count: int) -> None:
            nonlocal taken
            while count > self._free:
                self._given_back.clear()
                if not self.holders.end_first(self._shared_seconds):
                    message = "The requests in flight hold all the memory that they may"
                    raise tf.errors.UnavailableError(None, None, message)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(self._shared_seconds):
                        await self._given_back.wait()
            self._free -= count
            taken += count

        try:
            yield take
        finally:
            self._free += taken
            self._given_back.set()
