"""The weights that a training leaves: the moving average of those that it went through."""

import keras
import numpy as np
import pytest

from components.trainer import monitor, run_fn
from tests.components.trainer.test_run_fn import SMALL, arguments
from tests.support_pairs import FRAMES, MELS

EPOCHS, STEPS = 2, 4
SETTINGS = SMALL.model_copy(
    update={"epochs": EPOCHS, "steps_per_epoch": STEPS, "learning_rate": 0.01}
)


def tiny_tower(*_):
    return keras.Sequential(
        [
            keras.Input((MELS, FRAMES), dtype="uint8"),
            keras.layers.Rescaling(1 / 255),
            keras.layers.Flatten(),
            keras.layers.Dense(4),
            keras.layers.UnitNormalization(),
        ]
    )


@pytest.mark.parametrize("momentum", [0.0, 0.6])
def test_the_exported_weights_are_the_moving_average(tmp_path, monkeypatch, momentum):
    passed, exported = [], []

    def remember(self, batch, logs=None):
        passed.append(self.model.get_weights())

    def export(tower, calibration, front_end, card, folder, **how):
        exported.append((tower.get_weights(), card["best_epoch"]))

    monkeypatch.setattr(run_fn, "build_tower", tiny_tower)
    monkeypatch.setattr(run_fn, "export", export)
    monkeypatch.setattr(monitor.TrialMonitor, "on_train_batch_end", remember)
    settings = SETTINGS.model_copy(update={"weight_averaging": momentum})
    run_fn.run_fn(arguments(tmp_path, settings))

    ((kept, best_epoch),) = exported
    assert len(passed) == EPOCHS * STEPS
    until_best = passed[: best_epoch * STEPS]
    expected = until_best[0]
    for weights in until_best[1:]:
        expected = [
            momentum * average + (1.0 - momentum) * weight
            for average, weight in zip(expected, weights, strict=True)
        ]
    for weight, average in zip(kept, expected, strict=True):
        np.testing.assert_allclose(weight, average, rtol=1e-4, atol=1e-6)
    assert (np.abs(kept[0] - until_best[-1][0]).max() > 1e-3) == (momentum > 0.0)
