"""The page's connections: how long each may be silent, and how many there may be."""

import asyncio
from typing import Final

from uvicorn.protocols.http.h11_impl import H11Protocol

MAX_CONNECTIONS: Final = 256
"""Open connections; fewer where the process may open fewer files."""
HEADER_SECONDS: Final = 30.0
"""For the header of a request to be whole, from the connection or the last answer on."""
READING_SECONDS: Final = 60.0
"""For a client to go on reading an answer that it has stopped to read."""


class BoundedConnection(H11Protocol):
    """A connection that ends where its client does not go on; an answer may take any time.

    uvicorn's `limit_concurrency` is one more than the connections that may be open. Beyond those,
    the connection that waits for a request and has the least time left is closed; where all are
    being answered, the new one.
    """

    _end: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Starts the time of the first header, and makes room."""
        super().connection_made(transport)
        self._end_after(HEADER_SECONDS)
        if self.limit_concurrency is not None and len(self.connections) >= self.limit_concurrency:
            connections = (each for each in self.connections if isinstance(each, BoundedConnection))
            waiting = (each for each in connections if each._waits_for_request())
            min(waiting, key=BoundedConnection._ends_at)._abort()  # this one is among them

    def connection_lost(self, exc: Exception | None) -> None:
        """Stops the time."""
        self._end_after(None)
        super().connection_lost(exc)

    def handle_events(self) -> None:
        """Stops the time when a header is whole."""
        previous = self.cycle
        super().handle_events()
        if self.cycle is not previous:
            self._end_after(None)

    def on_response_complete(self) -> None:
        """Starts the time of the next header, or of reading the rest of the answer."""
        self._end_after(READING_SECONDS if self.flow.write_paused else HEADER_SECONDS)
        super().on_response_complete()

    def pause_writing(self) -> None:
        """Starts the time in which the client has to read."""
        super().pause_writing()
        self._end_after(READING_SECONDS)

    def resume_writing(self) -> None:
        """Stops it."""
        super().resume_writing()
        self._end_after(HEADER_SECONDS if self._waits_for_request() else None)

    def _waits_for_request(self) -> bool:
        return self.cycle is None or self.cycle.response_complete

    def _ends_at(self) -> float:
        return self._end.when() if self._end is not None else float("inf")

    def _end_after(self, seconds: float | None) -> None:
        if self._end is not None:
            self._end.cancel()
        self._end = None if seconds is None else self.loop.call_later(seconds, self._abort)

    def _abort(self) -> None:
        self.connections.discard(self)  # at once: the next connection counts them
        self.transport.abort()
