"""Checks that a model trained from the base model is not worse than the base model."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
import tensorflow as tf
from tensorflow_model_analysis.proto import validation_result_pb2

from components import features, spectrogram_codec
from components.evaluator.results import Slice
from components.model.base import BaseModel
from components.model.files import BASE
from components.settings import SpectrogramSettings
from components.verification.bootstrap import eer_upper_end
from components.verification.error_rates import EER, TrialHistogram, equal_error_rate

SPLITS: Final = (features.UNSEEN, *features.UNDER_CONDITIONS.values())
"""Splits on which both models are compared; not `eval`, whose speakers one of them knows."""

_PAIRS_AT_ONCE: Final = 64
_SIDES: Final = tuple(features.sided(features.SPECTROGRAM, side) for side in features.SIDES)


class BaseErrorRate(NamedTuple):
    """The base model's equal error rate in a slice of the pairs."""

    eer: float
    upper_end: float
    """Upper end of its 95 % interval, see `eer_upper_end`."""


def base_error_rates(files: Sequence[str]) -> dict[Slice, BaseErrorRate]:
    """The base model's error rates on pairs, by split and, for splits with conditions, condition.

    It scores single windows as its signature `score_pairs` does. A window of many pairs is embedded
    once; memory holds an embedding of each distinct window and a histogram of each slice.

    Args:
        files: TFRecords of serialised pairs.

    Returns:
        Rates by slice; slices without trials of both classes are left out.

    Raises:
        SwarError: this installation has no base model, or a damaged one.
    """
    base = BaseModel.read()
    embedder = _Embedder(base)
    histograms: dict[Slice, TrialHistogram] = {}
    for pairs in _batches(files):
        embedding = embedder(np.concatenate([pairs[side] for side in _SIDES]))
        count = len(pairs[features.LABEL])
        distance = base.distances(embedding, np.arange(count), np.arange(count) + count)
        trials = zip(
            pairs[features.SPLIT],
            pairs[features.CONDITION],
            pairs[features.LABEL],
            distance,
            strict=True,
        )
        for split, condition, label, apart in trials:
            part = _slice(split.decode(), condition.decode())
            histograms.setdefault(part, TrialHistogram()).add(int(label), float(apart))
    return {
        part: BaseErrorRate(equal_error_rate(histogram), eer_upper_end(histogram))
        for part, histogram in histograms.items()
        if histogram.has_both_classes()
    }


def worse_than_base(
    metrics: Mapping[Slice, Mapping[str, float]],
    base: Mapping[Slice, BaseErrorRate],
    max_increase: float,
) -> list[validation_result_pb2.MetricsValidationForSlice]:
    """The slices in which a model's EER is too far above the base model's.

    It is too far if it exceeds the base model's by more than `max_increase` and is above its 95 %
    interval, so that a slice of few trials, where one more error counts much, fails no model. An
    EER of NaN fails.

    Args:
        metrics: of the model, by slice and name.
        base: the base model's rates on the same pairs.
        max_increase: of the equal error rate, absolute.

    Returns:
        For each slice a validation with one failure, as TFMA writes it; the failure's model is
        `base`.
    """
    failures = []
    for part, (base_eer, upper_end) in base.items():
        eer = metrics[part][EER] if part in metrics else math.nan
        if not eer <= max(base_eer + max_increase, upper_end):
            failures.append(_failure(part, eer, base_eer, max_increase))
    return failures


class _Embedder:
    """Embeds packed windows by the base model, each distinct one only once."""

    def __init__(self, base: BaseModel) -> None:
        spectrogram = SpectrogramSettings.model_validate(base.card["spectrogram"])
        self._n_mels = spectrogram.n_mels
        self._frames = spectrogram.frames(int(base.card["sample_rate"]))
        self._tower = base.tower()
        self._known: dict[bytes, npt.NDArray[np.float32]] = {}

    def __call__(self, packed: npt.NDArray[np.object_]) -> npt.NDArray[np.float32]:
        """float32 [N, D] of N packed windows."""
        new = sorted({window for window in packed if window not in self._known})
        if new:
            windows = spectrogram_codec.decode_batch(tf.constant(new), self._n_mels, self._frames)
            embedding = self._tower.predict(windows, batch_size=len(new), verbose=0)
            self._known.update(zip(new, embedding, strict=True))
        return np.stack([self._known[window] for window in packed])


def _slice(split: str, condition: str) -> Slice:
    """The slice as the Evaluator names it: clean pairs have no condition."""
    return Slice(split) if split in features.SPLITS else Slice(split, condition=condition)


def _batches(files: Sequence[str]) -> Iterator[dict[str, npt.NDArray[Any]]]:
    strings = (*_SIDES, features.SPLIT, features.CONDITION)
    spec = {key: tf.io.FixedLenFeature([], tf.string) for key in strings}
    spec[features.LABEL] = tf.io.FixedLenFeature([], tf.int64)
    records = tf.data.TFRecordDataset(sorted(files)).batch(_PAIRS_AT_ONCE)
    parsed: Iterator[dict[str, npt.NDArray[Any]]] = records.map(
        lambda batch: tf.io.parse_example(batch, spec)
    ).as_numpy_iterator()
    return parsed


def _failure(
    part: Slice, eer: float, base_eer: float, max_increase: float
) -> validation_result_pb2.MetricsValidationForSlice:
    validation = validation_result_pb2.MetricsValidationForSlice()
    for column, value in part._asdict().items():
        if value is not None:
            key = validation.slice_key.single_slice_keys.add(column=column)
            key.bytes_value = value.encode()
    failure = validation.failures.add()
    failure.metric_key.name = EER
    failure.metric_key.model_name = BASE
    failure.metric_key.is_diff = True
    failure.metric_value.double_value.value = eer - base_eer
    failure.metric_threshold.change_threshold.absolute.value = max_increase
    return validation
