"""TFX's Trainer, with the settings of Swar's training."""

from collections.abc import Mapping
from typing import Any, Final

from tfx import types
from tfx.components import Trainer as TfxTrainer
from tfx.dsl.components.base import executor_spec
from tfx.dsl.components.base.base_component import BaseComponent
from tfx.orchestration.data_types import RuntimeParameter
from tfx.proto import trainer_pb2

from components import features
from components.settings import (
    ServingSettings,
    SpectrogramSettings,
    SpeechSettings,
    TrainerSettings,
    TunerSettings,
)
from components.trainer.executor import DATA_DIGEST_KEY, EPOCHS_KEY, Executor

TRAIN_ARGS: Final = trainer_pb2.TrainArgs(splits=[features.TRAIN])
EVAL_ARGS: Final = trainer_pb2.EvalArgs(splits=[features.CALIBRATION, features.EVAL])


class Trainer(TfxTrainer):
    """TFX's Trainer, with Swar's executor."""

    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(Executor)


def make_trainer(
    *,
    pairs: types.BaseChannel,
    schema: types.BaseChannel,
    trainer: TrainerSettings,
    speech: SpeechSettings,
    spectrogram: SpectrogramSettings,
    serving: ServingSettings,
    epochs: int | RuntimeParameter,
    data_digest: str | RuntimeParameter,
    provenance: dict[str, str],
    checkpoints: str,
    hyperparameters: types.BaseChannel | None = None,
    gpus: int = 0,
    vertex_job: Mapping[str, Any] | None = None,
) -> TfxTrainer:
    """The Trainer node.

    Args:
        pairs: SpectrogramPairGen's output.
        schema: of the pairs.
        trainer: how to train.
        speech: how the recordings were cleaned; travels with the model.
        spectrogram: the window; gives the tower its shape.
        serving: what the exported model takes.
        epochs: in place of the trainer's.
        data_digest: fingerprint of the recordings, stored in the model.
        provenance: digests of the settings and the code, stored in the model. A change of
            any of them reruns the training.
        checkpoints: local folder in which a killed training finds its state again.
        hyperparameters: the Tuner's, which replace settings of the trainer.
        gpus: that TensorFlow must see where it trains; with fewer the node fails.
        vertex_job: what TFX's Vertex Trainer gets in its custom config; None to train in
            the node's own container or process.
    """
    made = _kind(vertex_job)(
        run_fn="components.trainer.run_fn.run_fn",
        examples=pairs,
        schema=schema,
        hyperparameters=hyperparameters,
        train_args=TRAIN_ARGS,
        eval_args=EVAL_ARGS,
        custom_config={
            "trainer": trainer.model_dump_json(exclude={"epochs"}),
            **_front_end(speech, spectrogram, serving),
            "provenance": provenance,
            "checkpoints": checkpoints,
            "gpus": gpus,
            **(vertex_job or {}),
        },
    ).with_id("Trainer")
    # TFX's spec has no such parameters, and the Trainer's constructor takes no other spec.
    made.spec.exec_properties.update({EPOCHS_KEY: epochs, DATA_DIGEST_KEY: data_digest})
    return made


def make_tuner(
    *,
    pairs: types.BaseChannel,
    schema: types.BaseChannel,
    tuner: TunerSettings,
    trainer: TrainerSettings,
    speech: SpeechSettings,
    spectrogram: SpectrogramSettings,
    serving: ServingSettings,
    provenance: dict[str, str],
    checkpoints: str,
    gpus: int = 0,
) -> BaseComponent:
    """The Tuner node, which searches before the Trainer takes its `best_hyperparameters`.

    Args:
        tuner: what is searched, and how often.
        provenance: digests of what a trial depends on beyond the pairs and these settings. A
            change of any of them searches anew.

    The other arguments are those of `make_trainer`.
    """
    from components.trainer.tuning import Tuner  # KerasTuner is imported where it is used

    of_a_trial = trainer.model_copy(update={"epochs": tuner.epochs})
    return Tuner(
        tuner_fn="components.trainer.tuning.tuner_fn",
        examples=pairs,
        schema=schema,
        train_args=TRAIN_ARGS,
        eval_args=EVAL_ARGS,
        custom_config={
            "tuner": tuner.model_dump_json(),
            "trainer": of_a_trial.model_dump_json(),
            **_front_end(speech, spectrogram, serving),
            "provenance": provenance,
            "checkpoints": checkpoints,
            "gpus": gpus,
        },
    ).with_id("Tuner")


def _front_end(
    speech: SpeechSettings, spectrogram: SpectrogramSettings, serving: ServingSettings
) -> dict[str, str]:
    """The part of a custom config that says how a recording becomes windows."""
    return {
        "speech": speech.model_dump_json(),
        "spectrogram": spectrogram.model_dump_json(),
        "serving": serving.model_dump_json(),
    }


def _kind(vertex_job: Mapping[str, Any] | None) -> type[TfxTrainer]:
    if vertex_job is None:
        return Trainer
    # Google's libraries take long to import, and only Vertex needs them.
    from components.trainer.vertex import VertexTrainer

    return VertexTrainer
