"""Counts and latencies of requests, under the names and buckets that TF Serving exports."""

import asyncio
import contextlib
import itertools
import json
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from typing import Final

from serving.standin.status import ServingError

_COUNT: Final = ":tensorflow:serving:request_count"
_LATENCY: Final = ":tensorflow:serving:request_latency"
_BUCKETS_MICROSECONDS: Final = tuple(10.0 * 1.8**power for power in range(33))


class _Histogram:
    def __init__(self) -> None:
        self.counts = [0] * (len(_BUCKETS_MICROSECONDS) + 1)
        self.total = 0.0

    def add(self, value: float) -> None:
        bucket = sum(value >= limit for limit in _BUCKETS_MICROSECONDS)
        self.counts[bucket] += 1
        self.total += value

    def lines(self, labels: str) -> list[str]:
        limits = [*(f"{limit:g}" for limit in _BUCKETS_MICROSECONDS), "+Inf"]
        sums = itertools.accumulate(self.counts)
        return [
            *(
                f'{_LATENCY}_bucket{{{labels},le="{limit}"}} {count}'
                for limit, count in zip(limits, sums, strict=True)
            ),
            f"{_LATENCY}_sum{{{labels}}} {self.total:g}",
            f"{_LATENCY}_count{{{labels}}} {sum(self.counts)}",
        ]


class Metrics:
    """Of one model."""

    def __init__(self, model_name: str) -> None:
        self._model_name = model_name
        self._counts: Counter[str] = Counter()
        self._latencies: defaultdict[str, _Histogram] = defaultdict(_Histogram)

    @contextlib.contextmanager
    def timed(self, entrypoint: str) -> Iterator[None]:
        """Counts a Predict request by how it ends; takes its latency if it is answered.

        Args:
            entrypoint: `REST` or `GRPC`.
        """
        started = time.perf_counter()
        status = "UNKNOWN"
        try:
            yield
            status = "OK"
            self._latencies[entrypoint].add((time.perf_counter() - started) * 1e6)
        except ServingError as error:
            status = error.code.name
            raise
        except asyncio.CancelledError:
            status = "CANCELLED"
            raise
        finally:
            self._counts[status] += 1

    def exposition(self) -> str:
        """The page for Prometheus, in its text format."""
        model = f"model_name={json.dumps(self._model_name, ensure_ascii=False)}"
        lines = [f"# TYPE {_COUNT} counter"]
        for status, count in sorted(self._counts.items()):
            lines.append(f'{_COUNT}{{{model},status="{status}"}} {count}')
        lines.append(f"# TYPE {_LATENCY} histogram")
        for entrypoint, histogram in sorted(self._latencies.items()):
            lines += histogram.lines(f'{model},API="Predict",entrypoint="{entrypoint}"')
        return "\n".join(lines) + "\n"
