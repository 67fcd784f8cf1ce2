"""How requests end: TensorFlow's errors, whose codes are gRPC's, and the metrics."""

import asyncio
import contextlib
import time
import traceback
from collections.abc import Iterator
from typing import Final

import grpc
import tensorflow as tf
from prometheus_client import CollectorRegistry, Gauge, Histogram

_LONGEST_MESSAGE: Final = 600  # gRPC sends it as a header, percent-encoded, of 8 KiB at most
_CODES: Final = {code.value[0]: code for code in grpc.StatusCode}


def outcome(error: Exception) -> tuple[grpc.StatusCode, str]:
    """What a client learns about an error: its code, and its message or the start of it.

    Clears the error's frames: they hold megabytes, which reference cycles would keep until
    Python collects them.
    """
    failure = as_op_error(error)
    traceback.clear_frames(error.__traceback__)
    return _CODES[failure.error_code], failure.message[:_LONGEST_MESSAGE]


def invalid(message: str) -> tf.errors.OpError:
    """INVALID_ARGUMENT, HTTP 400."""
    return tf.errors.InvalidArgumentError(None, None, message)


def as_op_error(error: Exception) -> tf.errors.OpError:
    """An error as one with a code: INTERNAL if it has none."""
    if isinstance(error, tf.errors.OpError):
        return error
    return tf.errors.InternalError(None, None, f"{type(error).__name__}: {error}")


class Metrics:
    """Predict requests of one model, under the names and buckets that TF Serving exports."""

    def __init__(self, model_name: str) -> None:
        self.registry = CollectorRegistry()
        self._model_name = model_name
        self._count = Gauge(  # a Counter's name would end in `_total`, which TF Serving's does not
            ":tensorflow:serving:request_count",
            "Requests by how they ended.",
            ["model_name", "status"],
            registry=self.registry,
        )
        self._latency = Histogram(
            ":tensorflow:serving:request_latency",
            "Microseconds to an answer.",
            ["model_name", "API", "entrypoint"],
            registry=self.registry,
            buckets=[10.0 * 1.8**power for power in range(33)],
        )

    @contextlib.contextmanager
    def timed(self, entrypoint: str) -> Iterator[None]:
        """Counts a request to `REST` or `GRPC` by how it ends, and times it if it is answered."""
        started, status = time.perf_counter(), "UNKNOWN"
        try:
            yield
            status = "OK"
            microseconds = (time.perf_counter() - started) * 1e6
            self._latency.labels(self._model_name, "Predict", entrypoint).observe(microseconds)
        except tf.errors.OpError as error:
            status = outcome(error)[0].name
            raise
        except asyncio.CancelledError:
            status = "CANCELLED"
            raise
        finally:
            self._count.labels(self._model_name, status).inc()
