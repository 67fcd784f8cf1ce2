"""What a stand-in holds at most at any moment."""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from typing import Final

import tensorflow as tf

from serving.open_files import affordable_connections

SHARED_SECONDS: Final = 5.0
"""For a client to send its request, or to read the answer, where others wait for the room."""
_INTERFACES: Final = 3
"""Of which gRPC counts twice: it has more for the moment until the oldest are closed."""


@dataclass(frozen=True)
class Limits:
    """Bounds of REST and gRPC."""

    max_request_bytes: int = 64 * 2**20
    """Longest request."""
    max_bytes_in_flight: int = 256 * 2**20
    """Of all requests together; one that finds no room is refused with UNAVAILABLE, 503."""
    max_connections: int = 256
    """Open connections of each interface; fewer where the process may open fewer files. Beyond
    them, that which has waited for its client for longest is closed."""
    max_rpcs: int = 256
    """gRPC calls at one time. Beyond them, that which has waited for its client for longest ends;
    where none waits, the new one is refused with RESOURCE_EXHAUSTED."""
    idle_seconds: float = 30.0
    """For a connection without a request, and for the header of one."""
    rpc_idle_seconds: float = 300.0
    """For a gRPC connection between calls: clients keep one, and complain when it is closed."""
    body_seconds: float = 60.0
    """For a client to send its request, and for it to read the answer."""

    def affordable_connections(self) -> int:
        """How many connections each interface may have, by the files that the process may open.

        The process takes as many files as it needs, where it is let.
        """
        return affordable_connections(self.max_connections, _INTERFACES)


class WaitingForClients:
    """What waits for its client, to send or to read: the first of it gives way to others."""

    def __init__(self) -> None:
        self._ends: dict[object, tuple[float, Callable[[], None]]] = {}
        """Since when each waits, and what ends it; the longest first."""

    @contextlib.contextmanager
    def waiting(self, end: Callable[[], None]) -> Iterator[None]:
        """Waits meanwhile; `end` is called, at most once, where it has to give way."""
        key = object()
        self._ends[key] = time.monotonic(), end
        try:
            yield
        finally:
            self._ends.pop(key, None)

    def end_first(self, after_seconds: float = 0.0) -> bool:
        """Ends what has waited longest, if that is so long; whether it did."""
        for key, (since, end) in self._ends.items():
            if time.monotonic() - since < after_seconds:
                break
            del self._ends[key]
            end()
            return True
        return False


def reschedule(end: asyncio.Timeout, at: float) -> None:
    """Gives what waits another time; the event loop's of 0 ends it now."""
    if not end.expired():  # else its task has not noticed that yet
        end.reschedule(at)


Take = Callable[[int], Awaitable[None]]
"""Takes bytes for a request, where there are as many. Raises UNAVAILABLE."""


class Budget:
    """Bytes that all requests together may hold.

    Where there are no more, what has waited for its client for some seconds gives way.

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
        """One request; yields what takes bytes for it, which are given back in the end."""
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
