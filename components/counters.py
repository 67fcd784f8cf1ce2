"""Counters of Beam pipelines: counted in a step, read when the pipeline has ended."""

from typing import Final

from apache_beam.metrics.metric import Metrics, MetricsFilter
from apache_beam.runners.runner import PipelineResult

SPEECH: Final = "SpeechExampleGen"
"""Namespace of that component's counters."""
PAIRS: Final = "SpectrogramPairGen"
"""Namespace of that component's counters."""


def count(namespace: str, name: str) -> None:
    """Adds one to a counter of the pipeline that runs; does nothing outside of one.

    Args:
        namespace: of the component.
        name: of the counter.
    """
    Metrics.counter(namespace, name).inc()


def counters(result: PipelineResult, namespace: str) -> dict[str, int]:
    """Every counter of a namespace by name, zero counters left out."""
    found = result.metrics().query(MetricsFilter().with_namespace(namespace))["counters"]
    return {metric.key.metric.name: metric.result for metric in found if metric.result}
