"""Counters of recordings and decisions, for Prometheus to read."""

import contextlib
import socket
import threading
from collections.abc import Iterator
from socketserver import ThreadingMixIn
from typing import Any, Final
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from prometheus_client import CollectorRegistry, Counter, make_wsgi_app

from components.errors import SwarError
from serving.watching import RECORDING, Row

_HOST: Final = "127.0.0.1"
_CONNECTION_SECONDS: Final = 10.0
_MAX_CONNECTIONS: Final = 16


class _Handler(WSGIRequestHandler):
    def log_message(self, *_: Any) -> None:
        """Writes no line for a request."""


class _Server(ThreadingMixIn, WSGIServer):
    """Few connections, each for some seconds: else local processes could take all threads."""

    daemon_threads = True

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self._places = threading.BoundedSemaphore(_MAX_CONNECTIONS)

    def verify_request(self, request: Any, client_address: Any) -> bool:
        return self._places.acquire(blocking=False)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        end = threading.Timer(_CONNECTION_SECONDS, _shut, (request,))
        end.daemon = True
        end.start()
        try:
            super().process_request_thread(request, client_address)
        finally:
            end.cancel()
            self._places.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Logs nothing about a client that leaves or speaks no HTTP."""


def _shut(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):  # it has ended meanwhile
        connection.shutdown(socket.SHUT_RDWR)


class WatchCounters:
    """`swar_recordings_total` by status, and `swar_decisions_total` by kind and verdict."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._recordings = Counter(
            "swar_recordings", "Recordings by status.", ["status"], registry=self.registry
        )
        self._decisions = Counter(
            "swar_decisions",
            "Decisions by their kind and the verdict.",
            ["kind", "verdict"],
            registry=self.registry,
        )

    def __call__(self, row: Row) -> None:
        """Counts a row."""
        if row["kind"] == RECORDING:
            self._recordings.labels(row["status"]).inc()
        else:
            self._decisions.labels(row["kind"], row["status"]).inc()

    @contextlib.contextmanager
    def served(self, port: int) -> Iterator[int]:
        """Answers `GET /metrics` on this machine's loopback only; yields the port.

        Raises:
            SwarError: another process has the port.
        """
        try:
            server = make_server(_HOST, port, make_wsgi_app(self.registry), _Server, _Handler)
        except OSError as error:
            raise SwarError(f"cannot listen on {_HOST}:{port}: choose another port") from error
        thread = threading.Thread(target=server.serve_forever, name="metrics", daemon=True)
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            server.server_close()
            thread.join()
