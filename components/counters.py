"""Counters of Beam pipelines: incremented in a step, read when the pipeline has ended."""

from typing import Final

from apache_beam.metrics.metric import Metrics, MetricsFilter
from apache_beam.runners.runner import PipelineResult

SPEECH: Final = "SpeechExampleGen"
"""Namespace of SpeechExampleGen's counters."""
PAIRS: Final = "SpectrogramPairGen"
"""Namespace of SpectrogramPairGen's counters."""


def count(namespace: str, name: str) -> None:
    """Adds one to a counter of the running pipeline; does nothing outside of one.

    Args:
        namespace: the component's namespace.
        name: the counter's name.
    """
    Metrics.counter(namespace, name).inc()


def counters(result: PipelineResult, namespace: str) -> dict[str, int]:
    """The counters of a namespace by name, without those at zero."""
    found = result.metrics().query(MetricsFilter().with_namespace(namespace))["counters"]
    return {metric.key.metric.name: metric.result for metric in found if metric.result}
