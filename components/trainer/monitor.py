"""Measures a tower after every epoch and keeps the best epoch."""

import contextlib
import logging
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from components import features
from components.json_text import without_nan
from components.model.tower import all_pairs_distance
from components.trainer.data import Windows
from components.verification.error_rates import (
    EER,
    MEAN_NONTARGET_DISTANCE,
    MEAN_TARGET_DISTANCE,
    NONTARGET,
    TARGET,
    TrialHistogram,
    equal_error_rate,
    mean_distance,
)

EMBED_BATCH: Final = 128
progress = logging.getLogger("swar.progress")


def all_trials(embedding: np.ndarray, windows: Windows, window_seconds: float) -> TrialHistogram:
    """Trials of every window with every other one that shares no samples with it.

    Args:
        embedding: float32 [windows, D].
        windows: where they are from.
        window_seconds: length of a window.
    """
    distance = all_pairs_distance(embedding).numpy()
    first, second = np.triu_indices(len(embedding), k=1)
    overlaps = (windows.recording[first] == windows.recording[second]) & (
        np.abs(windows.start_seconds[first] - windows.start_seconds[second]) < window_seconds
    )
    first, second = first[~overlaps], second[~overlaps]
    same = windows.speaker[first] == windows.speaker[second]
    return TrialHistogram.of(np.where(same, TARGET, NONTARGET), distance[first, second])


class WindowEmbedder:
    """Embeds windows in memory by a tower, with one graph that is built once.

    Args:
        tower: maps uint8 windows [N, n_mels, frames] to embeddings [N, D].
    """

    def __init__(self, tower: keras.Model) -> None:
        spec = tf.TensorSpec((EMBED_BATCH, *tower.input_shape[1:]), tf.uint8)
        self._embed = tf.function(
            lambda windows: tower(windows, training=False), [spec], autograph=False
        )

    def __call__(self, spectrogram: np.ndarray) -> np.ndarray:
        """Embeddings float32 [N, D] of windows uint8 [N, n_mels, frames]."""
        # The last batch is padded: a GPU searches the best algorithms anew for every shape.
        missing = -len(spectrogram) % EMBED_BATCH
        filled = np.pad(spectrogram, ((0, missing), (0, 0), (0, 0)))
        batches = [
            self._embed(filled[first : first + EMBED_BATCH]).numpy()
            for first in range(0, len(filled), EMBED_BATCH)
        ]
        embedding: np.ndarray = np.concatenate(batches)[: len(spectrogram)]
        return embedding


@contextlib.contextmanager
def mean_weights(
    model: keras.Model, starting: Sequence[np.ndarray], starting_share: float
) -> Iterator[None]:
    """Context in which the model has the mean of the starting weights and its own."""
    if not starting_share:
        yield
        return
    own = model.get_weights()
    model.set_weights(
        [
            starting_share * start + (1.0 - starting_share) * weight
            for start, weight in zip(starting, own, strict=True)
        ]
    )
    try:
        yield
    finally:
        model.set_weights(own)


class BestEpoch(NamedTuple):
    """The best epoch so far."""

    epoch: int
    """Counted from 0."""
    eer: float
    """Equal error rate on `calibration`."""
    weights: list[np.ndarray]
    """The tower's weights."""


class TrialMonitor(keras.callbacks.Callback):
    """Logs EER and mean distances of windows of each split; keeps the best epoch's weights.

    The best epoch has the lowest EER on `calibration`; of equal ones it is the last. `eval` is
    reported but selects nothing.

    Args:
        monitored: windows of each split.
        embedder: of the tower that is trained.
        window_seconds: length of a window.
        epochs: of the training.
        starting: the tower's weights before the training.
        starting_share: share of these in the monitored and kept weights.

    Attributes:
        best: None before the first epoch.
        history: the logs of each epoch, with its number from 1; None for what is not finite.
    """

    def __init__(
        self,
        monitored: Mapping[str, Windows],
        embedder: WindowEmbedder,
        window_seconds: float,
        epochs: int,
        starting: Sequence[np.ndarray] = (),
        starting_share: float = 0.0,
    ) -> None:
        super().__init__()
        self._monitored = monitored
        self._embedder = embedder
        self._window_seconds = window_seconds
        self._epochs = epochs
        self._starting = starting
        self._starting_share = starting_share
        self.best: BestEpoch | None = None
        self.history: list[dict[str, float | None]] = []

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Adds `<split>_eer`, `<split>_mean_similar_distance`, ... to the epoch's logs."""
        logs = {} if logs is None else logs
        with mean_weights(self.model, self._starting, self._starting_share):
            for split, windows in self._monitored.items():
                embedding = self._embedder(windows.spectrogram)
                trials = all_trials(embedding, windows, self._window_seconds)
                logs[f"{split}_{EER}"] = equal_error_rate(trials)
                logs[f"{split}_{MEAN_TARGET_DISTANCE}"] = mean_distance(trials, TARGET)
                logs[f"{split}_{MEAN_NONTARGET_DISTANCE}"] = mean_distance(trials, NONTARGET)
            eer = logs[f"{features.CALIBRATION}_{EER}"]
            if self.best is None or math.isnan(self.best.eer) or eer <= self.best.eer:
                self.best = BestEpoch(epoch, eer, self.model.get_weights())
        row = without_nan({name: float(value) for name, value in logs.items()})
        self.history.append({"epoch": epoch + 1, **row})
        progress.info(
            "epoch %d/%d: loss %.4f, calibration EER %.1f %%, eval EER %.1f %%, "
            "distance similar %.2f, dissimilar %.2f",
            epoch + 1,
            self._epochs,
            logs["loss"],
            100.0 * eer,
            100.0 * logs[f"{features.EVAL}_{EER}"],
            logs[f"{features.EVAL}_{MEAN_TARGET_DISTANCE}"],
            logs[f"{features.EVAL}_{MEAN_NONTARGET_DISTANCE}"],
        )

    def restore_best(self) -> int:
        """Gives the tower its best epoch's weights; returns that epoch, counted from 0."""
        if self.best is None:
            raise ValueError("no epoch was monitored")
        self.model.set_weights(self.best.weights)
        return self.best.epoch
