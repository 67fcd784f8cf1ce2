"""The pipeline's graph: recordings in, a blessed and published model out."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from ml_metadata.proto import metadata_store_pb2
from tfx.components import StatisticsGen
from tfx.dsl.components.base.base_component import BaseComponent
from tfx.orchestration.data_types import RuntimeParameter
from tfx.orchestration.pipeline import Pipeline
from tfx.types.channel import OutputChannel

from components import features
from components.baseline import Baseline, LatestOtherBlessedModelStrategy, make_baseline
from components.evaluator.component import Evaluator
from components.example_validator.component import ExampleValidator
from components.import_schema_gen.component import ImportSchemaGen
from components.model.files import BASE
from components.pusher.component import make_pusher
from components.serving_check.component import ServingCheck
from components.spectrogram_pair_gen.component import SpectrogramPairGen
from components.speech_example_gen.component import SpeechExampleGen
from components.trainer.component import TrainingInputs, make_trainer, make_tuner
from components.trainer.starting_weights import parent_of
from components.verification_report.component import VerificationReport
from pipeline.code_digest import code_digest
from pipeline.config import Config
from pipeline.output.folder import ARTIFACTS

PAIR_SCHEMA = Path(__file__).resolve().parents[1] / "schemas" / "spectrogram_pair.pbtxt"


@dataclass(frozen=True)
class EngineOptions:
    """What differs between engines; the defaults are the local runner's."""

    baseline: Baseline = LatestOtherBlessedModelStrategy
    checkpoints: str | None = None
    """Local folder for the state of an unfinished training; None: below the output."""
    gpus: int = 0
    """Number of GPUs that TensorFlow must see where it trains."""
    vertex_job: Mapping[str, Any] | None = None
    """The Trainer's custom config on Vertex."""
    vertex_endpoint: Mapping[str, Any] | None = None
    """The Pusher's custom config on Vertex."""


def create_pipeline(
    config: Config,
    *,
    data: str | RuntimeParameter,
    data_digest: str | RuntimeParameter,
    sounds_digest: str | RuntimeParameter,
    epochs: int | RuntimeParameter,
    output: str,
    beam_pipeline_args: Sequence[str],
    metadata_connection_config: metadata_store_pb2.ConnectionConfig | None = None,
    engine: EngineOptions | None = None,
) -> Pipeline:
    """Connects the components; runs nothing and writes nothing.

    Args:
        config: the settings of every component.
        data: folder or manifest of recordings.
        data_digest: fingerprint of the data.
        sounds_digest: fingerprint of the folders of `pairs.augmentation`.
        epochs: in place of those in `config`.
        output: folder, on any filesystem, for artifacts, checkpoints and published models.
        beam_pipeline_args: arguments of the Beam components.
        metadata_connection_config: where runs are recorded; None if the engine does it.
        engine: options of the engine; None for the local runner's.
    """
    engine = engine or EngineOptions()
    prepared = _prepare(config, data, data_digest, sounds_digest)
    training = TrainingInputs(
        pairs=prepared.pairs,
        schema=prepared.schema,
        trainer=config.trainer,
        speech=config.speech,
        spectrogram=config.spectrogram,
        serving=config.serving,
        checkpoints=engine.checkpoints or os.path.join(output, "checkpoints"),
        gpus=engine.gpus,
    )
    parent = parent_of(config.trainer, config.spectrogram, config.speech.sample_rate)
    trained = _train(config, training, parent, epochs, data_digest, engine.vertex_job)
    for component in trained:
        component.add_upstream_node(prepared.example_validator)
    published = os.path.join(output, "published")
    return Pipeline(
        pipeline_name=config.name,
        pipeline_root=os.path.join(output, ARTIFACTS),
        components=[
            *prepared,
            *trained,
            *_judge(config, prepared, parent, trained[-1], published, engine),
        ],
        enable_cache=True,
        beam_pipeline_args=list(beam_pipeline_args),
        metadata_connection_config=metadata_connection_config,
    )


class _Prepared(NamedTuple):
    """The components that prepare the training pairs, in their order."""

    speech_example_gen: BaseComponent
    spectrogram_pair_gen: BaseComponent
    schema_gen: BaseComponent
    statistics_gen: BaseComponent
    example_validator: BaseComponent

    @property
    def pairs(self) -> OutputChannel:
        return self.spectrogram_pair_gen.outputs["pairs"]

    @property
    def schema(self) -> OutputChannel:
        return self.schema_gen.outputs["schema"]


def _prepare(
    config: Config,
    data: str | RuntimeParameter,
    data_digest: str | RuntimeParameter,
    sounds_digest: str | RuntimeParameter,
) -> _Prepared:
    """From recordings to pairs that fit their schema."""
    speech_example_gen = SpeechExampleGen(
        data=data,
        data_digest=data_digest,
        settings=config.speech,
        code_digest=code_digest("components.speech_example_gen"),
    )
    spectrogram_pair_gen = SpectrogramPairGen(
        speech=speech_example_gen.outputs["speech"],
        sample_rate=config.speech.sample_rate,
        spectrogram_settings=config.spectrogram,
        pair_settings=config.pairs,
        sounds_digest=sounds_digest,
        code_digest=code_digest("components.spectrogram_pair_gen"),
    )
    schema_gen = ImportSchemaGen(PAIR_SCHEMA.read_text("utf-8"))
    schema = schema_gen.outputs["schema"]
    statistics_gen = StatisticsGen(examples=spectrogram_pair_gen.outputs["pairs"], schema=schema)
    example_validator = ExampleValidator(
        statistics=statistics_gen.outputs["statistics"],
        schema=schema,
        required_splits=[features.TRAIN, features.CALIBRATION, *_held_out_splits(config)],
    )
    return _Prepared(
        speech_example_gen, spectrogram_pair_gen, schema_gen, statistics_gen, example_validator
    )


def _train(
    config: Config,
    training: TrainingInputs,
    parent: Mapping[str, str],
    epochs: int | RuntimeParameter,
    data_digest: str | RuntimeParameter,
    vertex_job: Mapping[str, Any] | None,
) -> list[BaseComponent]:
    """The Tuner, if there are trials, and the Trainer."""
    provenance = {"code_digest": code_digest("components.trainer"), **parent}
    tuners = []
    if config.tuner.trials:
        tuners = [make_tuner(training, config.tuner, provenance=provenance)]
    trainer = make_trainer(
        training,
        epochs=epochs,
        data_digest=data_digest,
        provenance={"config_digest": config.training_digest(), **provenance},
        hyperparameters=tuners[0].outputs["best_hyperparameters"] if tuners else None,
        vertex_job=vertex_job,
    )
    return [*tuners, trainer]


def _judge(
    config: Config,
    prepared: _Prepared,
    parent: Mapping[str, str],
    trainer: BaseComponent,
    published: str,
    engine: EngineOptions,
) -> list[BaseComponent]:
    """From a trained model to a published one and its report."""
    model = trainer.outputs["model"]
    serving_check = ServingCheck(model, code_digest("components.serving_check"))
    baseline = make_baseline(engine.baseline, candidate=model)
    evaluator = Evaluator(
        examples=prepared.pairs,
        model=model,
        baseline_model=baseline.outputs["model"] if baseline else None,
        settings=config.evaluator,
        splits=_held_out_splits(config),
        base_digest=parent["parent_digest"] if parent.get("parent") == BASE else None,
        code_digest=code_digest("components.evaluator"),
    )
    # Before the Evaluator: a model that cannot be served is neither judged nor a later baseline.
    evaluator.add_upstream_node(serving_check)
    pusher = make_pusher(
        model=model,
        model_blessing=evaluator.outputs["blessing"],
        infra_blessing=serving_check.outputs["infra_blessing"],
        base_directory=published,
        vertex_endpoint=engine.vertex_endpoint,
    )
    speech = prepared.speech_example_gen.outputs
    report = VerificationReport(
        speech=speech["speech"],
        rejects=speech["rejects"],
        recordings=speech["recordings"],
        model=model,
        blessing=evaluator.outputs["blessing"],
        settings=config.report,
        code_digest=code_digest("components.verification_report"),
    )
    # After the Pusher: a good model neither waits for its report nor fails with it.
    report.add_upstream_node(pusher)
    return [*([baseline] if baseline else []), serving_check, evaluator, pusher, report]


def _held_out_splits(config: Config) -> list[str]:
    """The splits of the pairs that a model is judged on."""
    splits = [features.EVAL]
    if config.speech.unseen_speaker_fraction:
        splits.append(features.UNSEEN)
    if config.pairs.has_conditions:
        splits += [features.UNDER_CONDITIONS[split] for split in splits]
    return splits
