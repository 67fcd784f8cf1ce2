"""Trains on a processor in two parts, which only a process of its own can have; prints JSON."""

import functools
import json
import sys
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from components.model.tower import build_tower
from components.settings import TrainerSettings
from components.trainer import devices, losses
from components.trainer.optimizer import FusedAdam
from components.trainer.run_fn import run_fn
from tests.components.trainer.test_run_fn import SMALL, arguments
from tests.support_pairs import FRAMES, MELS

RATE = 0.1
UPDATES = 5


def main(folder: Path) -> None:
    processor = tf.config.list_physical_devices("CPU")[0]
    parts = [tf.config.LogicalDeviceConfiguration()] * 2
    tf.config.set_logical_device_configuration(processor, parts)
    settings = SMALL.model_copy(update={"steps_per_epoch": None, "epochs": 1})
    # Collective operations of two strategies in one process are taken for each other's.
    devices.strategy = functools.cache(devices.strategy)
    results = one_step(settings) | fused_updates()
    steps = []
    keras.callbacks.TensorBoard.on_train_batch_end = lambda self, batch, logs=None: steps.append(
        batch
    )
    run_fn(arguments(folder, settings))
    print(json.dumps(results | {"steps": len(steps)}))


def one_step(settings: TrainerSettings) -> dict[str, float]:
    """A step of both devices beside each half of its batch on one device."""
    rng = np.random.default_rng(0)
    windows = 2 * settings.pairs_per_batch
    spectrogram = rng.integers(0, 256, (2 * windows, MELS, FRAMES), dtype=np.uint8)
    speaker = np.repeat(np.arange(windows), 2)
    with devices.strategy().scope():
        both = compiled(settings)
    one = compiled(settings)
    start = both.get_weights()
    shared_loss = step(both, spectrogram, speaker)
    shared = both.get_weights()
    halves, half_losses = [], []
    for half in (slice(0, windows), slice(windows, None)):
        one.set_weights(start)
        half_losses.append(step(one, spectrogram[half], speaker[half]))
        halves.append(one.get_weights())
    learnt = [weight.trainable for weight in both.weights]
    moved = [np.abs(after - before).max() for before, after in zip(start, shared, strict=True)]
    # Statistics of batches are those of the first device, as Keras keeps and saves them.
    apart = [
        np.abs(together - (np.mean(each, axis=0) if is_learnt else each[0])).max()
        for is_learnt, together, *each in zip(learnt, shared, *halves, strict=True)
    ]
    return {
        "devices": len(tf.config.list_logical_devices("CPU")),
        "replicas": devices.strategy().num_replicas_in_sync,
        "loss": shared_loss,
        "mean_of_halves": float(np.mean(half_losses)),
        "moved": float(max(moved)),
        "apart": float(max(apart)),
    }


def fused_updates() -> dict[str, float]:
    """The fused update of shared gradients, one of which overflows on the second device alone."""
    strategy = devices.strategy()
    with strategy.scope():
        shared = updated()
    alone = updated()
    factor = float(alone[0].scale_loss(tf.constant(1.0)))

    @tf.function
    def on_both(grad: tf.Tensor, overflows: tf.Tensor) -> None:
        def on_each() -> None:
            part = tf.distribute.get_replica_context().replica_id_in_sync_group
            is_infinite = overflows & (part == 1)
            shared[0].apply([tf.where(is_infinite, np.inf, grad * (tf.cast(part, tf.float32) + 1))])

        strategy.run(on_each)

    for number in range(UPDATES):
        grad = tf.constant(np.random.default_rng(number).normal(size=3) * factor, tf.float32)
        overflows = number == UPDATES - 1
        on_both(grad, tf.constant(overflows))
        alone[0].apply([grad * (np.inf if overflows else 1.0 + 2.0)])
    copies = [
        [part.numpy() for part in strategy.experimental_local_results(variable.value)]
        for variable in (shared[1], *shared[0].variables)
    ]
    single = [variable.numpy() for variable in (alone[1], *alone[0].variables)]
    return {
        "fused_apart": max(
            float(np.abs(copy - value).max() / (1e-6 + np.abs(value).max()))
            for both, value in zip(copies, single, strict=True)
            for copy in both
        ),
        "copies": min(len(both) for both in copies),
        "steps_left_out": UPDATES - int(single[1]),
    }


def updated() -> tuple[FusedAdam, keras.Variable]:
    variable = keras.Variable(np.ones(3, np.float32))
    optimizer = FusedAdam(RATE, dynamic_loss_scale=True)
    optimizer.build([variable])
    return optimizer, variable


def step(tower: keras.Model, *batch: np.ndarray) -> float:
    """The loss of one batch, as `fit` trains: `train_on_batch` gives all of it to each device."""
    one = tf.data.Dataset.from_tensors(batch)
    return float(tower.fit(one, epochs=1, shuffle=False, verbose=0).history["loss"][0])


def compiled(settings: TrainerSettings) -> keras.Model:
    keras.utils.set_random_seed(0)
    tower = build_tower(settings, MELS, FRAMES)
    # By plain gradients, so that the mean of steps is the step of the mean.
    tower.compile(keras.optimizers.SGD(RATE), losses.make_loss(settings), jit_compile=False)
    return tower


if __name__ == "__main__":
    main(Path(sys.argv[1]))
