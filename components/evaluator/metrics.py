"""Speaker verification's metrics for TensorFlow Model Analysis.

All but `BalancedPrecision` read one histogram of the `distance` output, so that
a slice takes the same memory for any number of trials. A rate that a slice does
not have (a single class, an invalid distance) is NaN: TFMA shows it as such, and
a threshold on it fails. If the metric were left out instead, TFMA would fail
that metric's thresholds for every slice.
"""

import functools
from collections.abc import Callable, Iterable
from typing import Final

import apache_beam as beam
import numpy as np
import tensorflow_model_analysis as tfma
from tensorflow_model_analysis.metrics import (
    confusion_matrix_metrics,
    metric_types,
    metric_util,
)
from tensorflow_model_analysis.proto import config_pb2

from components.verification import error_rates
from components.verification.error_rates import TrialHistogram

SAME_SPEAKER_ABOVE: Final = float(np.nextafter(np.float32(0.5), np.float32(0.0)))
"""TFMA accepts above a threshold, but the model at `probability` >= 0.5 (float32)."""

_HISTOGRAM: Final = "_trial_histogram"  # the underscore keeps it out of the results


class _TrialCombiner(beam.CombineFn):
    """Counts the trials of a slice."""

    def __init__(self, key: metric_types.MetricKey, eval_config: config_pb2.EvalConfig):
        self._key = key
        self._eval_config = eval_config

    def create_accumulator(self) -> TrialHistogram:
        return TrialHistogram()

    def add_input(
        self, accumulator: TrialHistogram, element: metric_types.StandardMetricInputs
    ) -> TrialHistogram:
        for label, distance, _ in metric_util.to_label_prediction_example_weight(
            element,
            eval_config=self._eval_config,
            model_name=self._key.model_name,
            output_name=self._key.output_name,
        ):
            accumulator.add(int(label.item()), float(distance.item()))
        return accumulator

    def merge_accumulators(self, accumulators: Iterable[TrialHistogram]) -> TrialHistogram:
        merged = TrialHistogram()
        for accumulator in accumulators:
            merged.merge(accumulator)
        return merged

    def extract_output(
        self, accumulator: TrialHistogram
    ) -> dict[metric_types.MetricKey, TrialHistogram]:
        return {self._key: accumulator}


def _computations(
    value: Callable[[TrialHistogram], float],
) -> Callable[..., metric_types.MetricComputations]:
    """Makes TFMA's computations: the shared histogram, and a number derived from it."""

    def create(
        name: str, eval_config: config_pb2.EvalConfig, model_name: str, output_name: str
    ) -> metric_types.MetricComputations:
        histogram_key = metric_types.MetricKey(_HISTOGRAM, model_name, output_name)
        key = metric_types.MetricKey(name, model_name, output_name)

        def derive(
            metrics: dict[metric_types.MetricKey, TrialHistogram],
        ) -> dict[metric_types.MetricKey, float]:
            return {key: value(metrics[histogram_key])}

        combiner = _TrialCombiner(histogram_key, eval_config)
        return [
            metric_types.MetricComputation([histogram_key], None, combiner),
            metric_types.DerivedMetricComputation([key], derive),
        ]

    merged: Callable[..., metric_types.MetricComputations] = metric_util.merge_per_key_computations(
        create
    )
    return merged


class EqualErrorRate(tfma.metrics.Metric):
    """Equal error rate of `distance`, see `error_rates.equal_error_rate`."""

    def __init__(self, name: str = error_rates.EER):
        super().__init__(_computations(error_rates.equal_error_rate), name=name)


class MinDetectionCost(tfma.metrics.Metric):
    """minDCF of `distance` at the prior `p_target`, see `error_rates.min_detection_cost`."""

    def __init__(self, p_target: float, name: str | None = None):
        value = functools.partial(error_rates.min_detection_cost, p_target=p_target)
        super().__init__(_computations(value), name=name or error_rates.min_dcf_name(p_target))


class AreaUnderRoc(tfma.metrics.Metric):
    """ROC AUC of `distance`; TFMA's own is 0.0 where a slice has one class."""

    def __init__(self, name: str = error_rates.AUC):
        super().__init__(_computations(error_rates.area_under_roc), name=name)


class MeanTargetDistance(tfma.metrics.Metric):
    """Mean `distance` of same-speaker trials."""

    def __init__(self, name: str = error_rates.MEAN_TARGET_DISTANCE):
        value = functools.partial(error_rates.mean_distance, label=error_rates.TARGET)
        super().__init__(_computations(value), name=name)


class MeanNontargetDistance(tfma.metrics.Metric):
    """Mean `distance` of different-speaker trials."""

    def __init__(self, name: str = error_rates.MEAN_NONTARGET_DISTANCE):
        value = functools.partial(error_rates.mean_distance, label=error_rates.NONTARGET)
        super().__init__(_computations(value), name=name)


class BalancedPrecision(confusion_matrix_metrics.ConfusionMatrixMetric):
    """Precision at equal numbers of same- and different-speaker trials: TPR / (TPR + FPR).

    Reads `probability`, which is 0.5 at the model's stored distance threshold.
    NaN where a class has no trials or nothing is accepted.
    """

    def _default_name(self) -> str:
        return error_rates.BALANCED_PRECISION

    def result(self, tp: float, tn: float, fp: float, fn: float) -> float:
        if not (tp + fn and fp + tn and tp + fp):
            return float("nan")
        return error_rates.balanced_precision(tp / (tp + fn), fp / (fp + tn))
