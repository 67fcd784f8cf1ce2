"""TFX's Trainer, with the settings of Swar's training."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

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


class Trainer(TfxTrainer):
    """TFX's Trainer, with Swar's executor."""

    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(Executor)


@dataclass(frozen=True)
class TrainingInputs:
    """Inputs that the Trainer and the Tuner share."""

    pairs: types.BaseChannel
    """SpectrogramPairGen's output."""
    schema: types.BaseChannel
    """Schema of the pairs."""
    trainer: TrainerSettings
    """Settings of the training."""
    speech: SpeechSettings
    """How the recordings were cleaned; stored with the model."""
    spectrogram: SpectrogramSettings
    """The window; gives the tower its shape."""
    serving: ServingSettings
    """What recordings the exported model takes."""
    checkpoints: str
    """Local folder from which a killed training resumes."""
    gpus: int = 0
    """GPUs that TensorFlow must see where it trains; with fewer the node fails."""

    def of_node(self, **custom_config: Any) -> dict[str, Any]:
        """Arguments of TFX's nodes; those given here go into the custom config too."""
        return {
            "examples": self.pairs,
            "schema": self.schema,
            "train_args": trainer_pb2.TrainArgs(splits=[features.TRAIN]),
            "eval_args": trainer_pb2.EvalArgs(splits=[features.CALIBRATION, features.EVAL]),
            "custom_config": {
                "speech": self.speech.model_dump_json(),
                "spectrogram": self.spectrogram.model_dump_json(),
                "serving": self.serving.model_dump_json(),
                "checkpoints": self.checkpoints,
                "gpus": self.gpus,
                **custom_config,
            },
        }


def make_trainer(
    inputs: TrainingInputs,
    *,
    epochs: int | RuntimeParameter,
    data_digest: str | RuntimeParameter,
    provenance: dict[str, str],
    hyperparameters: types.BaseChannel | None = None,
    vertex_job: Mapping[str, Any] | None = None,
) -> TfxTrainer:
    """The Trainer node.

    Args:
        inputs: pairs and settings.
        epochs: replaces that of the settings.
        data_digest: fingerprint of the recordings, stored in the model.
        provenance: digests of the settings and the code, stored in the model. A change of
            any of them reruns the training.
        hyperparameters: the Tuner's, which replace settings of the trainer.
        vertex_job: custom config of TFX's Vertex Trainer; None to train in the node's own
            container or process.
    """
    made = _kind(vertex_job)(
        run_fn="components.trainer.run_fn.run_fn",
        hyperparameters=hyperparameters,
        **inputs.of_node(
            trainer=inputs.trainer.model_dump_json(exclude={"epochs"}),
            provenance=provenance,
            **(vertex_job or {}),
        ),
    ).with_id("Trainer")
    # TFX's spec has no such parameters, and the Trainer's constructor takes no other spec.
    made.spec.exec_properties.update({EPOCHS_KEY: epochs, DATA_DIGEST_KEY: data_digest})
    return made


def make_tuner(
    inputs: TrainingInputs, tuner: TunerSettings, *, provenance: dict[str, str]
) -> BaseComponent:
    """The Tuner node, which searches before the Trainer takes its `best_hyperparameters`.

    Args:
        inputs: pairs and settings.
        tuner: what is searched, and with how many trials.
        provenance: digests of what a trial depends on beyond the pairs and these settings. A
            change of any of them reruns the search.
    """
    from components.trainer.tuning import Tuner  # KerasTuner is imported where it is used

    of_a_trial = inputs.trainer.model_copy(update={"epochs": tuner.epochs})
    return Tuner(
        tuner_fn="components.trainer.tuning.tuner_fn",
        **inputs.of_node(
            tuner=tuner.model_dump_json(),
            trainer=of_a_trial.model_dump_json(),
            provenance=provenance,
        ),
    ).with_id("Tuner")


def _kind(vertex_job: Mapping[str, Any] | None) -> type[TfxTrainer]:
    if vertex_job is None:
        return Trainer
    # Google's libraries take long to import, and only Vertex needs them.
    from components.trainer.vertex import VertexTrainer

    return VertexTrainer
