"""Reads the counters of a finished Beam pipeline."""

from apache_beam.metrics.metric import MetricsFilter
from apache_beam.runners.runner import PipelineResult


def counters(result: PipelineResult, namespace: str) -> dict[str, int]:
    """Every counter of a namespace by name, zero counters left out."""
    found = result.metrics().query(MetricsFilter().with_namespace(namespace))["counters"]
    return {metric.key.metric.name: metric.result for metric in found if metric.result}
