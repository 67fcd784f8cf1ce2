"""The pipeline, drawn once: recordings in, a blessed and published model out."""

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path

from ml_metadata.proto import metadata_store_pb2
from tfx.components import Evaluator, StatisticsGen
from tfx.components.schema_gen.import_schema_gen.component import ImportSchemaGen
from tfx.dsl.components.base.base_component import BaseComponent
from tfx.dsl.components.common.resolver import Resolver
from tfx.orchestration.pipeline import Pipeline
from tfx.types import Channel, standard_artifacts

from components import features
from components.baseline import CANDIDATE, LatestOtherBlessedModelStrategy
from components.evaluator.config import eval_config
from components.example_validator.component import ExampleValidator
from components.pusher.component import Pusher
from components.spectrogram_pair_gen.component import SpectrogramPairGen
from components.speech_example_gen.component import SpeechExampleGen
from components.trainer.component import make_trainer
from components.verification_report.component import VerificationReport
from pipeline.code_digest import code_digest
from pipeline.config import Config

PAIR_SCHEMA = Path(__file__).resolve().parents[1] / "schemas" / "spectrogram_pair.pbtxt"


def create_pipeline(
    config: Config,
    *,
    data: str,
    data_digest: str,
    output: str,
    beam_pipeline_args: Sequence[str],
    metadata_connection_config: metadata_store_pb2.ConnectionConfig | None = None,
) -> Pipeline:
    """Connects the components; runs nothing and writes nothing.

    Args:
        config: the settings of every component.
        data: folder or manifest of recordings.
        data_digest: fingerprint of what lies there.
        output: folder, on any filesystem, for artifacts, checkpoints and published models.
        beam_pipeline_args: for the Beam components.
        metadata_connection_config: where runs are recorded; None where the engine does it.
    """
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
        code_digest=code_digest("components.spectrogram_pair_gen"),
    )
    pairs = spectrogram_pair_gen.outputs["pairs"]

    schema_gen = ImportSchemaGen(schema_file=str(PAIR_SCHEMA))
    _reruns_when_changed(schema_gen, hashlib.sha256(PAIR_SCHEMA.read_bytes()).hexdigest())
    schema = schema_gen.outputs["schema"]
    statistics_gen = StatisticsGen(examples=pairs, schema=schema)
    held_out = [features.EVAL]
    if config.speech.unseen_speaker_fraction:
        held_out.append(features.UNSEEN)
    example_validator = ExampleValidator(
        statistics=statistics_gen.outputs["statistics"],
        schema=schema,
        required_splits=[features.TRAIN, features.CALIBRATION, *held_out],
    )

    trainer = make_trainer(
        pairs=pairs,
        schema=schema,
        trainer=config.trainer,
        speech=config.speech,
        spectrogram=config.spectrogram,
        serving=config.serving,
        provenance={
            "config_digest": config.training_digest(),
            "data_digest": data_digest,
            "code_digest": code_digest("components.trainer"),
        },
        checkpoints=os.path.join(output, "checkpoints"),
    )
    trainer.add_upstream_node(example_validator)
    model = trainer.outputs["model"]

    baseline = Resolver(
        strategy_class=LatestOtherBlessedModelStrategy,
        model=Channel(type=standard_artifacts.Model),
        model_blessing=Channel(type=standard_artifacts.ModelBlessing),
        **{CANDIDATE: model},
    ).with_id("Baseline")
    evaluator = Evaluator(
        examples=pairs,
        model=model,
        baseline_model=baseline.outputs["model"],
        eval_config=eval_config(config.evaluator, held_out),
        example_splits=held_out,
    )
    _reruns_when_changed(evaluator, code_digest("components.evaluator"))
    pusher = Pusher(
        model=model,
        model_blessing=evaluator.outputs["blessing"],
        base_directory=os.path.join(output, "published"),
    )
    report = VerificationReport(
        speech=speech_example_gen.outputs["speech"],
        rejects=speech_example_gen.outputs["rejects"],
        model=model,
        blessing=evaluator.outputs["blessing"],
        settings=config.report,
        code_digest=code_digest("components.verification_report"),
    )
    # Behind the Pusher: a good model neither waits for its report nor fails with it.
    report.add_upstream_node(pusher)
    return Pipeline(
        pipeline_name=config.name,
        pipeline_root=os.path.join(output, "artifacts"),
        components=[
            speech_example_gen,
            spectrogram_pair_gen,
            schema_gen,
            statistics_gen,
            example_validator,
            trainer,
            baseline,
            evaluator,
            pusher,
            report,
        ],
        enable_cache=True,
        beam_pipeline_args=list(beam_pipeline_args),
        metadata_connection_config=metadata_connection_config,
    )


def _reruns_when_changed(component: BaseComponent, digest: str) -> None:
    """Makes what TFX's own component does not look at part of its cache key."""
    component.spec.exec_properties["swar_digest"] = digest
