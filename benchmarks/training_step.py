"""DenseNet121's training step beside one with Keras' own layers and optimiser, on a processor.

`python -m benchmarks.training_step [ROUNDS] [PAIRS]`: runs both in turns, each in its own process;
prints medians, and ratios by round. Keras' step is built as trainings were before layers and update
were fused: batch normalisation of keras.applications, keras.optimizers.Adam, no Grappler.
"""

import collections
import json
import os
import statistics
import subprocess
import sys
import time
from typing import Any, Final
from unittest import mock

import keras
import numpy as np
import tensorflow as tf

from components.model import tower as tower_module
from components.settings import DENSENET121_BLOCKS, TrainerSettings
from components.trainer.losses import make_loss
from components.trainer.optimizer import FusedAdam

FUSED, KERAS = "fused", "keras"
ROUNDS, PAIRS, WARM_UP_STEPS, STEPS = 3, 32, 3, 15
MELS, FRAMES = 64, 96
# Operations that only provide arguments and constants.
NO_OPERATIONS: Final = ("Const", "Placeholder")


def keras_densenet(
    blocks: tuple[int, ...], shape: tuple[int, int, int], momentum: float
) -> keras.Model:
    """Like `densenet`, with Keras' layers."""
    assert tuple(blocks) == DENSENET121_BLOCKS
    network = keras.applications.DenseNet121(include_top=False, weights=None, input_shape=shape)
    for layer in network.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = momentum
    return network


def compiled(kind: str) -> keras.Model:
    """The tower and its optimiser."""
    settings = TrainerSettings()
    keras.utils.set_random_seed(0)
    if kind == FUSED:
        tower = tower_module.build_tower(settings, MELS, FRAMES)
        optimizer: keras.optimizers.Optimizer = FusedAdam(settings.learning_rate)
    else:
        tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})
        with mock.patch.object(tower_module, "densenet", keras_densenet):
            tower = tower_module.build_tower(settings, MELS, FRAMES)
        optimizer = keras.optimizers.Adam(settings.learning_rate)
    tower.compile(optimizer, make_loss(settings), jit_compile=False)
    tower.optimizer.build(tower.trainable_variables)
    return tower


def operations(tower: keras.Model, windows: int) -> int:
    """How many operations the graph of a training step has."""
    step = tf.function(lambda spectrogram, speaker: tower.train_step((spectrogram, speaker)))
    graph = step.get_concrete_function(
        tf.TensorSpec((windows, MELS, FRAMES), tf.uint8), tf.TensorSpec((windows,), tf.int64)
    ).graph
    count = collections.Counter(operation.type for operation in graph.get_operations())
    return sum(number for kind, number in count.items() if kind not in NO_OPERATIONS)


def measure(kind: str, pairs: int) -> dict[str, float]:
    """Seconds of the first step and of the later ones."""
    tower = compiled(kind)
    rng = np.random.default_rng(0)
    spectrogram = rng.integers(0, 256, (2 * pairs, MELS, FRAMES), dtype=np.uint8)
    batches = iter(
        tf.data.Dataset.from_tensors((spectrogram, np.repeat(np.arange(pairs), 2))).repeat()
    )
    tower.make_train_function()
    taken = []
    for _ in range(1 + WARM_UP_STEPS + STEPS):
        started = time.perf_counter()
        tower.train_function(batches)
        taken.append(time.perf_counter() - started)
    return {
        "operations": operations(tower, 2 * pairs),
        "first_seconds": taken[0],
        "step_seconds": statistics.median(taken[1 + WARM_UP_STEPS :]),
    }


def main(rounds: int, pairs: int) -> None:
    """Measures both in turns and prints."""
    found: dict[str, list[dict[str, Any]]] = {FUSED: [], KERAS: []}
    for _ in range(rounds):
        for kind, results in found.items():
            done = subprocess.run(
                [sys.executable, "-m", "benchmarks.training_step", kind, str(pairs)],
                check=True,
                stdout=subprocess.PIPE,
                text=True,
                env=os.environ | {"TF_CPP_MIN_LOG_LEVEL": "2"},
            )
            results.append(json.loads(done.stdout.splitlines()[-1]))
    for kind, results in found.items():
        first, step = (
            statistics.median(one[name] for one in results)
            for name in ("first_seconds", "step_seconds")
        )
        print(
            f"{kind}: {results[0]['operations']} operations, first step {first:.1f} s, "
            f"then {1000 * step:.0f} ms: {2 * pairs / step:.0f} windows/s"
        )
    for name in ("first_seconds", "step_seconds"):
        ratios = [
            fused[name] / plain[name]
            for fused, plain in zip(found[FUSED], found[KERAS], strict=True)
        ]
        print(f"{name}, fused/keras by round: {' '.join(f'{ratio:.2f}' for ratio in ratios)}")


if __name__ == "__main__":
    if sys.argv[1:2] in ([FUSED], [KERAS]):
        print(json.dumps(measure(sys.argv[1], int(sys.argv[2]))))
    else:
        main(*(int(one) for one in sys.argv[1:3]), *(ROUNDS, PAIRS)[len(sys.argv) - 1 :])
