"""The page's connections: how long each may be silent, and how many there may be."""

import asyncio
from typing import Final

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from serving.web.uploads import UPLOAD

MAX_CONNECTIONS: Final = 256
"""Open connections; fewer if the process may open fewer files."""
HEADER_SECONDS: Final = 30.0
"""Time for a request's header to arrive, from the connection or the last answer on."""
READING_SECONDS: Final = 60.0
"""Time for a client to go on reading an answer that it has stopped reading."""


class BoundedConnection(H11Protocol):
    """A connection that ends if its client stalls; an answer may take any time.

    uvicorn's `limit_concurrency` is one more than the connections that may be open. Beyond those,
    the one that has waited longest for its client is closed: the new one if no other waits.
    """

    _end: asyncio.TimerHandle | None = None
    _waits_since: float = 0.0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Starts the timer of the first header, and makes room."""
        super().connection_made(transport)
        self._end_after(HEADER_SECONDS)
        # Hidden from uvicorn, which would refuse requests while closed connections are ending.
        limit, self.limit_concurrency = self.limit_concurrency, None
        if limit is not None and len(self.connections) >= limit:
            connections = (each for each in self.connections if isinstance(each, BoundedConnection))
            waiting = (each for each in connections if each._waits_for_client())
            min(waiting, key=lambda each: each._waits_since)._abort()  # this one is among them

    def connection_lost(self, exc: Exception | None) -> None:
        """Stops the timer."""
        self._end_after(None)
        super().connection_lost(exc)

    def handle_events(self) -> None:
        """Stops the timer when a header is whole."""
        previous = self.cycle
        super().handle_events()
        if self.cycle is not previous:
            self._end_after(None)

    def send_400_response(self, msg: str) -> None:
        """Refuses what is no HTTP, also if the request before it is not answered yet.

        That request's answer is dropped; otherwise it would put a traceback into the log.
        """
        if self.cycle is not None and not self.cycle.response_complete:
            self.cycle.disconnected = True
            self.cycle.message_event.set()
            if self.cycle.response_started:
                self._abort()
                return
        super().send_400_response(msg)

    def on_response_complete(self) -> None:
        """Starts the timer of the next header, or of reading the rest of the answer."""
        self._end_after(READING_SECONDS if self.flow.write_paused else HEADER_SECONDS)
        super().on_response_complete()

    def pause_writing(self) -> None:
        """Starts the timer within which the client has to read."""
        super().pause_writing()
        self._end_after(READING_SECONDS)

    def resume_writing(self) -> None:
        """Stops that timer."""
        super().resume_writing()
        self._end_after(HEADER_SECONDS if self._waits_for_request() else None)

    def _waits_for_request(self) -> bool:
        return self.cycle is None or self.cycle.response_complete

    def _waits_for_client(self) -> bool:
        """For a request, the rest of one but an upload, or for the answer to be read."""
        if self._waits_for_request() or self.flow.write_paused:
            return True
        return self.conn.their_state is h11.SEND_BODY and self.cycle.scope["path"] != UPLOAD

    def _end_after(self, seconds: float | None) -> None:
        if self._end is not None:
            self._end.cancel()
        self._end = None if seconds is None else self.loop.call_later(seconds, self._abort)
        self._waits_since = self.loop.time()

    def _abort(self) -> None:
        self.connections.discard(self)  # at once: the next connection counts them
        self.transport.abort()
