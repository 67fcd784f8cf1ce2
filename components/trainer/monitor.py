"""What is measured after every epoch, and which epoch is kept."""

import json
import logging
from collections.abc import Mapping
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


class TrialMonitor(keras.callbacks.Callback):
    """Logs EER and mean distances of held-out windows; keeps the best epoch's weights.

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
        self._epochs = epochs

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Adds `<split>_eer`, `<split>_mean_similar_distance`, ... to the epoch's logs."""
        logs = {} if logs is None else logs
        for split, windows in self._monitored.items():
            embedding = embed(self.model, windows.spectrogram)
            trials = all_trials(embedding, windows, self._window_seconds)
            logs[f"{split}_eer"] = equal_error_rate(trials)
            logs[f"{split}_mean_similar_distance"] = mean_distance(trials, SIMILAR)
            logs[f"{split}_mean_dissimilar_distance"] = mean_distance(trials, DISSIMILAR)
        self._keep_if_best(epoch, logs[f"{features.CALIBRATION}_eer"])
        progress.info(
            "epoch %d/%d: loss %.4f, eval EER %.1f %%, distance similar %.2f, dissimilar %.2f",
            epoch + 1,
            self._epochs,
            logs["loss"],
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
        record = self._record.with_suffix(".partial")
        record.write_text(json.dumps({"epoch": epoch, "eer": error_rate}))
        record.replace(self._record)

    def restore_best(self) -> int:
        """Loads the kept weights; gives their epoch, counted from 0."""
        self.model.load_weights(self._weights)
        epoch: int = json.loads(self._record.read_text())["epoch"]
        return epoch
