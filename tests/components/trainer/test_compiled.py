"""The training step: few operations, so that a card computes instead of starting kernels."""

import keras
import pytest
import tensorflow as tf

from components.settings import TrainerSettings
from components.trainer import devices
from components.trainer.compiled import compiled_tower
from components.trainer.data import TrainShape

# Keras' own layers and optimiser make 18,977.
MOST_OPERATIONS = 4_500
WINDOWS = TrainShape(64, 96, 96)


@pytest.mark.parametrize("precision", ["float32", "mixed_float16"])
def test_a_training_step_of_densenet121_has_few_operations(precision):
    with devices.precision(precision):
        tower = compiled_tower(TrainerSettings(), WINDOWS, steps_per_epoch=100, pairs=32)
        step = tf.function(lambda *batch: tower.train_step(batch))
        graph = step.get_concrete_function(
            tf.TensorSpec((64, WINDOWS.n_mels, WINDOWS.frames), tf.uint8),
            tf.TensorSpec((64,), tf.int64),
        ).graph
    kinds = [operation.type for operation in graph.get_operations()]
    assert sum(kind not in ("Const", "Placeholder") for kind in kinds) <= MOST_OPERATIONS
    # Each variable is updated by one, each layer normalised by one.
    assert kinds.count("ResourceApplyAdam") == len(tower.trainable_variables)
    normalising = [
        layer for layer in tower.get_layer("densenet").layers if layer.name.endswith("bn")
    ]
    assert kinds.count("FusedBatchNormV3") == len(normalising) == 121


def test_the_learning_rate_goes_by_the_root_of_the_pairs():
    settings = TrainerSettings(blocks=(1, 1, 1, 1), warmup_steps=0, learning_rate=0.01)
    rates = [
        float(compiled_tower(settings, WINDOWS, 10, pairs).optimizer.learning_rate)
        for pairs in (settings.pairs_per_batch, 4 * settings.pairs_per_batch)
    ]
    assert rates == pytest.approx([0.01, 0.02])
    assert keras.config.dtype_policy().name == "float32"
