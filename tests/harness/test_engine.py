"""The engine on specifications of small commands, without TFX."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import pytest
from google.protobuf import json_format
from kfp.pipeline_spec.pipeline_spec_pb2 import PipelineSpec

from pipeline.failures import RunFailed, user_error
from tests.harness.containers import on_host
from tests.harness.engine import Engine, TaskRun, run_command

COMMAND = ["python", "-m", "tests.harness.task"]
MODEL, BLESSING = "tfx.Model", "tfx.ModelBlessing"


def _title(title: str) -> dict[str, str]:
    return {"instanceSchema": f"title: {title}\ntype: object\n"}


def _parameter(value: Any) -> dict[str, Any]:
    if isinstance(value, str) and value.startswith("$"):
        return {"componentInputParameter": value[1:]}
    return {"runtimeValue": {"constant": value}}


def _from(task: str, key: str) -> dict[str, Any]:
    return {"taskOutputArtifact": {"producerTask": task, "outputArtifactKey": key}}


class _Pipeline:
    """Builds a specification as TFX's compiler lays it out."""

    def __init__(self) -> None:
        self.tasks: dict[str, Any] = {}
        self.components: dict[str, Any] = {}
        self.executors: dict[str, Any] = {}

    def add(
        self, name: str, outputs: dict[str, str], executor: dict[str, Any], **task: Any
    ) -> Self:
        self.tasks[name] = {"componentRef": {"name": name}, **task}
        self.components[name] = {
            "executorLabel": name,
            "outputDefinitions": {
                "artifacts": {key: {"artifactType": _title(t)} for key, t in outputs.items()}
            },
        }
        self.executors[name] = executor
        return self

    def container(
        self,
        name: str,
        outputs: dict[str, str],
        parameters: dict[str, Any] | None = None,
        artifacts: dict[str, Any] | None = None,
        command: Sequence[str] = COMMAND,
    ) -> Self:
        return self.add(
            name,
            outputs,
            {"container": {"image": "i", "command": list(command), "args": ["{{$}}"]}},
            cachingOptions={"enableCache": True},
            inputs={
                "parameters": {key: _parameter(v) for key, v in (parameters or {}).items()},
                "artifacts": artifacts or {},
            },
        )

    def run(self, engine: Engine, **parameters: Any) -> dict[str, TaskRun]:
        tree = {
            "pipelineInfo": {"name": "small"},
            "root": {"dag": {"tasks": self.tasks}},
            "components": self.components,
            "deploymentSpec": {"executors": self.executors},
        }
        spec = json_format.ParseDict(tree, PipelineSpec())
        return {run.name: run for run in engine.run(spec, parameters)}


@pytest.fixture
def engine(tmp_path: Path) -> Engine:
    return Engine(tmp_path, on_host, run_command)


def _trained(quality: int) -> _Pipeline:
    """A trainer, and TFX's pair of resolvers before an evaluator."""
    query = 'schema_title="tfx.ModelBlessing" AND state=LIVE AND metadata.blessed.number_value=1'
    by_name = (
        'schema_title="tfx.Model" AND state=LIVE AND '
        "name=\"{{$.inputs.artifacts['input'].metadata['current_model_id']}}\""
    )
    return (
        _Pipeline()
        .container("Trainer", {"model": MODEL}, {"quality": quality})
        .add(
            "Found-blessing",
            {"model_blessing": BLESSING},
            {"resolver": {"outputArtifactQueries": {"model_blessing": {"filter": query}}}},
        )
        .add(
            "Found-model",
            {"model": MODEL},
            {"resolver": {"outputArtifactQueries": {"model": {"filter": by_name}}}},
            inputs={"artifacts": {"input": _from("Found-blessing", "model_blessing")}},
        )
        .container(
            "Evaluator",
            {"blessing": BLESSING},
            {"blessed": int(quality > 0)},
            {"baseline": _from("Found-model", "model"), "model": _from("Trainer", "model")},
        )
    )


def _name(run: TaskRun, key: str) -> str:
    return str(run.outputs[key].artifacts[0].name)


def test_artifacts_are_handed_on_with_the_metadata_of_their_task(
    engine: Engine, tmp_path: Path
) -> None:
    runs = _trained(3).run(engine)
    model = runs["Trainer"].outputs["model"].artifacts[0]
    assert Path(model.uri).is_dir()
    assert model.metadata["quality"] == 3
    blessing = runs["Evaluator"].outputs["blessing"].artifacts[0]
    assert blessing.metadata["current_model_id"] == model.name
    assert blessing.metadata["seen"] == model.uri
    assert (tmp_path / "1-Trainer" / "log.txt").read_text() == "working\n"


def test_a_repeated_run_is_cached_until_something_changes(engine: Engine) -> None:
    first = _trained(3).run(engine)
    assert {run.state for run in first.values()} == {"done", "resolved"}
    again = _trained(3).run(engine)
    # The first run's model is the baseline now: what compares is run again, once.
    assert (again["Trainer"].state, again["Evaluator"].state) == ("cached", "done")
    assert _name(again["Trainer"], "model") == _name(first["Trainer"], "model")
    assert {run.state for run in _trained(3).run(engine).values()} == {"cached", "resolved"}
    assert _trained(4).run(engine)["Trainer"].state == "done"


def test_the_baseline_is_the_last_blessed_model(engine: Engine) -> None:
    first = _trained(3).run(engine)
    assert list(first["Found-model"].outputs["model"].artifacts) == []
    _trained(0).run(engine)  # is not blessed
    third = _trained(5).run(engine)
    assert _name(third["Found-model"], "model") == _name(first["Trainer"], "model")


def test_runtime_parameters_reach_the_tasks_and_the_cache(engine: Engine) -> None:
    pipeline = _Pipeline().container("Trainer", {"model": MODEL}, {"epochs": "$epochs"})
    run = pipeline.run(engine, epochs=3)["Trainer"]
    assert run.outputs["model"].artifacts[0].metadata["epochs"] == 3
    assert pipeline.run(engine, epochs=4)["Trainer"].state == "done"
    assert pipeline.run(engine, epochs=3)["Trainer"].state == "cached"


def test_an_importer_gives_what_lies_elsewhere(engine: Engine) -> None:
    importer = {
        "importer": {
            "artifactUri": {"constant": "gs://b/model"},
            "typeSchema": _title(MODEL),
        }
    }
    pipeline = (
        _Pipeline()
        .add("Baseline", {"model": MODEL}, importer)
        .container("Evaluator", {"out": BLESSING}, {}, {"baseline": _from("Baseline", "model")})
    )
    runs = pipeline.run(engine)
    assert runs["Evaluator"].outputs["out"].artifacts[0].metadata["seen"] == "gs://b/model"
    assert pipeline.run(engine)["Evaluator"].state == "cached"


def test_a_fault_ends_the_run_and_is_not_cached(engine: Engine) -> None:
    pipeline = _Pipeline().container("Trainer", {"model": MODEL}, {"fault": "no speech: add some"})
    for _ in range(2):
        with pytest.raises(
            RunFailed, match=r"^Trainer failed \(RuntimeError: exit status 1\)"
        ) as end:
            pipeline.run(engine)
        assert user_error(end.value) == "no speech: add some"
        assert engine.executions == []


def test_what_it_cannot_do_is_an_error(engine: Engine) -> None:
    query = {"resolver": {"outputArtifactQueries": {"x": {"filter": "create_time>1"}}}}
    _trained(3).run(engine)
    with pytest.raises(NotImplementedError, match="a resolver that asks for create_time>1"):
        _Pipeline().add("Found", {"x": MODEL}, query).run(engine)
    with pytest.raises(NotImplementedError, match=r"placeholder \{\{\$.inputs.uri"):
        _Pipeline().container("A", {}, command=["python", "-m", "{{$.inputs.uri}}"]).run(engine)


def test_executions_of_containers_are_kept_in_their_order(engine: Engine) -> None:
    _trained(3).run(engine)
    assert [run.name for run in engine.executions] == ["Trainer", "Evaluator"]
    (model,) = engine.executions[0].outputs["model"].artifacts
    assert json_format.MessageToDict(model.metadata) == {"quality": 3.0}
