"""The fused update beside Keras' Adam and its loss scaling."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from components.settings import TrainerSettings
from components.trainer import optimizer as optimizer_module
from components.trainer.optimizer import FusedAdam, schedule

SHAPES = [(3, 4), (5,), ()]
STEPS = 50


def variables():
    rng = np.random.default_rng(0)
    return [keras.Variable(rng.normal(size=shape).astype(np.float32)) for shape in SHAPES]


def gradients(step, factor=1.0):
    rng = np.random.default_rng(step)
    return [tf.constant(factor * rng.normal(size=shape), tf.float32) for shape in SHAPES]


def rate():
    return schedule(TrainerSettings(warmup_steps=10), STEPS, pairs=128)


def assert_alike(ours, theirs):
    for one, other in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(one.numpy(), other.numpy(), rtol=1e-5, atol=1e-6)


def trained(optimizer, steps):
    learnt = variables()
    optimizer.build(learnt)
    step = tf.function(optimizer.apply)
    for grads in steps:
        step(grads)
        yield learnt


@pytest.mark.parametrize("more", [{}, {"weight_decay": 0.01, "global_clipnorm": 1.0}])
def test_fifty_steps_are_those_of_keras_adam(more):
    steps = [gradients(step) for step in range(STEPS)]
    both = (
        trained(FusedAdam(rate(), **more), steps),
        trained(keras.optimizers.Adam(rate(), **more), steps),
    )
    for ours, theirs in zip(*both, strict=True):
        assert_alike(ours, theirs)


def test_loss_scaling_is_that_of_keras_overflows_included(monkeypatch):
    monkeypatch.setattr(optimizer_module, "LOSS_SCALE_GROWTH_STEPS", 4)
    fused = FusedAdam(rate(), dynamic_loss_scale=True)
    inner = keras.optimizers.Adam(rate())
    theirs = keras.optimizers.LossScaleOptimizer(inner, dynamic_growth_steps=4)
    learnt, expected = variables(), variables()
    fused.build(learnt)
    theirs.build(expected)
    scales = set()
    for step in range(STEPS):
        scale = float(fused.dynamic_scale)
        assert scale == float(theirs.dynamic_scale) == float(fused.scale_loss(tf.constant(1.0)))
        scales.add(scale)
        grads = gradients(step, scale)
        if step in (0, 1, 7, 8, 30):
            grads[step % 3] = tf.fill(SHAPES[step % 3], np.nan if step % 2 else np.inf)
        fused.apply(grads)
        theirs.apply(grads)
        assert int(fused.iterations) == int(inner.iterations)
        assert_alike(learnt, expected)
    assert len(scales) > 5


def test_what_it_cannot_do_is_refused():
    with pytest.raises(ValueError, match="amsgrad"):
        FusedAdam(1e-3, amsgrad=True)
