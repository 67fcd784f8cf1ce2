"""Counters of recordings and decisions, for Prometheus to read."""

import contextlib
from collections.abc import Iterator

from prometheus_client import CollectorRegistry, Counter, start_http_server

from components.errors import SwarError
from serving.watching import RECORDING, Row

_HOST = "127.0.0.1"


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
        """Answers `GET /metrics` on this machine's loopback alone; yields the port.

        Raises:
            SwarError: another process has the port.
        """
        try:
            server, thread = start_http_server(port, _HOST, self.registry)
        except OSError as error:
            raise SwarError(f"cannot listen on {_HOST}:{port}: choose another port") from error
        try:
            yield server.server_port
        finally:
            server.shutdown()
            server.server_close()
            thread.join()
