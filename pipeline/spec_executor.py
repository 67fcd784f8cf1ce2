"""Runs a compiled specification on this machine, task by task, as Vertex would.

Each task is its container's command in a process of its own: it gets an ExecutorInput in the
place of `{{$}}`, and what it says of its artifacts is read from its ExecutorOutput.
"""

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any, Final

import yaml
from google.protobuf import json_format, struct_pb2
from kfp.pipeline_spec.pipeline_spec_pb2 import (
    ArtifactList,
    ComponentSpec,
    ExecutorInput,
    ExecutorOutput,
    PipelineDeploymentConfig,
    PipelineSpec,
    PipelineTaskSpec,
    RuntimeArtifact,
)

from pipeline.failures import RunFailed
from pipeline.spec_store import Outputs, Store
from pipeline.task_commands import Container, Launcher

_METADATA: Final = re.compile(r"\{\{\$\.inputs\.artifacts\['(\w+)'\]\.metadata\['(\w+)'\]\}\}")
_LOG_TAIL: Final = 20_000


@dataclass(frozen=True)
class TaskRun:
    """How one task ended."""

    name: str
    state: str
    """done, cached, or resolved: nothing was run to find or import artifacts."""
    outputs: Outputs


def read_spec(path: Path) -> PipelineSpec:
    """The specification of a compiled file."""
    return json_format.ParseDict(yaml.safe_load(path.read_text("utf-8")), PipelineSpec())


def execute(
    spec: PipelineSpec,
    parameters: Mapping[str, Any],
    root: Path,
    launcher: Launcher,
) -> Iterator[TaskRun]:
    """Runs the tasks in an order that their inputs allow, one after the other.

    Args:
        spec: what was compiled.
        parameters: a value for every runtime parameter.
        root: gets a folder named for the pipeline, with `executions/` (what every task left
            behind, for caches and resolvers), and log and artifacts of each task that ran.
        launcher: how a container is started.

    Raises:
        RunFailed: a task ended with an error, which is its cause.
    """
    folder = root / spec.pipeline_info.name
    store = Store(folder / "executions")
    run = _Run(spec, parameters, folder, store, launcher)
    for name in TopologicalSorter(_dependencies(spec)).static_order():
        yield run.task(name)


class _Run:
    def __init__(
        self,
        spec: PipelineSpec,
        parameters: Mapping[str, Any],
        root: Path,
        store: Store,
        launcher: Launcher,
    ) -> None:
        self._spec = spec
        self._executors = json_format.ParseDict(
            json_format.MessageToDict(spec.deployment_spec),
            PipelineDeploymentConfig(),
        ).executors
        self._parameters = parameters
        self._root = root
        self._store = store
        self._launcher = launcher
        self._outputs: dict[str, Outputs] = {}

    def task(self, name: str) -> TaskRun:
        """Runs one task whose inputs are there."""
        task = self._spec.root.dag.tasks[name]
        executor = self._executors[self._component(task).executor_label]
        match executor.WhichOneof("spec"):
            case "container":
                ended = self._contained(name, task, executor.container)
            case "resolver":
                ended = TaskRun(name, "resolved", self._resolved(task, executor.resolver))
            case "importer":
                ended = TaskRun(name, "resolved", self._imported(name, task, executor.importer))
            case other:
                raise NotImplementedError(f"{name} is a {other}")
        self._outputs[name] = ended.outputs
        return ended

    def _component(self, task: PipelineTaskSpec) -> ComponentSpec:
        return self._spec.components[task.component_ref.name]

    def _contained(
        self,
        name: str,
        task: PipelineTaskSpec,
        container: Container,
    ) -> TaskRun:
        told = self._inputs(task)
        fingerprint = _fingerprint(container, self._component(task), told)
        if task.caching_options.enable_cache:
            cached = self._store.cached(fingerprint)
            if cached is not None:
                return TaskRun(name, "cached", cached)
        number = self._store.next_number()
        folder = self._root / f"{name}_{number:06d}"
        if folder.exists():  # of a task that failed or was killed: no execution has its number
            shutil.rmtree(folder)
        folder.mkdir()
        self._plan_outputs(told, task, folder, number)
        said = json_format.MessageToJson(told, indent=None, sort_keys=True)
        _run_command(name, self._launcher(container, said), folder / "log.txt")
        outputs = _said(told)
        self._store.record(number, name, fingerprint, outputs)
        return TaskRun(name, "done", outputs)

    def _inputs(self, task: PipelineTaskSpec) -> ExecutorInput:
        told = ExecutorInput()
        for key, given in task.inputs.parameters.items():
            told.inputs.parameter_values[key].CopyFrom(self._value(given))
        for key, given in task.inputs.artifacts.items():
            source = given.task_output_artifact
            held = self._outputs[source.producer_task].get(source.output_artifact_key)
            told.inputs.artifacts[key].CopyFrom(held or ArtifactList())
        return told

    def _value(self, given: Any) -> struct_pb2.Value:
        match given.WhichOneof("kind"):
            case "runtime_value":
                return given.runtime_value.constant
            case "component_input_parameter":
                value = self._parameters[given.component_input_parameter]
                return json_format.ParseDict(value, struct_pb2.Value())
            case other:
                raise NotImplementedError(f"a parameter from {other}")

    def _plan_outputs(
        self, told: ExecutorInput, task: PipelineTaskSpec, folder: Path, number: int
    ) -> None:
        """Says where the artifacts go and how the metadata store knows them."""
        for key, defined in self._component(task).output_definitions.artifacts.items():
            told.outputs.artifacts[key].artifacts.add(
                name=f"artifacts/{number}-{key}",
                type=defined.artifact_type,
                uri=str(folder / key),
                metadata=defined.metadata,
            )
        told.outputs.output_file = str(folder / "executor_output.json")

    def _resolved(self, task: PipelineTaskSpec, resolver: Any) -> Outputs:
        """The newest artifact of each query; no artifact where a query needs one that is not."""
        inputs = self._inputs(task).inputs.artifacts
        found: dict[str, ArtifactList] = {}
        for key, asked in resolver.output_artifact_queries.items():
            query = _filled(asked.filter, inputs)
            newest = None if query is None else self._store.newest(query)
            found[key] = ArtifactList(artifacts=[] if newest is None else [newest])
        return found

    def _imported(self, name: str, task: PipelineTaskSpec, importer: Any) -> Outputs:
        (key,) = self._component(task).output_definitions.artifacts
        uri = importer.artifact_uri.constant.string_value
        artifact = RuntimeArtifact(
            name=f"artifacts/{name}-{hashlib.sha256(uri.encode()).hexdigest()[:16]}",
            type=importer.type_schema,
            uri=uri,
            metadata=importer.metadata,
        )
        return {key: ArtifactList(artifacts=[artifact])}


def _dependencies(spec: PipelineSpec) -> dict[str, set[str]]:
    return {
        name: {
            *task.dependent_tasks,
            *(given.task_output_artifact.producer_task for given in task.inputs.artifacts.values()),
        }
        for name, task in sorted(spec.root.dag.tasks.items())
    }


def _fingerprint(
    container: Container,
    component: ComponentSpec,
    told: ExecutorInput,
) -> str:
    """Of all that a task's result depends on, as Vertex' cache has it: artifacts by name."""
    names = {
        key: [artifact.name for artifact in held.artifacts]
        for key, held in told.inputs.artifacts.items()
    }
    parts = [
        json_format.MessageToDict(container),
        json_format.MessageToDict(component.output_definitions),
        {
            key: json_format.MessageToDict(value)
            for key, value in told.inputs.parameter_values.items()
        },
        names,
    ]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _run_command(name: str, words: list[str], log: Path) -> None:
    """Runs a command whose `python` is this one, and keeps what it says."""
    scripts = os.path.dirname(sys.executable)
    environment = {**os.environ, "PATH": os.pathsep.join([scripts, os.environ["PATH"]])}
    with log.open("wb") as output:
        status = subprocess.run(
            words,
            check=False,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        ).returncode
    if status:
        # The traceback's text, in which the fault of a user is found.
        cause = RuntimeError(log.read_text("utf-8", errors="replace")[-_LOG_TAIL:])
        raise RunFailed(name, RuntimeError(f"exit status {status}"), log) from cause


def _said(told: ExecutorInput) -> dict[str, ArtifactList]:
    """The planned artifacts, with what the task said of them."""
    outputs = {
        key: ArtifactList(artifacts=held.artifacts) for key, held in told.outputs.artifacts.items()
    }
    text = Path(told.outputs.output_file).read_text("utf-8")
    said = json_format.Parse(text, ExecutorOutput())
    for key, held in said.artifacts.items():
        for planned, artifact in zip(outputs[key].artifacts, held.artifacts, strict=True):
            planned.uri = artifact.uri or planned.uri
            planned.metadata.update(json_format.MessageToDict(artifact.metadata))
    return outputs


def _filled(query: str, inputs: Mapping[str, ArtifactList]) -> str | None:
    """A resolver's filter with its inputs' metadata in place; None where an input is missing."""
    missing = [key for key, _ in _METADATA.findall(query) if not inputs[key].artifacts]
    if missing:
        return None
    return _METADATA.sub(lambda match: str(inputs[match[1]].artifacts[0].metadata[match[2]]), query)
