"""Pair generation for growing numbers of speakers: time, what Beam shuffles, peak memory.

`python -m benchmarks.scaling [SPEAKERS...]` (default 34 340 3400): every speaker has two
recordings of two seconds of coloured noise, written as the `speech` artifact that
SpeechExampleGen would have made; the real component makes their pairs, in one process.

`python -m benchmarks.scaling --plan [SPEAKERS...]` (default 100000 1000000): what the process of
SpeechExampleGen itself, without Beam, holds about all recordings between its two passes.
"""

import json
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import apache_beam as beam
import numpy as np
import tensorflow as tf
from apache_beam.metrics import monitoring_infos
from apache_beam.portability import common_urns
from tfx.dsl.components.base.base_beam_executor import BaseBeamExecutor
from tfx.types import standard_artifacts

from benchmarks.process_memory import GIBIBYTE, measured
from components import features
from components.artifacts import SPLIT_COUNTS
from components.recordings.acoustics import AcousticStatistics
from components.recordings.sources import Recording
from components.spectrogram_pair_gen.executor import Executor
from components.spectrogram_pair_gen.recorded_sounds import sounds_digest
from components.speech_example_gen import planning
from pipeline.config import Config, load_config
from pipeline.local.beam import beam_arguments

SPEAKERS = (34, 340, 3_400)
PLANNED_SPEAKERS = (100_000, 1_000_000)
RECORDINGS, SECONDS = 2, 2.0
SPEAKERS_PER_FILE = 170
SETTINGS = (
    "pairs.train.similar_per_speaker=4",
    "pairs.train.dissimilar=4",
    "trainer.loss=listed",
    "pairs.train_speeds=[1.0]",
)
MEGABYTE = 1e6
GROUP_BY_KEY = common_urns.primitives.GROUP_BY_KEY.urn
ELEMENTS = common_urns.monitoring_info_specs.ELEMENT_COUNT.spec.urn
BYTES = common_urns.monitoring_info_specs.SAMPLED_BYTE_SIZE.spec.urn


@dataclass(frozen=True)
class Scaled:
    """The component's measurements."""

    pairs: int
    seconds: float
    """Wall time without imports."""
    processor_seconds: float
    shuffled_elements: dict[str, int]
    """Number of elements by grouping."""
    shuffled_bytes: dict[str, float]
    written_bytes: int


class WatchedExecutor(Executor):
    """Keeps its Beam pipeline, whose result counts the elements."""

    def _make_beam_pipeline(self) -> beam.Pipeline:
        self.pipeline = super()._make_beam_pipeline()
        return self.pipeline


def write_speech(folder: Path, speakers: int, sample_rate: int) -> None:
    """Writes files of `speech` examples, all in the split `train`."""
    samples = round(SECONDS * sample_rate)
    split = folder / f"Split-{features.TRAIN}"
    split.mkdir(parents=True)
    files = -(-speakers // SPEAKERS_PER_FILE)
    for number in range(files):
        path = split / f"data_tfrecord-{number:05d}-of-{files:05d}"
        with tf.io.TFRecordWriter(str(path)) as file:
            for speaker in range(number, speakers, files):
                rng = np.random.default_rng(speaker)
                for recording in range(RECORDINGS):
                    walk = np.cumsum(rng.standard_normal(samples))
                    noise = (walk - walk.mean()) / np.abs(walk).max()
                    file.write(_example(speaker, recording, noise, sample_rate))


def _example(speaker: int, recording: int, noise: np.ndarray, sample_rate: int) -> bytes:
    made = features.example(
        {
            features.PCM16: (10_000 * noise).astype("<i2").tobytes(),
            features.SAMPLE_RATE: sample_rate,
            features.SPEAKER: b"speaker-%08d" % speaker,
            features.GENDER: b"unknown",
            features.RECORDING: b"speaker-%08d/%d.wav" % (speaker, recording),
            features.PIECE: 0,
            features.START_SECONDS: 0.0,
            features.DURATION_SECONDS: SECONDS,
            features.KEPT_FRACTION: 1.0,
            features.LEVEL_DBFS: -20.0,
        }
    )
    serialised: bytes = made.SerializeToString()
    return serialised


def make(folder: Path, config: Config) -> Scaled:
    """Makes pairs from `folder/speech` in `folder/pairs`."""
    speech, pairs = standard_artifacts.Examples(), standard_artifacts.Examples()
    speech.uri, pairs.uri = str(folder / "speech"), str(folder / "pairs")
    speech.split_names = json.dumps([features.TRAIN])
    context = BaseBeamExecutor.Context(
        beam_pipeline_args=beam_arguments(1), tmp_dir=str(folder / "tmp"), unique_id="1"
    )
    executor = WatchedExecutor(context)
    started, worked = time.monotonic(), time.process_time()
    executor.Do(
        {"speech": [speech]},
        {"pairs": [pairs]},
        {
            "sample_rate": config.speech.sample_rate,
            "spectrogram_settings": config.spectrogram.model_dump_json(),
            "pair_settings": config.pairs.model_dump_json(),
            "sounds_digest": sounds_digest(config.pairs.augmentation),
        },
    )
    seconds, processor_seconds = time.monotonic() - started, time.process_time() - worked
    elements, sizes = _shuffled(executor.pipeline)
    counts = json.loads(pairs.get_string_custom_property(SPLIT_COUNTS))
    written = sum(path.stat().st_size for path in (folder / "pairs").glob("*/*"))
    return Scaled(counts[features.TRAIN], seconds, processor_seconds, elements, sizes, written)


def _shuffled(pipeline: beam.Pipeline) -> tuple[dict[str, int], dict[str, float]]:
    """Elements and bytes that enter each grouping, as Beam counts and samples them."""
    infos: list[Any] = list(pipeline.result.monitoring_infos())
    count: dict[str, int] = {}
    size: dict[str, float] = {}
    for info in infos:
        collection = info.labels.get(monitoring_infos.PCOLLECTION_LABEL)
        if info.urn == ELEMENTS:
            count[collection] = monitoring_infos.extract_counter_value(info)
        elif info.urn == BYTES:
            sampled, total, _, _ = monitoring_infos.extract_distribution(info)
            size[collection] = total / sampled if sampled else 0.0  # nothing went through it
    elements: dict[str, int] = {}
    sizes: dict[str, float] = {}
    for transform in pipeline.to_runner_api().components.transforms.values():
        if transform.spec.urn == GROUP_BY_KEY:
            (collection,) = transform.inputs.values()
            elements[transform.unique_name] = count[collection]
            sizes[transform.unique_name] = count[collection] * size[collection]
    return elements, sizes


def run(speakers: int, config: Config) -> None:
    """Writes speech, makes pairs in a fresh process and prints the results."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        write_speech(folder / "speech", speakers, config.speech.sample_rate)
        (folder / "tmp").mkdir()
        done = measured(make, folder, config)
    made = done.value
    total = sum(made.shuffled_bytes.values())
    print(
        f"{speakers} speakers: {made.pairs} pairs in {made.seconds:.1f} s "
        f"({made.processor_seconds:.1f} s of processors), "
        f"peak {done.peak_bytes / GIBIBYTE:.2f} GiB; "
        f"shuffled {total / MEGABYTE:.2f} MB ({total / made.pairs:.0f} bytes a pair), "
        f"wrote {made.written_bytes / MEGABYTE:.1f} MB"
    )
    for name, size in made.shuffled_bytes.items():
        print(f"    {name}: {made.shuffled_elements[name]} elements, {size / MEGABYTE:.3f} MB")


def surveyed(speakers: int, sample_rate: int) -> list[planning.RecordingSummary]:
    """The first pass's summaries of recordings."""
    acoustics = AcousticStatistics(SECONDS, 1.0, -20.0, -60.0, -10.0)
    found = []
    for number in range(speakers * RECORDINGS):
        speaker, take = divmod(number, RECORDINGS)
        name = f"speaker-{speaker:08d}/{take}.wav"
        recording = Recording(
            f"/data/{name}", f"speaker-{speaker:08d}", "unknown", name, None, None, number, 0.0
        )
        samples = round(SECONDS * sample_rate)
        found.append(planning.RecordingSummary(recording, samples, f"{number:064x}", acoustics))
    return found


def plan(speakers: int, config: Config) -> int:
    """Plans the speakers' splits; gives the number of recordings."""
    kept, _ = planning.without_duplicates(surveyed(speakers, config.speech.sample_rate))
    return len(planning.plan(kept, {item.recording.speaker for item in kept}, config.speech))


def run_plan(speakers: int, config: Config) -> None:
    """Plans in a fresh process and prints."""
    done = measured(plan, speakers, config)
    print(
        f"{speakers} speakers: plan of {done.value} recordings in {done.seconds:.1f} s, "
        f"imports included, peak {done.peak_bytes / GIBIBYTE:.2f} GiB"
    )


if __name__ == "__main__":
    planned = "--plan" in sys.argv
    numbers = [int(word) for word in sys.argv[1:] if word != "--plan"]
    for asked in numbers or (PLANNED_SPEAKERS if planned else SPEAKERS):
        (run_plan if planned else run)(asked, load_config("default", SETTINGS))
