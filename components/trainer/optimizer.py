"""The optimiser, Adam in few operations, and its learning rate over the steps.

The cost of a step must be that of the network, not of the update of its weights.
"""

import math
from collections.abc import Sequence
from typing import Any, Final

import keras
import tensorflow as tf

from components.settings import TrainerSettings

# As keras.optimizers.LossScaleOptimizer has them.
INITIAL_LOSS_SCALE: Final = 2.0**15
LOSS_SCALE_GROWTH_STEPS: Final = 2_000


class FusedAdam(keras.optimizers.Adam):
    """Keras' Adam with one operation for each variable, and with dynamic loss scaling.

    With `dynamic_loss_scale` it does what keras.optimizers.LossScaleOptimizer does: the loss is
    multiplied by a scale so that float16 gradients do not vanish; a step whose gradients are not
    finite is skipped and halves the scale; many finite steps in a row double it. A step is skipped
    by rates that change nothing, so that the host never waits for the device.

    Sources: Kingma and Ba, "Adam: A Method for Stochastic Optimization", ICLR 2015; Micikevicius
    et al., "Mixed Precision Training", ICLR 2018.
    """

    def __init__(
        self,
        learning_rate: float | keras.optimizers.schedules.LearningRateSchedule,
        *,
        dynamic_loss_scale: bool = False,
        **kwargs: Any,
    ) -> None:
        """Makes the optimiser.

        Args:
            learning_rate: a number, or a schedule.
            dynamic_loss_scale: for float16; compile the model with `auto_scale_loss=False` then.
            **kwargs: those of keras.optimizers.Adam except `amsgrad`.

        Raises:
            ValueError: `amsgrad` is set.
        """
        super().__init__(learning_rate, **kwargs)
        if self.amsgrad:
            raise ValueError("FusedAdam has no amsgrad: use keras.optimizers.Adam")
        self.dynamic_loss_scale = dynamic_loss_scale
        # Of the current step, for all variables: learning rate, and the decay rates of both
        # moments with their powers.
        self._rates: tuple[tf.Tensor, ...] = ()

    def build(self, variables: Sequence[keras.Variable]) -> None:
        """Adds the state of the loss scaling to that of Adam."""
        if self.built:
            return
        super().build(variables)
        if self.dynamic_loss_scale:
            self.dynamic_scale = self._scalar("dynamic_scale", INITIAL_LOSS_SCALE)
            self.finite_steps = self._scalar("finite_steps", 0.0)

    def _scalar(self, name: str, value: float) -> keras.Variable:
        initializer = keras.initializers.Constant(value)
        # Every replica computes the same value.
        return self.add_variable((), initializer, "float32", aggregation="none", name=name)

    def scale_loss(self, loss: tf.Tensor) -> tf.Tensor:
        """The loss whose gradients `apply` takes."""
        return loss * self.dynamic_scale if self.dynamic_loss_scale else loss

    def apply(
        self,
        grads: Sequence[tf.Tensor],
        trainable_variables: Sequence[keras.Variable] | None = None,
    ) -> None:
        """Updates the variables by the gradients of the scaled loss."""
        if not self.dynamic_loss_scale:
            self._rates = self._rates_of_step(1.0)
            super().apply(grads, trainable_variables)
            return
        grads, finite = self._unscaled(list(grads))
        self._rates = self._rates_of_step(finite)
        super().apply(grads, trainable_variables)
        # A skipped step counts neither for the schedule nor for Adam's powers.
        self.iterations.assign_sub(tf.cast(1.0 - finite, self.iterations.dtype))
        self._adapt_scale(finite)

    def _unscaled(self, grads: list[tf.Tensor]) -> tuple[list[tf.Tensor], tf.Tensor]:
        """The unscaled gradients and 1.0 if they are finite on all devices, else zeros and 0.0.

        They are joined in one vector, so that checking all of them is one operation.
        """
        sizes = [grad.shape.num_elements() for grad in grads]
        together = tf.concat([tf.reshape(grad, [-1]) for grad in grads], axis=0)
        here = tf.cast(tf.reduce_all(tf.math.is_finite(together)), tf.float32)
        replica = tf.distribute.get_replica_context()
        everywhere = replica.all_reduce(tf.distribute.ReduceOp.MEAN, here)
        finite = everywhere >= 1.0
        unscaled = tf.where(finite, together / self.dynamic_scale, 0.0)
        parts = tf.split(unscaled, sizes)
        shaped = [tf.reshape(part, grad.shape) for part, grad in zip(parts, grads, strict=True)]
        return shaped, tf.cast(finite, tf.float32)

    def _rates_of_step(self, finite: float | tf.Tensor) -> tuple[tf.Tensor, ...]:
        """Rates of a step; where `finite` is 0.0, they change neither weights nor moments."""
        step = tf.cast(self.iterations + 1, tf.float32)
        decays = [1.0 - (1.0 - beta) * finite for beta in (self.beta_1, self.beta_2)]
        powers = [tf.pow(beta, step) for beta in (self.beta_1, self.beta_2)]
        return (tf.cast(self.learning_rate, tf.float32) * finite, *decays, *powers)

    def update_step(
        self, gradient: tf.Tensor, variable: tf.Variable, learning_rate: tf.Tensor
    ) -> None:
        """One variable's share of `apply`."""
        index = self._get_variable_index(variable)
        rate, decay_1, decay_2, power_1, power_2 = self._rates
        tf.raw_ops.ResourceApplyAdam(
            var=variable.handle,
            m=self._momentums[index].value.handle,
            v=self._velocities[index].value.handle,
            beta1_power=power_1,
            beta2_power=power_2,
            lr=rate,
            beta1=decay_1,
            beta2=decay_2,
            epsilon=self.epsilon,
            grad=gradient,
        )

    def _adapt_scale(self, finite: tf.Tensor) -> None:
        steps = (self.finite_steps + 1.0) * finite
        grown = tf.cast(steps >= LOSS_SCALE_GROWTH_STEPS, tf.float32)
        self.finite_steps.assign(steps * (1.0 - grown))
        self.dynamic_scale.assign(self.dynamic_scale * (1.0 + grown) * (0.5 + 0.5 * finite))


class WarmupPolynomialDecay(keras.optimizers.schedules.LearningRateSchedule):
    """Rises linearly from 0 over the warm-up, then follows Keras' PolynomialDecay."""

    def __init__(
        self, peak: float, end: float, warmup_steps: int, total_steps: int, power: float
    ) -> None:
        self.peak = peak
        self.warmup_steps = warmup_steps
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


def schedule(settings: TrainerSettings, total_steps: int, pairs: int) -> WarmupPolynomialDecay:
    """The schedule that the settings describe, scaled by the square root of the pairs in a step.

    Source: Malladi et al., "On the SDEs and Scaling Rules for Adaptive Gradient
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
