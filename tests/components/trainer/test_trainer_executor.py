"""What is known only when a run starts reaches the training."""

import json

import pytest
from tfx.components.trainer import executor as tfx_executor
from tfx.types import Channel, standard_artifacts
from tfx.utils import json_utils

from components.settings import (
    ServingSettings,
    SpectrogramSettings,
    SpeechSettings,
    TrainerSettings,
)
from components.trainer.component import TrainingInputs, make_trainer
from components.trainer.executor import Executor
from components.trainer.vertex import VertexExecutor


def _exec_properties(vertex_job=None):
    inputs = TrainingInputs(
        pairs=Channel(type=standard_artifacts.Examples),
        schema=Channel(type=standard_artifacts.Schema),
        trainer=TrainerSettings(epochs=3, margin=2.0),
        speech=SpeechSettings(),
        spectrogram=SpectrogramSettings(),
        serving=ServingSettings(),
        checkpoints="/somewhere",
    )
    node = make_trainer(
        inputs,
        epochs=7,
        data_digest="d",
        provenance={"config_digest": "c", "code_digest": "e"},
        vertex_job=vertex_job,
    )
    assert node.id == "Trainer"
    return node, dict(node.exec_properties)


def test_epochs_and_digest_of_the_run_are_those_of_the_training(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen = {}
    monkeypatch.setattr(
        tfx_executor.GenericExecutor, "Do", lambda _, __, ___, properties: seen.update(properties)
    )
    node, properties = _exec_properties()
    assert node.executor_spec.executor_class is Executor
    before = dict(properties)
    Executor().Do({}, {}, properties)
    completed = json_utils.loads(seen["custom_config"])
    trainer = TrainerSettings.model_validate_json(completed["trainer"])
    assert trainer == TrainerSettings(epochs=7, margin=2.0)
    assert completed["provenance"] == {"config_digest": "c", "code_digest": "e", "data_digest": "d"}
    assert completed["checkpoints"] == "/somewhere"
    assert properties == before


def test_nothing_says_the_epochs_twice() -> None:
    _, properties = _exec_properties()
    assert "epochs" not in json.loads(json_utils.loads(properties["custom_config"])["trainer"])


def test_on_vertex_the_same_executor_trains_in_the_custom_job() -> None:
    node, properties = _exec_properties({"ai_platform_enable_vertex": True})
    assert node.executor_spec.executor_class is VertexExecutor
    assert VertexExecutor()._GetExecutorClass() is Executor
    assert json_utils.loads(properties["custom_config"])["ai_platform_enable_vertex"] is True
