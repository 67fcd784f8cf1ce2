"""GPUs: what can be tried of them on a processor."""

import json
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

from components.errors import SwarError
from components.model.tower import build_tower
from components.settings import TrainerSettings
from components.trainer import devices
from components.trainer.losses import make_loss
from components.trainer.optimizer import FusedAdam
from tests.support_pairs import FRAMES, MELS

SMALL = TrainerSettings(blocks=(1, 1, 1, 1), embedding_size=8, pairs_per_batch=4)


def batch():
    speaker = np.repeat(np.arange(4), 2)
    noise = np.random.default_rng(0).integers(0, 30, (8, MELS, FRAMES))
    return (50 * speaker[:, None, None] + noise).astype(np.uint8), speaker


def tower_in(policy, settings=SMALL):
    keras.utils.set_random_seed(0)
    with devices.precision(policy):
        tower = build_tower(settings, MELS, FRAMES)
        optimizer = FusedAdam(1e-3, dynamic_loss_scale=policy == "mixed_float16")
        tower.compile(optimizer, make_loss(settings), jit_compile=False, auto_scale_loss=False)
        tower.optimizer.build(tower.trainable_variables)
    return tower


@pytest.mark.parametrize(
    ("flags", "policy"),
    [
        ("flags : fpu amx_bf16 amx_tile", "mixed_bfloat16"),
        ("flags : fpu avx512f avx512_bf16", "mixed_bfloat16"),
        ("flags : fpu avx2 avx512f", "float32"),
        (None, "float32"),
    ],
)
def test_without_a_gpu_auto_is_what_the_processor_does_fast(tmp_path, monkeypatch, flags, policy):
    if flags is not None:
        (tmp_path / "cpuinfo").write_text(f"processor : 0\n{flags}\n")
    monkeypatch.setattr(devices, "PROCESSOR", tmp_path / "cpuinfo")
    with devices.precision("auto"):
        assert keras.config.dtype_policy().name == policy


def test_float16_computes_in_it_and_scales_the_loss_so_that_gradients_survive():
    tower, plain = tower_in("mixed_float16"), tower_in("float32")
    assert "float16" in {layer.compute_dtype for layer in tower.layers}
    assert tower.output.dtype == "float32"
    assert {weight.dtype for weight in tower.weights} == {"float32"}
    loss = tf.constant(0.5)
    assert float(tower.optimizer.scale_loss(loss)) == 0.5 * float(tower.optimizer.dynamic_scale)
    assert float(plain.optimizer.scale_loss(loss)) == 0.5
    # What is reported is the loss, not the scaled one.
    assert tower.evaluate(*batch(), verbose=0) == pytest.approx(
        plain.evaluate(*batch(), verbose=0), rel=0.02
    )
    found = [tower.train_on_batch(*batch()) for _ in range(15)]
    assert np.all(np.isfinite(found)) and found[-1] < found[0]
    assert float(tower.optimizer.dynamic_scale) >= 1.0


def test_a_step_that_overflows_is_left_out_and_the_next_one_scaled_less():
    tower = tower_in("mixed_float16")
    tower.optimizer.build(tower.trainable_variables)
    before = [weight.numpy() for weight in tower.trainable_variables]
    scale = float(tower.optimizer.dynamic_scale)
    tower.optimizer.apply([tf.fill(weight.shape, np.inf) for weight in tower.trainable_variables])
    for weight, was in zip(tower.trainable_variables, before, strict=True):
        np.testing.assert_array_equal(weight.numpy(), was)
    assert float(tower.optimizer.dynamic_scale) == scale / 2.0


def test_gpus_take_memory_as_they_need_it(monkeypatch):
    results = []
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: [f"{kind}:0", f"{kind}:1"])
    monkeypatch.setattr(
        tf.config.experimental, "set_memory_growth", lambda *growth: results.append(growth)
    )
    devices.take_memory_as_needed()
    assert results == [("GPU:0", True), ("GPU:1", True)]


def test_gpus_that_are_paid_for_and_not_seen_end_the_training(monkeypatch):
    devices.require_gpus(0)
    line = r"^engine\.training\.gpus asks for 2 and TensorFlow sees 1: set engine\.training\.image"
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: [f"{kind}:0"])
    devices.require_gpus(1)
    with pytest.raises(SwarError, match=line):
        devices.require_gpus(2)


def test_one_device_shares_nothing():
    assert devices.strategy().num_replicas_in_sync == 1


def test_batches_and_calls_fit_the_device(monkeypatch):
    assert devices.pairs_per_step(SMALL, replicas=1) == SMALL.pairs_per_batch
    assert devices.steps_at_once(48) == 1
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: [f"{kind}:0", f"{kind}:1"])
    assert devices.pairs_per_step(SMALL, replicas=2) == 2 * SMALL.gpu_pairs_per_batch
    # Keras would go on beyond the end of an epoch.
    assert [devices.steps_at_once(steps) for steps in (48, 50, 17, 7, 1)] == [16, 10, 1, 7, 1]


@pytest.mark.slow
def test_two_devices_take_the_step_of_the_mean_of_their_gradients(tmp_path):
    module = "tests.components.trainer.support_two_devices"
    done = subprocess.run(
        [sys.executable, "-m", module, str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    results = json.loads(done.stdout.splitlines()[-1])
    assert (results["devices"], results["replicas"]) == (2, 2)
    assert results["loss"] == pytest.approx(results["mean_of_halves"], rel=1e-4)
    assert results["moved"] > 1e-3 > 1e-5 > results["apart"]
    assert (results["copies"], results["steps_left_out"]) == (2, 1)
    assert results["fused_apart"] < 1e-5
    # 40 pairs; a step takes 8 of them on each of two devices.
    assert results["steps"] == 40 // (2 * 8)
    assert (tmp_path / "model" / "saved_model.pb").is_file()
