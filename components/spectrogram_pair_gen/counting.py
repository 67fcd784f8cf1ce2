"""What this component's Beam pipeline counts."""

from typing import Final

import apache_beam as beam

COUNTERS: Final = "SpectrogramPairGen"


def count(name: str) -> None:
    """Adds one to a counter of the Beam pipeline; does nothing outside of one."""
    beam.metrics.Metrics.counter(COUNTERS, name).inc()
