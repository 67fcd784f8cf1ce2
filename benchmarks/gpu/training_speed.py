"""How fast a card trains: one batch from memory, pairs from disk, float16 beside float32.

`python -m benchmarks.gpu.training_speed PAIRS [--pairs-per-batch N ...] [--steps N] [--xla]
[--config CONFIG] [--peak-teraflops X]`: PAIRS is a pattern of files of training pairs,
`OUTPUT/artifacts/SpectrogramPairGen/pairs/*/Split-train/*` of a run; CONFIG how they were made.
Prints one table, each row as soon as it is measured. With --xla a last row is compiled by XLA. The
windows of a step are those of all GPUs, twice the pairs of each. It also runs without a GPU, and
then says nothing about one.
"""

import argparse
import re
import time
from dataclasses import dataclass
from typing import Final

import keras
import tensorflow as tf
from tensorflow.python.framework.convert_to_constants import (
    convert_variables_to_constants_v2,
)

from components.model.tower import build_tower
from components.settings import TrainerSettings
from components.trainer import data, devices
from components.trainer.compiled import compile_training
from components.trainer.throughput import InputClock, Throughput
from pipeline.config import Config, load_config

STEPS: Final = 96
TERA: Final = 1e12
# The backward pass makes every product twice: for the inputs and for the weights.
TRAINING_TO_FORWARD: Final = 3
# Dense float16 products with float32 sums, from NVIDIA's data sheets, by a word of the card's name.
PEAK_TERAFLOPS: Final = {
    "T4": 65.0,
    "V100": 125.0,
    "L4": 121.0,
    "A10": 125.0,
    "A100": 312.0,
    "H100": 989.0,
    "H200": 989.0,
}
HEADER: Final = """\
| precision | windows a step | first call | from memory, windows/s | of the card's peak \
| from disk, windows/s | waiting for input |
|---|---|---|---|---|---|---|"""


@dataclass(frozen=True)
class TrainingRun:
    """The options of one row of the table."""

    precision: str
    pairs: int
    """Pairs on each device."""
    xla: bool = False


def forward_flops(settings: TrainerSettings, shape: data.TrainShape) -> int:
    """Operations for one window by TF's profiler; a multiplication and an addition are two."""
    with devices.precision("float32"):
        tower = build_tower(settings, shape.n_mels, shape.only_frames)
    window = tf.TensorSpec((1, shape.n_mels, shape.frames), tf.uint8)
    function = tf.function(lambda window: tower(window, training=False))
    graph = convert_variables_to_constants_v2(function.get_concrete_function(window)).graph
    options = tf.compat.v1.profiler.ProfileOptionBuilder(
        tf.compat.v1.profiler.ProfileOptionBuilder.float_operation()
    )
    counted = tf.compat.v1.profiler.profile(graph, options=options.with_empty_output().build())
    return int(counted.total_float_ops)


def measure(tower: keras.Model, batches: tf.data.Dataset, windows: int, steps: int) -> Throughput:
    """Trains for two epochs of `steps` steps, of which the second counts."""
    clock = InputClock()
    throughput = Throughput(windows, clock, epochs=2)
    fed = clock.watch(batches)
    tower.fit(
        fed, epochs=2, steps_per_epoch=steps, callbacks=[throughput], shuffle=False, verbose=0
    )
    return throughput


def measured_line(
    row: TrainingRun,
    config: Config,
    shape: data.TrainShape,
    patterns: list[str],
    steps: int,
    flops_of_peak: float | None,
) -> str:
    """Measures a row of the table; `flops_of_peak` is the share of the peak of one window/s."""
    settings = config.trainer
    keras.utils.set_random_seed(settings.seed)
    strategy = devices.strategy()
    pairs = row.pairs * strategy.num_replicas_in_sync
    with devices.precision(row.precision):
        with strategy.scope():
            tower = build_tower(settings, shape.n_mels, shape.only_frames)
            model = compile_training(
                tower, settings, config.spectrogram, config.speech.sample_rate, steps, pairs
            )
            model.jit_compile = row.xla
        batches = data.training_batches(patterns, settings, shape, pairs)
        from_memory = measure(model, batches.take(1).cache().repeat(), 2 * pairs, steps)
        from_disk = measure(model, batches, 2 * pairs, steps).speeds[-1]
    windows_per_second = from_memory.speeds[-1].windows_per_second
    share = "" if flops_of_peak is None else f"{windows_per_second * flops_of_peak:.1%}"
    return (
        f"| {row.precision}{', XLA' if row.xla else ''} | {2 * pairs} "
        f"| {from_memory.first_call_seconds:.1f} s | {windows_per_second:.0f} | {share} "
        f"| {from_disk.windows_per_second:.0f} | {from_disk.waiting:.1%} |"
    )


def peak_teraflops(card: str) -> float | None:
    """The table's value for a card's name such as `Tesla T4`, or None."""
    words = set(re.split(r"[^A-Za-z0-9]+", card))
    return next((peak for word, peak in PEAK_TERAFLOPS.items() if word in words), None)


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("pairs")
    parser.add_argument("--pairs-per-batch", type=int, nargs="+", default=[128, 256])
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--xla", action="store_true")
    parser.add_argument("--config", default="default")
    parser.add_argument("--peak-teraflops", type=float, help="of one card, in float16")
    arguments = parser.parse_args()
    started = time.monotonic()
    devices.take_memory_as_needed()
    gpus = tf.config.list_physical_devices("GPU")
    cards = [tf.config.experimental.get_device_details(gpu)["device_name"] for gpu in gpus]
    config = load_config(arguments.config)
    shape = data.TrainShape.of(config.spectrogram, config.speech.sample_rate)
    work = TRAINING_TO_FORWARD * forward_flops(config.trainer, shape)
    peak = arguments.peak_teraflops or (peak_teraflops(cards[0]) if cards else None)
    flops_of_peak = None if peak is None else work / (peak * TERA * max(1, len(cards)))
    print(
        f"{', '.join(cards) or 'no GPU'}: {work / 1e9:.2f} GFLOP to train a window, peak "
        f"{'unknown: tell it with --peak-teraflops' if peak is None else f'{peak:g} TFLOP/s'}"
    )
    fast = "mixed_float16" if cards else "float32"
    rows = [TrainingRun(fast, pairs) for pairs in arguments.pairs_per_batch]
    if cards:
        rows.append(TrainingRun("float32", arguments.pairs_per_batch[0]))
    if arguments.xla:
        rows.append(TrainingRun(fast, arguments.pairs_per_batch[0], xla=True))
    print(HEADER, flush=True)
    for row in rows:
        line = measured_line(row, config, shape, [arguments.pairs], arguments.steps, flops_of_peak)
        print(line, flush=True)
    print(f"{time.monotonic() - started:.0f} s")


if __name__ == "__main__":
    main()
