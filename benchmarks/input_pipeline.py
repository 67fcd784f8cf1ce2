"""The training's input beside its step: is the device ever kept waiting?

`python -m benchmarks.input_pipeline OUTPUT [CONFIG]`: reads the pairs of a finished run and
trains on them with the settings of CONFIG (default: `default`) for a few steps.
"""

import statistics
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import keras
import tensorflow as tf
from ml_metadata import MetadataStore
from tfx.orchestration.metadata import sqlite_metadata_connection_config

from components import features
from components.trainer import data
from components.trainer.losses import make_loss
from components.trainer.tower import build_tower
from pipeline import lineage
from pipeline.config import Config, load_config
from pipeline.local_runner import METADATA

WARM_UP_STEPS, STEPS, BATCHES = 3, 15, 200
Batch = tuple[tf.Tensor, tf.Tensor]


def training_pairs(output: Path) -> list[str]:
    """The pattern of the newest run's training files."""
    store = MetadataStore(sqlite_metadata_connection_config(str(output / METADATA)))
    return [f"{lineage.latest_outputs(store)['pairs'].uri}/Split-{features.TRAIN}/*"]


def seconds_each(work: Callable[[], object], warm_up: int, times: int) -> float:
    """The median over `times` calls."""
    taken = []
    for _ in range(warm_up + times):
        started = time.perf_counter()
        work()
        taken.append(time.perf_counter() - started)
    return statistics.median(taken[warm_up:])


def training_step(config: Config, shape: data.TrainShape) -> Callable[[Batch], object]:
    """One step of the compiled tower on a batch."""
    tower = build_tower(config.trainer, shape.n_mels, shape.only_frames)
    tower.compile(
        optimizer=keras.optimizers.Adam(config.trainer.learning_rate),
        loss=make_loss(config.trainer),
        jit_compile=False,
    )
    return lambda batch: tower.train_on_batch(*batch)


def run(output: Path, config: Config) -> None:
    """Prints the time of a batch alone, of a step alone, and of a step that is fed."""
    shape = data.TrainShape.of(config.spectrogram, config.speech.sample_rate)
    stream = data.balanced_windows(training_pairs(output), config.trainer, shape)
    batches: Iterator[Batch] = iter(stream)
    started = time.perf_counter()
    batch = next(batches)
    first_seconds = time.perf_counter() - started
    started = time.perf_counter()
    for _ in range(BATCHES):
        next(batches)
    batch_seconds = (time.perf_counter() - started) / BATCHES
    tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})
    step = training_step(config, shape)
    step_seconds = seconds_each(lambda: step(batch), WARM_UP_STEPS, STEPS)
    waiting: list[float] = []

    def fed() -> None:
        asked = time.perf_counter()
        following = next(batches)
        waiting.append(time.perf_counter() - asked)
        step(following)

    fed_seconds = seconds_each(fed, WARM_UP_STEPS, STEPS)
    print(
        f"first batch {first_seconds:.2f} s, then {1000 * batch_seconds:.1f} ms a batch; "
        f"step {1000 * step_seconds:.0f} ms on a batch in memory, {1000 * fed_seconds:.0f} ms fed; "
        f"making a batch is {batch_seconds / step_seconds:.2%} of a step, waiting for one "
        f"{statistics.median(waiting) / fed_seconds:.2%}"
    )


if __name__ == "__main__":
    run(Path(sys.argv[1]), load_config(sys.argv[2] if len(sys.argv) > 2 else "default"))
