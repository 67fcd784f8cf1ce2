"""What the Evaluator measures, on which slices, and what a blessed model must reach."""

import json
from collections.abc import Mapping, Sequence
from typing import Final

import tensorflow_model_analysis as tfma
from google.protobuf import wrappers_pb2
from tensorflow_model_analysis.proto import config_pb2

from components import features
from components.conditions import CLEAN, CONDITIONS
from components.evaluator import metrics
from components.settings import EvaluatorSettings
from components.verification import error_rates

SIGNATURE: Final = "score_pairs"


def _metric(class_name: str, **arguments: float) -> config_pb2.MetricConfig:
    return config_pb2.MetricConfig(
        class_name=class_name, module=metrics.__name__, config=json.dumps(arguments)
    )


def _tfma_metric(class_name: str, **arguments: float) -> config_pb2.MetricConfig:
    return config_pb2.MetricConfig(class_name=class_name, config=json.dumps(arguments))


def _eer_bound(
    feature_values: Mapping[str, str], max_eer: float, max_increase: float | None = None
) -> config_pb2.PerSliceMetricThreshold:
    """The highest EER of one slice, and its highest rise over the baseline.

    A NaN EER and a slice without trials both fail the bound.
    """
    threshold = config_pb2.MetricThreshold(
        value_threshold=config_pb2.GenericValueThreshold(
            upper_bound=wrappers_pb2.DoubleValue(value=max_eer)
        )
    )
    if max_increase is not None:
        threshold.change_threshold.CopyFrom(
            config_pb2.GenericChangeThreshold(
                direction=config_pb2.LOWER_IS_BETTER,
                absolute=wrappers_pb2.DoubleValue(value=max_increase),
            )
        )
    return config_pb2.PerSliceMetricThreshold(
        slicing_specs=[config_pb2.SlicingSpec(feature_values=feature_values)],
        threshold=threshold,
    )


def _bounded_eer(settings: EvaluatorSettings, splits: Sequence[str]) -> config_pb2.MetricConfig:
    eer = _metric("EqualErrorRate")
    bounds = [
        _eer_bound(
            {features.SPLIT: features.EVAL}, settings.max_eer_eval, settings.max_eer_increase
        )
    ]
    if features.UNSEEN in splits:
        bounds.append(_eer_bound({features.SPLIT: features.UNSEEN}, settings.max_eer_unseen))
    if (under_conditions := features.UNDER_CONDITIONS[features.EVAL]) in splits:
        bounds += [
            _eer_bound(
                {features.SPLIT: under_conditions, features.CONDITION: condition},
                settings.max_eer_condition,
            )
            for condition in CONDITIONS
        ]
    eer.per_slice_thresholds.extend(bounds)
    return eer


def _keys_within(split: str) -> list[list[str]]:
    """The features that slice a split; conditions are never mixed."""
    if split in features.SPLITS:
        return [[], [features.GENDER_PAIR]]
    return [[features.CONDITION]]


def eval_config(settings: EvaluatorSettings, splits: Sequence[str]) -> config_pb2.EvalConfig:
    """TFMA's configuration for the TFX Evaluator over these splits of `pairs`.

    Slices: all clean pairs, by split, by split and gender pair, by split and condition.
    A model is blessed if its EER is at most `max_eer_eval` on `eval`, and
    `max_eer_unseen` on `unseen` and `max_eer_condition` under every condition of
    `eval_conditions` if these are among the splits, and if it exceeds the baseline's
    on `eval` by at most `max_eer_increase`, a bound that TFX drops without a baseline.
    """
    on_distance = config_pb2.MetricsSpec(
        output_names=[features.DISTANCE],
        metrics=[
            _tfma_metric("ExampleCount"),
            _bounded_eer(settings, splits),
            *(_metric("MinDetectionCost", p_target=p) for p in error_rates.MIN_DCF_P_TARGETS),
            _metric("AreaUnderRoc"),
            _metric("MeanTargetDistance"),
            _metric("MeanNontargetDistance"),
        ],
    )
    on_probability = config_pb2.MetricsSpec(
        output_names=[features.PROBABILITY],
        metrics=[
            _tfma_metric("Precision", thresholds=metrics.SAME_SPEAKER_ABOVE),
            _tfma_metric("Recall", thresholds=metrics.SAME_SPEAKER_ABOVE),
            _metric("BalancedPrecision", thresholds=metrics.SAME_SPEAKER_ABOVE),
        ],
    )
    return config_pb2.EvalConfig(
        # Without a model_type TFMA first tries to load the model as a Keras one.
        model_specs=[
            config_pb2.ModelSpec(
                model_type=tfma.TF_GENERIC,
                signature_name=SIGNATURE,
                label_key=features.LABEL,
            )
        ],
        slicing_specs=[
            config_pb2.SlicingSpec(feature_values={features.CONDITION: CLEAN}),
            *(
                config_pb2.SlicingSpec(feature_values={features.SPLIT: split}, feature_keys=keys)
                for split in splits
                for keys in _keys_within(split)
            ),
        ],
        metrics_specs=[on_distance, on_probability],
    )
