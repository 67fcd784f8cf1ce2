"""The training step: few operations, so that a card computes instead of starting kernels."""

import keras
import pytest
import tensorflow as tf

from components.model.tower import build_tower
from components.settings import AugmentationSettings, SpectrogramSettings, TrainerSettings
from components.trainer import devices
from components.trainer.compiled import TrainingModel, compile_training
from components.trainer.data import TrainShape

# Keras' own layers and optimiser make 18,977.
MOST_OPERATIONS = 4_500
MOST_OPERATIONS_OF_AUGMENTATION = 400
WINDOWS = TrainShape(64, 96, 96)
PLAIN = TrainerSettings(augmentation=AugmentationSettings())


def training_of(settings: TrainerSettings, pairs: int) -> TrainingModel:
    tower = build_tower(settings, WINDOWS.n_mels, WINDOWS.frames)
    return compile_training(tower, settings, SpectrogramSettings(), 16_000, 100, pairs)


def operations_of_step(model):
    step = tf.function(lambda *batch: model.train_step(batch))
    graph = step.get_concrete_function(
        tf.TensorSpec((64, WINDOWS.n_mels, WINDOWS.frames), tf.uint8),
        tf.TensorSpec((64,), tf.int64),
    ).graph
    kinds = [operation.type for operation in graph.get_operations()]
    return [kind for kind in kinds if kind not in ("Const", "Placeholder")]


@pytest.mark.parametrize("precision", ["float32", "mixed_float16"])
def test_a_training_step_of_densenet121_has_few_operations(precision):
    with devices.precision(precision):
        tower = training_of(PLAIN, pairs=32)
        kinds = operations_of_step(tower)
    assert len(kinds) <= MOST_OPERATIONS
    # Each variable is updated by one, each layer normalised by one.
    assert kinds.count("ResourceApplyAdam") == len(tower.trainable_variables)
    normalising = [
        layer for layer in tower.get_layer("densenet").layers if layer.name.endswith("bn")
    ]
    assert kinds.count("FusedBatchNormV3") == len(normalising) == 121


def test_drawing_a_batch_anew_takes_few_operations():
    small = {"blocks": (1, 1, 1, 1)}
    plain, augmented = (
        len(operations_of_step(training_of(settings.model_copy(update=small), pairs=32)))
        for settings in (PLAIN, TrainerSettings())
    )
    assert 0 < augmented - plain <= MOST_OPERATIONS_OF_AUGMENTATION


def test_the_learning_rate_goes_by_the_root_of_the_pairs():
    settings = TrainerSettings(blocks=(1, 1, 1, 1), warmup_steps=0, learning_rate=0.01)
    rates = [
        float(training_of(settings, pairs).optimizer.learning_rate)
        for pairs in (settings.pairs_per_batch, 4 * settings.pairs_per_batch)
    ]
    assert rates == pytest.approx([0.01, 0.02])
    assert keras.config.dtype_policy().name == "float32"
