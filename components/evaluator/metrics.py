"""Speaker verification's metrics for TensorFlow Model Analysis.

All but `BalancedPrecision` read one histogram of the `distance` output, so that
a slice costs the same memory whatever its number of trials. A rate that a slice
does not have (a single class, an invalid distance) is NaN: TFMA shows it as
such, and a threshold on it fails. Were the metric left out instead, TFMA would
fail that metric's thresholds for every slice.
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

from components import trials
from components.trials import TrialHistogram

EQUAL_ERROR_RATE: Final = "eer"
MIN_DCF: Final = "min_dcf"  # with the p_target appended
AREA_UNDER_ROC: Final = "auc"
MEAN_SIMILAR_DISTANCE: Final = "mean_similar_distance"
MEAN_DISSIMILAR_DISTANCE: Final = "mean_dissimilar_distance"
BALANCED_PRECISION: Final = "balanced_precision"
PRECISION: Final = "precision"
RECALL: Final = "recall"
EXAMPLE_COUNT: Final = "example_count"

SAME_SPEAKER_ABOVE: Final = float(np.nextafter(np.float32(0.5), np.float32(0.0)))
"""TFMA accepts strictly above a threshold, the model at `probability` >= 0.5 (float32)."""

_HISTOGRAM: Final = "_trial_histogram"  # the underscore keeps it out of the results


def min_dcf_name(p_target: float) -> str:
    """The name under which minDCF at this prior appears: `min_dcf_0.01`."""
    return f"{MIN_DCF}_{p_target:g}"


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
    """Equal error rate of `distance`, see `trials.equal_error_rate`."""

    def __init__(self, name: str = EQUAL_ERROR_RATE):
        super().__init__(_computations(trials.equal_error_rate), name=name)


class MinDetectionCost(tfma.metrics.Metric):
    """minDCF of `distance` at the prior `p_target`, see `trials.min_detection_cost`."""

    def __init__(self, p_target: float, name: str | None = None):
        self._p_target = p_target
        value = functools.partial(trials.min_detection_cost, p_target=p_target)
        super().__init__(_computations(value), name=name or min_dcf_name(p_target))

    def get_config(self) -> dict[str, object]:
        return {**super().get_config(), "p_target": self._p_target}


class AreaUnderRoc(tfma.metrics.Metric):
    """ROC AUC of `distance`; TFMA's own is 0.0 where a slice has one class."""

    def __init__(self, name: str = AREA_UNDER_ROC):
        super().__init__(_computations(trials.area_under_roc), name=name)


class MeanSimilarDistance(tfma.metrics.Metric):
    """Mean `distance` of same-speaker trials."""

    def __init__(self, name: str = MEAN_SIMILAR_DISTANCE):
        value = functools.partial(trials.mean_distance, label=trials.SIMILAR)
        super().__init__(_computations(value), name=name)


class MeanDissimilarDistance(tfma.metrics.Metric):
    """Mean `distance` of different-speaker trials."""

    def __init__(self, name: str = MEAN_DISSIMILAR_DISTANCE):
        value = functools.partial(trials.mean_distance, label=trials.DISSIMILAR)
        super().__init__(_computations(value), name=name)


class BalancedPrecision(confusion_matrix_metrics.ConfusionMatrixMetric):
    """Precision at equal numbers of same- and different-speaker trials: TPR / (TPR + FPR).

    Reads `probability`, whose 0.5 lies at the model's stored distance threshold.
    NaN where a class has no trials or nothing is accepted.
    """

    def _default_name(self) -> str:
        return BALANCED_PRECISION

    def result(self, tp: float, tn: float, fp: float, fn: float) -> float:
        if not (tp + fn and fp + tn and tp + fp):
            return float("nan")
        true_positive_rate = tp / (tp + fn)
        return true_positive_rate / (true_positive_rate + fp / (fp + tn))
