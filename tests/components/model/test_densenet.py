"""DenseNet beside keras.applications' and its normalisation beside Keras'."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from components.model.densenet import EPSILON, BatchNormalization, densenet
from components.model.tower import build_tower
from components.settings import DENSENET121_BLOCKS, SpectrogramSettings, TrainerSettings
from components.trainer.starting_weights import start

MOMENTUM = 0.9
CHANNELS = 5


def pair_of_layers(policy="float32"):
    """Ours and Keras', alike, after some training."""
    rng = np.random.default_rng(0)
    values = [
        rng.uniform(0.5, 2.0, CHANNELS),
        rng.normal(size=CHANNELS),
        rng.normal(size=CHANNELS),
        rng.uniform(0.1, 3.0, CHANNELS),
    ]
    layers = []
    for kind in (BatchNormalization, keras.layers.BatchNormalization):
        layer = kind(momentum=MOMENTUM, epsilon=EPSILON, dtype=policy)
        layer.build((None, None, None, CHANNELS))
        layer.set_weights(values)
        layers.append(layer)
    return layers


def outcome(layer, inputs, training, signature=None):
    """Outputs, gradients of inputs, scale and offset, and the moving statistics afterwards."""

    def forward_and_back(inputs):
        weight = tf.cast(tf.reshape(tf.range(tf.size(inputs)), tf.shape(inputs)) % 7, tf.float32)
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            outputs = layer(inputs, training=training)
            loss = tf.reduce_mean(tf.cast(outputs, tf.float32) ** 2 * weight)
        return outputs, *tape.gradient(loss, [inputs, layer.gamma.value, layer.beta.value])

    found = tf.function(forward_and_back, input_signature=signature)(tf.constant(inputs))
    return [
        *(one.numpy() for one in found),
        layer.moving_mean.numpy(),
        layer.moving_variance.numpy(),
    ]


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("shape", [(4, 3, 6, CHANNELS), (1, 1, 2, CHANNELS)])
@pytest.mark.parametrize("is_shape_known", [True, False])
def test_one_operation_normalises_as_keras_layer_does(training, shape, is_shape_known):
    inputs = np.random.default_rng(1).normal(3.0, 2.0, shape).astype(np.float32)
    unknown = [tf.TensorSpec((None, None, None, CHANNELS), tf.float32)]
    signature = None if is_shape_known else unknown
    found = [outcome(layer, inputs, training, signature) for layer in pair_of_layers()]
    for ours, theirs in zip(*found, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-5)


def test_float16_comes_out_of_float16_and_statistics_stay_float32():
    inputs = np.random.default_rng(1).normal(3.0, 2.0, (8, 4, 6, CHANNELS)).astype(np.float16)
    layers = pair_of_layers("mixed_float16")
    found = [outcome(layer, inputs, training=True) for layer in layers]
    assert [one.dtype for one in found[0]] == [np.float16, np.float16, *[np.float32] * 4]
    for ours, theirs in zip(*found, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=2e-3, atol=2e-3)
    (graph,) = [tf.function(layer).get_concrete_function(inputs).graph for layer in layers[:1]]
    assert "Cast" not in {operation.type for operation in graph.get_operations()}


def test_a_frozen_layer_uses_what_it_has_learnt():
    inputs = np.random.default_rng(1).normal(size=(4, 2, 2, CHANNELS)).astype(np.float32)
    layer, theirs = pair_of_layers()
    layer.trainable = theirs.trainable = False
    before = layer.moving_mean.numpy()
    np.testing.assert_allclose(
        layer(inputs, training=True), theirs(inputs, training=True), 1e-5, 1e-5
    )
    np.testing.assert_array_equal(layer.moving_mean.numpy(), before)


def shaken(model):
    """With weights that no initialiser makes, so that every one of them tells."""
    rng = np.random.default_rng(2)
    weights = model.get_weights()
    model.set_weights([one + rng.uniform(0.0, 0.02, one.shape).astype("f4") for one in weights])
    return model


def names_and_shapes(model):
    return [
        (layer.name, [(weight.name, weight.shape) for weight in layer.weights])
        for layer in model.layers
        if layer.weights
    ]


def test_imagenet_weights_of_keras_applications_make_the_same_network(tmp_path, monkeypatch):
    published = shaken(
        keras.applications.DenseNet121(include_top=False, weights=None, input_shape=(64, 96, 3))
    )
    own = densenet(DENSENET121_BLOCKS, (64, 96, 3), MOMENTUM)
    assert names_and_shapes(own) == names_and_shapes(published)
    published.save_weights(tmp_path / "published.weights.h5")
    own.load_weights(tmp_path / "published.weights.h5")
    images = np.random.default_rng(3).normal(size=(2, 64, 96, 3)).astype(np.float32)
    expected = published(images).numpy()
    np.testing.assert_allclose(own(images), expected, rtol=1e-4, atol=1e-4 * expected.max())
    asked = []

    def download(**how):
        asked.append(how)
        return published

    monkeypatch.setattr(keras.applications, "DenseNet121", download)
    settings = TrainerSettings(weights="imagenet")
    tower = build_tower(settings, 64, 96)
    start(tower, settings, SpectrogramSettings(), 16_000)
    assert asked == [{"include_top": False, "weights": "imagenet"}]
    for ours, theirs in zip(
        tower.get_layer("densenet").get_weights(), published.get_weights(), strict=True
    ):
        np.testing.assert_array_equal(ours, theirs)
