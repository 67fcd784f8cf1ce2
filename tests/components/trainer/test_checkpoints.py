"""What a killed training goes on from."""

import shutil
from types import SimpleNamespace

import keras
import numpy as np
import pytest

from components.trainer.checkpoints import FILE, Checkpoints
from components.trainer.monitor import BestEpoch
from components.trainer.optimizer import FusedAdam

INPUTS = np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32)


def trained(steps=3):
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.layers.Dense(2)])
    model.build((None, 3))
    model.compile(FusedAdam(0.1, use_ema=True), "mse", jit_compile=False)
    model.optimizer.build(model.trainable_variables)
    for _ in range(steps):
        model.train_on_batch(INPUTS, np.ones((4, 2)))
    return model


def values(model):
    return [*model.get_weights(), *(one.numpy() for one in model.optimizer.variables)]


def monitor(epochs=0):
    best = BestEpoch(1, 0.25, [np.arange(6.0).reshape(3, 2), np.zeros(2)]) if epochs else None
    history = [{"epoch": epoch + 1, "loss": None} for epoch in range(epochs)]
    return SimpleNamespace(best=best, history=history)


def test_a_training_is_restored_whole(tmp_path):
    model, watched = trained(), monitor(epochs=2)
    with Checkpoints(tmp_path, model, watched) as checkpoints:
        assert checkpoints.restore() == 0
        checkpoints.on_epoch_end(1)
        # What happens while it is written does not get into it.
        expected = values(model)
        model.train_on_batch(INPUTS, np.zeros((4, 2)))
    assert [path.name for path in tmp_path.iterdir()] == [FILE]
    again, found = trained(steps=0), monitor()
    with Checkpoints(tmp_path, again, found) as checkpoints:
        assert checkpoints.restore() == 2
    for before, after in zip(expected, values(again), strict=True):
        np.testing.assert_array_equal(before, after)
    assert int(again.optimizer.iterations) == 3
    assert (found.best.epoch, found.best.eer) == (watched.best.epoch, watched.best.eer)
    for before, after in zip(watched.best.weights, found.best.weights, strict=True):
        np.testing.assert_array_equal(before, after)
    assert found.history == watched.history


def test_a_file_that_was_being_written_is_not_taken_for_one(tmp_path):
    (tmp_path / f".{FILE}.partial").write_bytes(b"half")
    with Checkpoints(tmp_path, trained(), monitor()) as checkpoints:
        assert checkpoints.restore() == 0


@pytest.mark.parametrize("is_last_epoch", [True, False])
def test_a_state_that_could_not_be_written_stops_the_training(tmp_path, is_last_epoch):
    folder = tmp_path / "checkpoints"
    folder.mkdir()
    with pytest.raises(FileNotFoundError), Checkpoints(folder, trained(), monitor(1)) as one:
        shutil.rmtree(folder)
        one.on_epoch_end(0)
        if not is_last_epoch:
            one.on_epoch_end(1)
            raise AssertionError("the epoch after was not stopped")
