"""The tower as it is trained: with its loss, its optimiser and its steps for each call."""

import keras

from components.settings import TrainerSettings
from components.trainer import devices
from components.trainer.data import TrainShape
from components.trainer.losses import make_loss
from components.trainer.optimizer import FusedAdam
from components.trainer.schedule import schedule
from components.trainer.tower import build_tower


def compiled_tower(
    settings: TrainerSettings, shape: TrainShape, steps_per_epoch: int, pairs: int
) -> keras.Model:
    """A tower to `fit`, in the precision and the distribution strategy that hold where it is made.

    Args:
        settings: of all of it.
        shape: of the windows.
        steps_per_epoch: the argument of `fit`.
        pairs: in a step, on all devices together.
    """
    momentum = settings.weight_averaging
    optimizer = FusedAdam(
        schedule(settings, steps_per_epoch * settings.epochs, pairs),
        dynamic_loss_scale=keras.config.dtype_policy().name == "mixed_float16",
        use_ema=momentum > 0.0,
        ema_momentum=momentum,
        ema_overwrite_frequency=None,
    )
    tower = build_tower(settings, shape.n_mels, shape.only_frames)
    tower.compile(
        optimizer=optimizer,
        loss=make_loss(settings),
        steps_per_execution=devices.steps_at_once(steps_per_epoch),
        jit_compile=False,
        auto_scale_loss=False,  # FusedAdam scales it
    )
    # Its variables, if made in the first step, have the step's graph built twice.
    optimizer.build(tower.trainable_variables)
    return tower
