"""One small run, and what reads it back. Imported also by the processes that get killed."""

import hashlib
import importlib
import os
import signal
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import tensorflow as tf
from ml_metadata import MetadataStore
from ml_metadata.proto import metadata_store_pb2
from tensorflow_metadata.proto.v0 import statistics_pb2
from tfx.orchestration.metadata import sqlite_metadata_connection_config

from components.speech_example_gen import planning
from pipeline import cli
from pipeline.output import results
from tests.harness.forks import write_to

CONFIG = "demo"
SPEAKERS, SECONDS = 6, 20.0
# Enough that a model without training is worse, whatever the machine's arithmetic.
EPOCHS, STEPS_PER_EPOCH = 3, 60
# The real sizes would put all speech in one file: nothing could be written twice or lost.
SHARD_SECONDS = 20
SETTINGS = (
    "speech.train_fraction=0.72",
    "speech.calibration_fraction=0.15",  # few speakers: nobody is held out to calibrate on
    "speech.calibration_speaker_fraction=0.0",
    "speech.require_voice=false",  # some recordings are made sounds
    "spectrogram.window_seconds=0.544",
    "spectrogram.n_mels=32",
    "pairs.train.similar_per_speaker=40",
    "pairs.held_out.similar_per_speaker=25",
    "pairs.held_out.dissimilar=25",
    "pairs.condition.similar_per_speaker=2",
    "pairs.condition.dissimilar=2",
    "pairs.augmentation.noise_probability=0",  # this tower is too small for it
    "pairs.augmentation.reverberation_probability=0",
    "pairs.augmentation.telephone_probability=0",
    "pairs.augmentation.hum_probability=0",
    "pairs.augmentation.tilt_probability=0",
    "pairs.augmentation.narrow_band_probability=0",
    "pairs.shard_megabytes=0.1",
    "trainer.augmentation.noise_probability=0",
    "trainer.augmentation.reverberation_probability=0",
    "trainer.augmentation.telephone_probability=0",
    "trainer.augmentation.hum_probability=0",
    "trainer.augmentation.tilt_probability=0",
    "trainer.augmentation.narrow_band_probability=0",
    "trainer.weights=none",
    "trainer.learning_rate=0.001",
    "trainer.blocks=[1, 1, 1, 1]",
    "trainer.embedding_size=16",
    "trainer.pairs_per_batch=8",
    f"trainer.epochs={EPOCHS}",
    f"trainer.steps_per_epoch={STEPS_PER_EPOCH}",
    "trainer.warmup_steps=2",
    "evaluator.max_eer_eval=0.45",
    "evaluator.max_eer_unseen=0.5",
    "evaluator.max_eer_condition=1.0",
    "evaluator.max_eer_increase=0.1",
    "report.resamples=60",  # the page is looked at in tests of its own
    "report.condition_utterances=12",
)
# A model that has learnt nothing, and bounds that only its comparison with a better one breaks.
UNTRAINED = (
    "trainer.learning_rate=1e-7",
    "trainer.end_learning_rate=0.0",
    "trainer.epochs=1",
    "trainer.steps_per_epoch=1",
    "trainer.warmup_steps=0",
    "evaluator.max_eer_eval=1.0",
    "evaluator.max_eer_unseen=1.0",
    "evaluator.max_eer_increase=0.02",
)

SPEECH, PAIRS, SCHEMA = "SpeechExampleGen", "SpectrogramPairGen", "ImportSchemaGen"
STATISTICS, VALIDATOR, TRAINER = "StatisticsGen", "ExampleValidator", "Trainer"
BASELINE, EVALUATOR, PUSHER = "Baseline", "Evaluator", "Pusher"
SERVING_CHECK, REPORT = "ServingCheck", "VerificationReport"
NODES = (
    SCHEMA, SPEECH, PAIRS, STATISTICS, VALIDATOR, TRAINER, BASELINE, SERVING_CHECK, EVALUATOR,
    PUSHER, REPORT,
)  # fmt: skip
RESOLVED_AFRESH = {BASELINE: "done"}  # TFX never takes a resolver from the cache


def states(*done: str) -> dict[str, str]:
    """How the components end when these did their work anew and the others are cached."""
    return dict.fromkeys(NODES, "cached") | dict.fromkeys(done, "done") | RESOLVED_AFRESH


def arguments(data: Path, output: Path, *settings: str, workers: int = 1) -> list[str]:
    """What follows `swar` for the small run; later settings win."""
    words = ["run", "--config", CONFIG, "--data", str(data), "--output", str(output)]
    for setting in (*SETTINGS, *settings):
        words += ["--set", setting]
    return [*words, "--beam-workers", str(workers)]


class Ended(NamedTuple):
    """What a command line came to."""

    status: int
    out: str
    err: str

    def lines(self, component: str) -> list[str]:
        """What was said of a component, without its name."""
        said = (line.strip() for line in self.out.splitlines())
        return [line.split(": ", 1)[1] for line in said if line.startswith(f"{component}: ")]

    def states(self) -> dict[str, str]:
        """By component, of those that began: done, cached, failed, or running to the end."""
        return {
            line.split(":")[0]: line.split(": ")[1].split(",")[0]
            for line in self.out.splitlines()
            if line.split(":")[0] in NODES
        }


@dataclass(frozen=True)
class KillPoint:
    """A function of a component, and how many of its calls are let through before the kill."""

    component: str
    function: str
    calls: int = 0


def swar_killed_at(point: KillPoint, argv: list[str], folder: Path) -> None:
    """Runs `swar` in this process and kills it, as `kill -9` does; its output goes to `folder`."""
    write_to(folder / "out", 1)
    write_to(folder / "err", 2)
    planning.SHARD_SECONDS = SHARD_SECONDS
    _arm(point)
    sys.argv = ["swar", *argv]
    cli.main()


def _arm(point: KillPoint) -> None:
    owner_name, _, name = point.function.rpartition(".")
    owner = _resolve(owner_name)
    original: Callable[..., Any] = getattr(owner, name)
    calls = 0

    def counting(*positional: Any, **named: Any) -> Any:
        nonlocal calls
        if calls == point.calls:
            os.kill(os.getpid(), signal.SIGKILL)
        calls += 1
        return original(*positional, **named)

    setattr(owner, name, counting)


def _resolve(dotted: str) -> Any:
    """A module, or a class in one."""
    try:
        return importlib.import_module(dotted)
    except ModuleNotFoundError:
        module, _, name = dotted.rpartition(".")
        return getattr(importlib.import_module(module), name)


class Store:
    """What ML Metadata knows of an output folder."""

    def __init__(self, output: Path) -> None:
        self._store = MetadataStore(
            sqlite_metadata_connection_config(str(output / "metadata.sqlite"))
        )

    def executions(self) -> Counter[tuple[str, str]]:
        """How many executions there are by component and state."""
        state_name = metadata_store_pb2.Execution.State.Name
        return Counter(
            (node.name.rpartition(".")[2], state_name(execution.last_known_state))
            for node in self._store.get_contexts_by_type("node")
            for execution in self._store.get_executions_by_context(node.id)
        )

    def outputs(self) -> dict[str, metadata_store_pb2.Artifact]:
        """The newest run's output artifacts by key."""
        return results.latest_outputs(self._store)


def split_files(artifact_folder: Path) -> dict[str, list[Path]]:
    """The files of each split of an Examples or ExampleStatistics artifact."""
    return {
        folder.name.removeprefix("Split-"): sorted(
            path for path in folder.iterdir() if path.is_file()
        )
        for folder in sorted(artifact_folder.glob("Split-*"))
    }


def records(files: list[Path]) -> Iterator[tf.train.Example]:
    """The tf.Examples of files, in order."""
    for path in files:
        for record in tf.data.TFRecordDataset(str(path)).as_numpy_iterator():
            yield tf.train.Example.FromString(record)


def digests(folder: Path) -> dict[str, str]:
    """sha256 of every file below a folder, by its path in there."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }


def counted(path: Path) -> dict[str, tuple[object, ...]]:
    """Examples, and the exact statistics of each feature: quantiles depend on the order."""
    read = statistics_pb2.DatasetFeatureStatisticsList.FromString(path.read_bytes())
    (dataset,) = read.datasets
    found: dict[str, tuple[object, ...]] = {}
    for feature in dataset.features:
        name, numbers, texts = feature.path.step[0], feature.num_stats, feature.string_stats
        found[name] = (
            dataset.num_examples,
            feature.type,
            numbers.common_stats.num_non_missing,
            texts.common_stats.num_non_missing,
            numbers.min,
            numbers.max,
            round(numbers.mean, 4),
            texts.unique,
        )
    return found
