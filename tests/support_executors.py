"""Runs Beam component executors directly, as TFX's launcher would."""

from collections.abc import Sequence
from pathlib import Path

from tfx.components.statistics_gen.executor import Executor as StatisticsExecutor
from tfx.dsl.components.base import base_beam_executor
from tfx.types import standard_artifacts
from tfx.types.artifact import Artifact

from components.artifacts import Recordings, Rejects
from components.import_schema_gen.executor import Executor as SchemaExecutor
from components.recordings.sources import data_digest, list_recordings
from components.settings import PairSettings, SpectrogramSettings, SpeechSettings
from components.spectrogram_pair_gen.executor import Executor as PairExecutor
from components.spectrogram_pair_gen.recorded_sounds import sounds_digest
from components.speech_example_gen.executor import Executor as SpeechExecutor
from pipeline.local.beam import beam_arguments

IN_PROCESS = beam_arguments(1)


def artifact(kind: type[Artifact], folder: Path) -> Artifact:
    folder.mkdir(parents=True, exist_ok=True)
    made = kind()
    made.uri = str(folder)
    return made


def context(
    folder: Path, beam: Sequence[str] = IN_PROCESS
) -> base_beam_executor.BaseBeamExecutor.Context:
    folder.mkdir(parents=True, exist_ok=True)
    return base_beam_executor.BaseBeamExecutor.Context(
        beam_pipeline_args=list(beam), tmp_dir=str(folder), unique_id="1"
    )


def run_speech(
    data: str, output: Path, settings: SpeechSettings, beam: Sequence[str] = IN_PROCESS
) -> tuple[Artifact, Artifact]:
    """The `speech` and `rejects` artifacts of a folder of recordings."""
    speech = artifact(standard_artifacts.Examples, output / "speech")
    rejects = artifact(Rejects, output / "rejects")
    recordings = artifact(Recordings, output / "recordings")
    SpeechExecutor(context(output / "tmp_speech", beam)).Do(
        {},
        {"speech": [speech], "rejects": [rejects], "recordings": [recordings]},
        {
            "data": data,
            "data_digest": data_digest(list_recordings(data, settings.rolling_spans)),
            "settings": settings.model_dump_json(),
        },
    )
    return speech, rejects


def run_pairs(
    speech: Artifact,
    output: Path,
    sample_rate: int,
    spectrogram: SpectrogramSettings,
    pairs: PairSettings,
    beam: Sequence[str] = IN_PROCESS,
) -> Artifact:
    """The `pairs` artifact of cleaned speech."""
    made = artifact(standard_artifacts.Examples, output / "pairs")
    PairExecutor(context(output / "tmp_pairs", beam)).Do(
        {"speech": [speech]},
        {"pairs": [made]},
        {
            "sample_rate": sample_rate,
            "spectrogram_settings": spectrogram.model_dump_json(),
            "pair_settings": pairs.model_dump_json(),
            "sounds_digest": sounds_digest(pairs.augmentation),
        },
    )
    return made


def run_statistics(
    pairs: Artifact, schema_text: str, output: Path, beam: Sequence[str] = IN_PROCESS
) -> Artifact:
    """TFX's `statistics` artifact of pairs."""
    schema = artifact(standard_artifacts.Schema, output / "schema")
    SchemaExecutor().Do({}, {"schema": [schema]}, {"schema_text": schema_text})
    made = artifact(standard_artifacts.ExampleStatistics, output / "statistics")
    StatisticsExecutor(context(output / "tmp_statistics", beam)).Do(
        {"examples": [pairs], "schema": [schema]},
        {"statistics": [made]},
        {"exclude_splits": "[]"},
    )
    return made
