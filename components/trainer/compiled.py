"""The tower as it is trained: degraded batches, losses, optimiser and schedule."""

from typing import Any

import keras
import tensorflow as tf

from components.settings import SpectrogramSettings, TrainerSettings
from components.trainer import devices
from components.trainer.augmentation import BatchAugmentation
from components.trainer.losses import TeacherLoss, make_loss
from components.trainer.optimizer import FusedAdam, schedule


class TrainingModel(keras.Model):
    """A tower that gives its embedding to each loss and may degrade its batches.

    Its weights are the tower's.
    """

    def __init__(
        self, tower: keras.Model, losses: int, augmentation: BatchAugmentation | None, seed: int
    ) -> None:
        """Wraps a tower.

        Args:
            tower: maps uint8 windows to embeddings.
            losses: number of losses.
            augmentation: of the windows of each step; None for none.
            seed: of the augmentation, together with the step's number.
        """
        outputs = tower.outputs[0] if losses == 1 else tower.outputs * losses
        super().__init__(tower.inputs[0], outputs, name="training")
        self._augmentation = augmentation
        self._seed = seed

    def train_step(self, data: tuple[tf.Tensor, Any]) -> dict[str, Any]:
        """Keras' step on degraded windows."""
        windows, targets = data
        if self._augmentation is not None:
            windows = self._augmentation(windows, self._step_seed())
        logs: dict[str, Any] = super().train_step((windows, targets))
        return logs

    def _step_seed(self) -> tf.Tensor:
        """Seed of a step on one device; a resumed training draws as if it had not stopped."""
        replica = tf.distribute.get_replica_context()
        step = tf.cast(self.optimizer.iterations, tf.int64)
        at = step * replica.num_replicas_in_sync
        at += tf.cast(replica.replica_id_in_sync_group, tf.int64)
        return at + (self._seed << 32)


def compile_training(
    tower: keras.Model,
    settings: TrainerSettings,
    spectrogram: SpectrogramSettings,
    sample_rate: int,
    steps_per_epoch: int,
    pairs: int,
) -> TrainingModel:
    """Compiles a model whose `fit` trains the tower, in the current distribution strategy.

    Args:
        tower: see `components.model.tower`.
        settings: of its training.
        spectrogram: of the windows.
        sample_rate: of their speech, Hz.
        steps_per_epoch: the argument of `fit`.
        pairs: in a step, on all devices together.
    """
    losses: list[keras.losses.Loss] = [make_loss(settings)]
    weights = [1.0]
    if settings.teacher is not None:
        losses.append(TeacherLoss())
        weights.append(settings.teacher_weight)
    augmentation = settings.augmentation
    model = TrainingModel(
        tower,
        len(losses),
        BatchAugmentation(augmentation, spectrogram, sample_rate) if augmentation.is_on else None,
        settings.seed,
    )
    optimizer = FusedAdam(
        schedule(settings, steps_per_epoch * settings.epochs, pairs),
        dynamic_loss_scale=keras.config.dtype_policy().name == "mixed_float16",
    )
    model.compile(
        optimizer=optimizer,
        loss=losses,
        loss_weights=weights,
        steps_per_execution=devices.steps_at_once(steps_per_epoch),
        jit_compile=False,
        auto_scale_loss=False,  # FusedAdam scales it
    )
    # If the first step made its variables, the step's graph would be built twice.
    optimizer.build(model.trainable_variables)
    return model
