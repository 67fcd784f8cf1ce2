"""What is measured after every epoch, and which epoch is kept."""

import contextlib
import json
import logging
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np

from components import features
from components.trainer.data import Windows
from components.trainer.tower import all_pairs_distance
from components.trials import DISSIMILAR, SIMILAR, TrialHistogram, equal_error_rate, mean_distance

EMBED_BATCH = 64
progress = logging.getLogger("swar.progress")


def all_trials(embedding: np.ndarray, windows: Windows, window_seconds: float) -> TrialHistogram:
    """Every window against every other, without those that share samples.

    Args:
        embedding: float32 [windows, D].
        windows: whose the windows are.
        window_seconds: length of a window.
    """
    distance = all_pairs_distance(embedding).numpy()
    first, second = np.triu_indices(len(embedding), k=1)
    overlaps = (windows.recording[first] == windows.recording[second]) & (
        np.abs(windows.start_seconds[first] - windows.start_seconds[second]) < window_seconds
    )
    first, second = first[~overlaps], second[~overlaps]
    same = windows.speaker[first] == windows.speaker[second]
    return TrialHistogram.of(np.where(same, SIMILAR, DISSIMILAR), distance[first, second])


def embed(model: keras.Model, spectrogram: np.ndarray) -> np.ndarray:
    """float32 [N, D] of uint8 [N, n_mels, frames], batch by batch."""
    embedding: np.ndarray = model.predict(spectrogram, batch_size=EMBED_BATCH, verbose=0)
    return embedding


@contextlib.contextmanager
def averaged_weights(model: keras.Model) -> Iterator[None]:
    """The moving average in place of the weights, where the optimiser keeps one."""
    # What scales the loss for float16 wraps the optimiser that keeps the average.
    optimizer = getattr(model.optimizer, "inner_optimizer", model.optimizer)

    def swap() -> None:
        averages = optimizer._model_variables_moving_average
        for weight, average in zip(model.trainable_variables, averages, strict=True):
            value = keras.ops.convert_to_numpy(weight)
            weight.assign(average)
            average.assign(value)

    if not optimizer.use_ema:
        yield
        return
    swap()
    try:
        yield
    finally:
        swap()


class TrialMonitor(keras.callbacks.Callback):
    """Logs EER and mean distances of windows of each split; keeps the best epoch's weights.

    The best epoch is the one with the lowest EER on `calibration`, the later one of equals:
    `eval` is reported, never chosen by.
    """

    def __init__(
        self, monitored: Mapping[str, Windows], window_seconds: float, folder: Path, epochs: int
    ) -> None:
        super().__init__()
        self._monitored = monitored
        self._window_seconds = window_seconds
        self._weights = folder / "best.weights.h5"
        self._record = folder / "best.json"
        self._history = folder / "history.json"
        self._epochs = epochs

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Adds `<split>_eer`, `<split>_mean_similar_distance`, ... to the epoch's logs."""
        logs = {} if logs is None else logs
        with averaged_weights(self.model):
            for split, windows in self._monitored.items():
                embedding = embed(self.model, windows.spectrogram)
                trials = all_trials(embedding, windows, self._window_seconds)
                logs[f"{split}_eer"] = equal_error_rate(trials)
                logs[f"{split}_mean_similar_distance"] = mean_distance(trials, SIMILAR)
                logs[f"{split}_mean_dissimilar_distance"] = mean_distance(trials, DISSIMILAR)
            self._keep_if_best(epoch, logs[f"{features.CALIBRATION}_eer"])
        self._remember(epoch, logs)
        progress.info(
            "epoch %d/%d: loss %.4f, calibration EER %.1f %%, eval EER %.1f %%, "
            "distance similar %.2f, dissimilar %.2f",
            epoch + 1,
            self._epochs,
            logs["loss"],
            100.0 * logs[f"{features.CALIBRATION}_eer"],
            100.0 * logs[f"{features.EVAL}_eer"],
            logs[f"{features.EVAL}_mean_similar_distance"],
            logs[f"{features.EVAL}_mean_dissimilar_distance"],
        )

    def _keep_if_best(self, epoch: int, error_rate: float) -> None:
        if self._record.exists() and json.loads(self._record.read_text())["eer"] < error_rate:
            return
        # Complete or absent: a run killed while it writes must find whole files.
        partial = self._weights.with_name("partial.weights.h5")
        self.model.save_weights(partial)
        partial.replace(self._weights)
        _write(self._record, {"epoch": epoch, "eer": error_rate})

    def _remember(self, epoch: int, logs: Mapping[str, Any]) -> None:
        """An epoch that a killed run had measured already is measured again."""
        told = {name: float(value) for name, value in logs.items()}
        known = {name: value if math.isfinite(value) else None for name, value in told.items()}
        row = {"epoch": epoch + 1, **known}
        _write(self._history, [*self.history()[:epoch], row])

    def history(self) -> list[dict[str, float | None]]:
        """The logs of each epoch, with its number from 1; None for what it does not have."""
        if not self._history.exists():
            return []
        rows: list[dict[str, float | None]] = json.loads(self._history.read_text())
        return rows

    def restore_best(self) -> int:
        """Loads the kept weights; gives their epoch, counted from 0."""
        self.model.load_weights(self._weights)
        epoch: int = json.loads(self._record.read_text())["epoch"]
        return epoch


def _write(path: Path, told: Any) -> None:
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(told))
    partial.replace(path)
