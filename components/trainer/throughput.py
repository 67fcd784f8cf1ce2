"""How fast an epoch was, and what limited its speed."""

import logging
import os
import time
from typing import Any, Final, NamedTuple

import keras
import tensorflow as tf

CARD_LOOK_SECONDS: Final = 0.5
progress = logging.getLogger("swar.progress")


class InputClock:
    """How long the iteration over a dataset waits for its elements."""

    def __init__(self) -> None:
        with tf.device("CPU"):
            self._waited = tf.Variable(0.0, trainable=False, dtype=tf.float64)

    def watch(self, dataset: tf.data.Dataset) -> tf.data.Dataset:
        """The same elements, timed; the consumer must fetch them one by one."""
        now = tf.data.Dataset.counter().map(lambda _: tf.timestamp())

        def count(before: tf.Tensor, element: tuple[tf.Tensor, ...], after: tf.Tensor) -> Any:
            self._waited.assign_add(after - before)
            return element

        options = tf.data.Options()
        # It would fetch elements before the training needs them.
        options.experimental_optimization.inject_prefetch = False
        watched = tf.data.Dataset.zip(now, dataset, now).map(count)
        return watched.with_options(options)

    def seconds(self) -> float:
        """Total waiting time so far."""
        return float(self._waited.numpy())


class CardUse:
    """Share of time in which NVIDIA's cards computed: `utilization.gpu` of nvidia-smi."""

    def __init__(self) -> None:
        import pynvml  # needs an NVIDIA driver

        pynvml.nvmlInit()
        self._rates = pynvml.nvmlDeviceGetUtilizationRates
        self._cards = [
            pynvml.nvmlDeviceGetHandleByIndex(index) for index in range(pynvml.nvmlDeviceGetCount())
        ]
        self._seen: list[float] = []
        self._looked = 0.0

    def look(self) -> None:
        """Reads the cards, at most every CARD_LOOK_SECONDS."""
        now = time.monotonic()
        if now < self._looked + CARD_LOOK_SECONDS:
            return
        self._looked = now
        rates = [self._rates(card).gpu for card in self._cards]
        self._seen.append(sum(rates) / (100.0 * len(rates)))

    def mean(self) -> float | None:
        """Mean use in [0, 1] since the last call; None where `look` was not called."""
        seen, self._seen = self._seen, []
        return sum(seen) / len(seen) if seen else None


class Speed(NamedTuple):
    """Speed of an epoch's steps."""

    windows_per_second: float
    waiting: float
    """Share of the time spent on waiting for input, in [0, 1]."""


class Throughput(keras.callbacks.Callback):
    """Logs after each epoch: windows in a second, waiting for input, use of processors or cards.

    The first call of a training builds its graph and has its own line. The time of monitoring and
    saving is not counted if this callback comes before theirs.

    Args:
        windows: in a step.
        clock: watches the training's dataset.
        epochs: of the training.

    Attributes:
        first_call_seconds: duration of building the graph and of its first step or steps.
        speeds: of each epoch, except one whose only call built the graph.
    """

    def __init__(self, windows: int, clock: InputClock, epochs: int) -> None:
        super().__init__()
        self._windows = windows
        self._clock = clock
        self._epochs = epochs
        self._cards = CardUse() if tf.config.list_physical_devices("GPU") else None
        self.first_call_seconds: float | None = None
        self.speeds: list[Speed] = []
        self._start(0)

    def _start(self, steps: int) -> None:
        """Starts counting after `steps` steps of the epoch."""
        self._steps_before = steps
        self._started = time.monotonic()
        self._processors_before = time.process_time()
        self._waited_before = self._clock.seconds()

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Starts the clocks."""
        self._start(0)

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Excludes the call that builds the graph; reads the cards."""
        self._steps = batch + 1
        if self.first_call_seconds is None:
            _finish(logs)
            self.first_call_seconds = time.monotonic() - self._started
            steps = "step" if self._steps == 1 else f"{self._steps} steps"
            progress.info("the graph and its first %s: %.1f s", steps, self.first_call_seconds)
            self._start(self._steps)
        if self._cards:
            self._cards.look()

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Logs the epoch's speed, unless its only call built the graph."""
        _finish(logs)
        seconds = time.monotonic() - self._started
        steps = self._steps - self._steps_before
        if not steps:
            return
        waited = self._clock.seconds() - self._waited_before
        speed = Speed(steps * self._windows / seconds, waited / seconds)
        self.speeds.append(speed)
        progress.info(
            "epoch %d/%d: %.1f windows/s, waiting for input %.1f %%, %s",
            epoch + 1,
            self._epochs,
            speed.windows_per_second,
            100.0 * speed.waiting,
            self._use(seconds),
        )

    def _use(self, seconds: float) -> str:
        if self._cards:
            busy = self._cards.mean()
            return "card use unknown" if busy is None else f"card busy {busy:.0%}"
        cores = (time.process_time() - self._processors_before) / seconds
        return f"{cores:.1f} of {len(os.sched_getaffinity(0))} cores busy"


def _finish(logs: dict[str, Any] | None) -> None:
    """Waits for the device, which still computes after the call that started it."""
    for value in (logs or {}).values():
        float(value)
