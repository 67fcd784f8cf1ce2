"""The training step on a card: windows and pairs in a second, and the share of the card's peak.

`python -m benchmarks.gpu.training_speed [--config CONFIG] [--set KEY=VALUE ...] [--steps N]
[--peak-teraflops X]`: trains the settings' tower on noise from memory, on all GPUs that there
are. Compare `--set trainer.xla=true`, `--set trainer.precision=float32` and batch sizes.
"""

import argparse
import re
import time
from dataclasses import dataclass

import keras
import numpy as np
import tensorflow as tf
from tensorflow.python.framework.convert_to_constants import (
    convert_variables_to_constants_v2,
)

from components.settings import TrainerSettings
from components.trainer import devices
from components.trainer.losses import make_loss
from components.trainer.tower import build_tower
from pipeline.config import load_config

WARM_UP_STEPS, STEPS = 20, 100
TERA = 1e12
# Backward, every product is made twice: for the inputs and for the weights.
TRAINING_TO_FORWARD = 3
# Dense float16 products with float32 sums, from NVIDIA's data sheets; by a word of the card's name.
PEAK_TERAFLOPS = {
    "T4": 65.0,
    "V100": 125.0,
    "L4": 121.0,
    "A10": 125.0,
    "A100": 312.0,
    "H100": 989.0,
}


@dataclass(frozen=True)
class Speed:
    """Of the training step."""

    compile_seconds: float
    """The first steps."""
    windows_per_second: float


def forward_flops(tower: keras.Model) -> int:
    """Operations for one window, a multiplication and an addition being two; by TF's profiler."""
    shape = (1, *tower.input_shape[1:])
    function = tf.function(lambda window: tower(window, training=False))
    graph = convert_variables_to_constants_v2(
        function.get_concrete_function(tf.TensorSpec(shape, tf.uint8))
    ).graph
    options = tf.compat.v1.profiler.ProfileOptionBuilder(
        tf.compat.v1.profiler.ProfileOptionBuilder.float_operation()
    )
    counted = tf.compat.v1.profiler.profile(graph, options=options.with_empty_output().build())
    return int(counted.total_float_ops)


def measure(tower: keras.Model, settings: TrainerSettings, windows: int, steps: int) -> Speed:
    """Trains on one batch again and again."""
    rng = np.random.default_rng(0)
    spectrogram = rng.integers(0, 256, (windows, *tower.input_shape[1:]), dtype=np.uint8)
    speaker = np.repeat(np.arange(windows), settings.windows_per_speaker)[:windows]
    batch = tf.data.Dataset.from_tensors((spectrogram, speaker)).repeat().prefetch(2)
    taken = []
    for count in (WARM_UP_STEPS, steps):
        started = time.perf_counter()
        tower.fit(batch, steps_per_epoch=count, epochs=1, shuffle=False, verbose=0)
        taken.append(time.perf_counter() - started)
    return Speed(taken[0], steps * windows / taken[1])


def peak_teraflops(card: str) -> float | None:
    """The table's, for a card's name such as `Tesla T4`."""
    words = set(re.split(r"[^A-Za-z0-9]+", card))
    return next((peak for word, peak in PEAK_TERAFLOPS.items() if word in words), None)


def report(
    cards: list[str],
    settings: TrainerSettings,
    tower: keras.Model,
    speed: Speed,
    peak: float | None,
) -> None:
    """Prints what was measured."""
    flops = forward_flops(tower)
    reached = speed.windows_per_second * TRAINING_TO_FORWARD * flops / TERA
    print(
        f"precision {tower.dtype_policy.name}, XLA {'on' if settings.xla else 'off'}: "
        f"{speed.windows_per_second:.1f} windows/s, {speed.windows_per_second / 2:.1f} pairs/s; "
        f"the first {WARM_UP_STEPS} steps took {speed.compile_seconds:.0f} s\n"
        f"{flops / 1e9:.3f} GFLOP forward for a window, {TRAINING_TO_FORWARD} times that to train: "
        f"{reached:.3f} TFLOP/s"
    )
    if not cards:
        print("This is a CPU: of a GPU these figures say nothing.")
    if peak is not None:
        whole = peak * max(1, len(cards))
        print(f"{reached / whole:.1%} of the peak of {whole:g} TFLOP/s")
    elif cards:
        print(f"the peak of {cards[0]} is not in the table: tell it with --peak-teraflops")


def main() -> None:
    """Reads the arguments, measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config", default="default")
    parser.add_argument("--set", action="append", default=[], dest="settings")
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--peak-teraflops", type=float, help="of one card, in this precision")
    told = parser.parse_args()
    config = load_config(told.config, told.settings)
    settings, spectrogram = config.trainer, config.spectrogram
    devices.take_memory_as_needed()
    gpus = tf.config.list_physical_devices("GPU")
    cards = [tf.config.experimental.get_device_details(gpu)["device_name"] for gpu in gpus]
    strategy = devices.strategy()
    windows = settings.speakers_per_batch * settings.windows_per_speaker
    windows *= strategy.num_replicas_in_sync
    print(f"{', '.join(cards) or 'no GPU'}; {windows} windows in a step")
    with devices.precision(settings.precision), devices.quick_graphs():
        with strategy.scope():
            frames = spectrogram.frames(config.speech.sample_rate)
            tower = build_tower(settings, spectrogram.n_mels, frames)
            tower.compile(
                keras.optimizers.Adam(settings.learning_rate),
                make_loss(settings),
                jit_compile=settings.xla,
            )
        speed = measure(tower, settings, windows, told.steps)
        peak = told.peak_teraflops
        if peak is None and cards and tower.dtype_policy.name == "mixed_float16":
            peak = peak_teraflops(cards[0])
        report(cards, settings, tower, speed, peak)


if __name__ == "__main__":
    main()
