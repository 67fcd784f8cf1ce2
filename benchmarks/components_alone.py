"""Runs the two data components by themselves, as TFX's launcher would."""

import json
import time
from dataclasses import dataclass
from pathlib import Path

from tfx.dsl.components.base.base_beam_executor import BaseBeamExecutor
from tfx.types import standard_artifacts
from tfx.types.artifact import Artifact

from components.artifacts import SPLIT_COUNTS, Recordings, Rejects
from components.recordings.sources import data_digest, list_recordings
from components.spectrogram_pair_gen.executor import Executor as PairExecutor
from components.spectrogram_pair_gen.recorded_sounds import sounds_digest
from components.speech_example_gen.executor import Executor as SpeechExecutor
from pipeline.config import Config
from pipeline.local.beam import beam_arguments


@dataclass(frozen=True)
class MadeExamples:
    """What a component wrote, by split, and how long it worked, without imports."""

    counts: dict[str, int]
    seconds: float


def make_speech(data: Path, output: Path, config: Config, beam_workers: int) -> MadeExamples:
    """SpeechExampleGen: `data` to `output/speech`."""
    speech = _artifact(standard_artifacts.Examples, output / "speech")
    started = time.monotonic()
    SpeechExecutor(_context(output / "tmp_speech", beam_workers)).Do(
        {},
        {
            "speech": [speech],
            "recordings": [_artifact(Recordings, output / "recordings")],
            "rejects": [_artifact(Rejects, output / "rejects")],
        },
        {
            "data": str(data),
            "data_digest": data_digest(list_recordings(str(data))),
            "settings": config.speech.model_dump_json(),
        },
    )
    return _made(speech, started)


def make_pairs(splits: list[str], output: Path, config: Config, beam_workers: int) -> MadeExamples:
    """SpectrogramPairGen: the splits of `output/speech` to `output/pairs`."""
    speech = _artifact(standard_artifacts.Examples, output / "speech")
    speech.split_names = json.dumps(splits)
    pairs = _artifact(standard_artifacts.Examples, output / "pairs")
    started = time.monotonic()
    PairExecutor(_context(output / "tmp_pairs", beam_workers)).Do(
        {"speech": [speech]},
        {"pairs": [pairs]},
        {
            "sample_rate": config.speech.sample_rate,
            "spectrogram_settings": config.spectrogram.model_dump_json(),
            "pair_settings": config.pairs.model_dump_json(),
            "sounds_digest": sounds_digest(config.pairs.augmentation),
        },
    )
    return _made(pairs, started)


def _made(artifact: Artifact, started: float) -> MadeExamples:
    seconds = time.monotonic() - started
    return MadeExamples(json.loads(artifact.get_string_custom_property(SPLIT_COUNTS)), seconds)


def _artifact(kind: type[Artifact], folder: Path) -> Artifact:
    folder.mkdir(parents=True, exist_ok=True)
    artifact = kind()
    artifact.uri = str(folder)
    return artifact


def _context(folder: Path, beam_workers: int) -> BaseBeamExecutor.Context:
    folder.mkdir(parents=True, exist_ok=True)
    return BaseBeamExecutor.Context(
        beam_pipeline_args=beam_arguments(beam_workers), tmp_dir=str(folder), unique_id="1"
    )
