"""Reads the Evaluator's results."""

from typing import Final, NamedTuple

import tensorflow_model_analysis as tfma

# TFMA names a single model "", and the candidate beside a baseline by this key.
_CANDIDATE_NAMES: Final = ("", tfma.CANDIDATE_KEY)


class Slice(NamedTuple):
    """A part of the trials; None means all. Fields are named after the features."""

    split: str | None = None
    gender_pair: str | None = None
    condition: str | None = None


def read_metrics(evaluation_uri: str) -> dict[Slice, dict[str, float]]:
    """The candidate's metrics by slice and name; NaN where a slice lacks one."""
    result: dict[Slice, dict[str, float]] = {}
    for slice_metrics in tfma.load_metrics(evaluation_uri):
        keys = slice_metrics.slice_key.single_slice_keys
        part = Slice(**{key.column: key.bytes_value.decode() for key in keys})
        result[part] = {
            metric.key.name: metric.value.double_value.value
            for metric in slice_metrics.metric_keys_and_values
            if metric.key.model_name in _CANDIDATE_NAMES and not metric.key.is_diff
        }
    return result
