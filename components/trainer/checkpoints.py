"""The state of an unfinished training on disk, from which a killed run resumes."""

import json
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final, Self

import keras
import numpy as np

from components.atomic_write import new_file
from components.trainer.monitor import BestEpoch, TrialMonitor

FILE: Final = "training.npz"
_NUMBERS: Final = "numbers"
_TOWER, _OPTIMIZER, _BEST = "tower", "optimizer", "best"
_Arrays = list[np.ndarray]


class Checkpoints(keras.callbacks.Callback):
    """Saves a training's whole state in one file after each epoch, while the next one runs.

    It is a context manager: on exit, the last file is complete.
    """

    def __init__(self, folder: Path, model: keras.Model, monitor: TrialMonitor) -> None:
        """Sets what is saved, and where.

        Args:
            folder: an existing one.
            model: compiled, its optimiser built.
            monitor: must come before this callback.
        """
        super().__init__()
        self._file = folder / FILE
        self._training = model
        self._monitor = monitor
        # Keras' own BackupAndRestore makes the device wait until a file is written.
        self._writer = ThreadPoolExecutor(max_workers=1)
        self._written: Future[None] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._writer.shutdown()
        if kind is None and self._written:
            self._written.result()

    def restore(self) -> int:
        """Restores the state, if there is a file; returns the number of epochs done."""
        if not self._file.exists():
            return 0
        with np.load(self._file) as stored:
            numbers = json.loads(str(stored[_NUMBERS]))
            self._training.set_weights(_part(stored, _TOWER))
            self._training.optimizer.set_weights(_part(stored, _OPTIMIZER))
            best = _part(stored, _BEST)
        self._monitor.best = BestEpoch(numbers["best_epoch"], numbers["best_eer"], best)
        self._monitor.history = numbers["history"]
        return len(self._monitor.history)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Starts to write a copy; raises the error of the last writing."""
        if self._written:
            self._written.result()
        best = self._monitor.best
        if best is None:
            raise ValueError("the monitor must come before the checkpoints")
        numbers = {
            "best_epoch": best.epoch,
            "best_eer": best.eer,
            "history": list(self._monitor.history),
        }
        arrays = {
            _TOWER: self._training.get_weights(),
            _OPTIMIZER: [variable.numpy() for variable in self._training.optimizer.variables],
            _BEST: best.weights,
        }
        self._written = self._writer.submit(_write, self._file, numbers, arrays)


def _part(stored: Any, part: str) -> _Arrays:
    count = sum(name.startswith(f"{part}/") for name in stored.files)
    return [stored[f"{part}/{index}"] for index in range(count)]


def _write(path: Path, numbers: dict[str, Any], arrays: dict[str, _Arrays]) -> None:
    named = {
        f"{part}/{index}": array
        for part, parts in arrays.items()
        for index, array in enumerate(parts)
    }
    named[_NUMBERS] = np.array(json.dumps(numbers))
    # A run that was killed while writing must find a complete file.
    with new_file(path) as file:
        np.savez(file, allow_pickle=False, **named)
