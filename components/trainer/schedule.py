"""The learning rate over the steps."""

import math
from typing import Any

import keras
import tensorflow as tf

from components.settings import TrainerSettings


@keras.saving.register_keras_serializable(package="swar")
class WarmupPolynomialDecay(keras.optimizers.schedules.LearningRateSchedule):
    """Rises linearly from 0 over the warm-up, then Keras' PolynomialDecay to the end."""

    def __init__(
        self, peak: float, end: float, warmup_steps: int, total_steps: int, power: float
    ) -> None:
        self.peak = peak
        self.end = end
        self.warmup_steps = warmup_steps
        self.total_steps = total_steps
        self.power = power
        self._decay = keras.optimizers.schedules.PolynomialDecay(
            peak, max(1, total_steps - warmup_steps), end_learning_rate=end, power=power
        )

    def __call__(self, step: tf.Tensor) -> tf.Tensor:
        """The rate at an optimiser step, counted from 0."""
        step = tf.cast(step, tf.float32)
        rising = self.peak * (step + 1.0) / max(1, self.warmup_steps)
        return tf.where(
            step < self.warmup_steps, rising, self._decay(step - float(self.warmup_steps))
        )

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {
            "peak": self.peak,
            "end": self.end,
            "warmup_steps": self.warmup_steps,
            "total_steps": self.total_steps,
            "power": self.power,
        }


def schedule(settings: TrainerSettings, total_steps: int, pairs: int) -> WarmupPolynomialDecay:
    """The schedule that the settings describe, for steps of so many pairs.

    Source of the square root: Malladi et al., "On the SDEs and Scaling Rules for Adaptive Gradient
    Algorithms", NeurIPS 2022.
    """
    growth = math.sqrt(pairs / settings.pairs_per_batch)
    return WarmupPolynomialDecay(
        peak=settings.learning_rate * growth,
        end=settings.end_learning_rate * growth,
        warmup_steps=settings.warmup_steps,
        total_steps=total_steps,
        power=settings.decay_power,
    )
