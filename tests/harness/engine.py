"""An engine on this machine: runs a compiled specification task by task, as Vertex would.

Each task is its container's command in a process of its own. It gets an ExecutorInput in the
place of `{{$}}` and writes an ExecutorOutput, which holds the metadata of its artifacts.
"""

import hashlib
import itertools
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any, Final

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
from ruamel.yaml import YAML

from pipeline.failures import RunFailed
from tests.harness.containers import Container, Launcher

Outputs = Mapping[str, ArtifactList]

_METADATA: Final = re.compile(r"\{\{\$\.inputs\.artifacts\['(\w+)'\]\.metadata\['(\w+)'\]\}\}")
_TITLE: Final = re.compile(r'schema_title="([^"]*)"')
_NAME: Final = re.compile(r'name="([^"]*)"')
_NUMBER: Final = re.compile(r"metadata\.(\w+)\.number_value=([-+.\w]+)")
_LOG_TAIL: Final = 20_000


@dataclass(frozen=True)
class TaskRun:
    """How one task ended."""

    name: str
    state: str
    """done, cached, or resolved: no process was needed to find or import artifacts."""
    outputs: Outputs
    fingerprint: str = ""
    """Digest of all that the result of a container depends on."""


def read_spec(path: Path) -> PipelineSpec:
    """The specification of a compiled file."""
    return json_format.ParseDict(YAML(typ="safe").load(path.read_text("utf-8")), PipelineSpec())


class Engine:
    """Runs the specifications of one pipeline, the later with the caches of the earlier.

    Args:
        root: gets a folder for each task that runs, with its log and artifacts.
        launcher: how a container is started.
        start: starts the launcher's command, its output into a file; returns its exit status.
    """

    def __init__(
        self, root: Path, launcher: Launcher, start: Callable[[list[str], Path], int]
    ) -> None:
        self._root = root
        self._launcher = launcher
        self._start = start
        self._numbers = itertools.count(1)
        self.executions: list[TaskRun] = []
        """The finished executions of containers, the oldest first."""

    def run(self, spec: PipelineSpec, parameters: Mapping[str, Any]) -> Iterator[TaskRun]:
        """Runs the tasks in an order that their inputs allow, one after the other.

        Args:
            spec: what was compiled.
            parameters: a value for every runtime parameter.

        Raises:
            RunFailed: a task ended with an error, which is its cause.
        """
        executors = json_format.ParseDict(
            json_format.MessageToDict(spec.deployment_spec), PipelineDeploymentConfig()
        ).executors
        outputs: dict[str, Outputs] = {}
        for name in TopologicalSorter(_dependencies(spec)).static_order():
            task = spec.root.dag.tasks[name]
            component = spec.components[task.component_ref.name]
            executor = executors[component.executor_label]
            executor_input = _executor_input(task, parameters, outputs)
            match executor.WhichOneof("spec"):
                case "container":
                    run = self._contained(name, task, component, executor.container, executor_input)
                case "resolver":
                    run = TaskRun(
                        name, "resolved", self._resolved(executor.resolver, executor_input)
                    )
                case "importer":
                    run = TaskRun(name, "resolved", _imported(name, component, executor.importer))
                case other:
                    raise NotImplementedError(f"{name} is a {other}")
            outputs[name] = run.outputs
            yield run

    def _contained(
        self,
        name: str,
        task: PipelineTaskSpec,
        component: ComponentSpec,
        container: Container,
        executor_input: ExecutorInput,
    ) -> TaskRun:
        fingerprint = _fingerprint(container, component, executor_input)
        if task.caching_options.enable_cache:
            for earlier in reversed(self.executions):
                if earlier.fingerprint == fingerprint:
                    return TaskRun(name, "cached", earlier.outputs)
        number = next(self._numbers)
        folder = self._root / f"{number}-{name}"
        folder.mkdir(parents=True)
        for key, definition in component.output_definitions.artifacts.items():
            executor_input.outputs.artifacts[key].artifacts.add(
                name=f"artifacts/{number}-{key}",
                type=definition.artifact_type,
                uri=str(folder / key),
                metadata=definition.metadata,
            )
        executor_input.outputs.output_file = str(folder / "executor_output.json")
        words = self._launcher(container, json_format.MessageToJson(executor_input, indent=None))
        log = folder / "log.txt"
        if status := self._start(words, log):
            # The traceback's text, which holds the message of a fault of the user.
            cause = RuntimeError(log.read_text("utf-8", errors="replace")[-_LOG_TAIL:])
            raise RunFailed(name, RuntimeError(f"exit status {status}"), log) from cause
        run = TaskRun(name, "done", _outputs(executor_input), fingerprint)
        self.executions.append(run)
        return run

    def _resolved(self, resolver: Any, executor_input: ExecutorInput) -> Outputs:
        """The newest artifact of each query; no artifact where a query needs a missing one."""
        return {
            key: ArtifactList(artifacts=self._newest(query.filter, executor_input.inputs.artifacts))
            for key, query in resolver.output_artifact_queries.items()
        }

    def _newest(self, query: str, inputs: Outputs) -> list[RuntimeArtifact]:
        """One artifact that fulfils every clause of `a AND b AND ...`, or none."""
        if not all(inputs[key].artifacts for key, _ in _METADATA.findall(query)):
            return []
        query = _METADATA.sub(
            lambda match: str(inputs[match[1]].artifacts[0].metadata[match[2]]), query
        )
        for run in reversed(self.executions):
            for output in run.outputs.values():
                for artifact in output.artifacts:
                    if all(_fulfils(artifact, clause) for clause in query.split(" AND ")):
                        return [artifact]
        return []


def _dependencies(spec: PipelineSpec) -> dict[str, set[str]]:
    return {
        name: {
            *task.dependent_tasks,
            *(
                source.task_output_artifact.producer_task
                for source in task.inputs.artifacts.values()
            ),
        }
        for name, task in sorted(spec.root.dag.tasks.items())
    }


def _executor_input(
    task: PipelineTaskSpec, parameters: Mapping[str, Any], outputs: Mapping[str, Outputs]
) -> ExecutorInput:
    executor_input = ExecutorInput()
    for key, source in task.inputs.parameters.items():
        value = source.runtime_value.constant
        if source.WhichOneof("kind") == "component_input_parameter":
            value = parameters[source.component_input_parameter]
            value = json_format.ParseDict(value, struct_pb2.Value())
        executor_input.inputs.parameter_values[key].CopyFrom(value)
    for key, source in task.inputs.artifacts.items():
        origin = source.task_output_artifact
        artifacts = outputs[origin.producer_task].get(origin.output_artifact_key, ArtifactList())
        executor_input.inputs.artifacts[key].CopyFrom(artifacts)
    return executor_input


def _fingerprint(
    container: Container, component: ComponentSpec, executor_input: ExecutorInput
) -> str:
    """Of all that a task's result depends on, as Vertex' cache has it: artifacts by name."""
    inputs = executor_input.inputs
    parts = [
        json_format.MessageToDict(container),
        json_format.MessageToDict(component.output_definitions),
        {key: json_format.MessageToDict(value) for key, value in inputs.parameter_values.items()},
        {key: [item.name for item in held.artifacts] for key, held in inputs.artifacts.items()},
    ]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def run_command(words: list[str], log: Path) -> int:
    """Runs a command whose `python` is this one, its output into a file; the exit status."""
    path = os.pathsep.join([os.path.dirname(sys.executable), os.environ["PATH"]])
    with log.open("wb") as output:
        return subprocess.run(
            words,
            check=False,
            env={**os.environ, "PATH": path},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        ).returncode


def _outputs(executor_input: ExecutorInput) -> Outputs:
    """The planned artifacts, with the metadata that the task wrote of them."""
    text = Path(executor_input.outputs.output_file).read_text("utf-8")
    written = json_format.Parse(text, ExecutorOutput()).artifacts
    outputs = {
        key: ArtifactList(artifacts=planned.artifacts)
        for key, planned in executor_input.outputs.artifacts.items()
    }
    for key, updates in written.items():
        for artifact, update in zip(outputs[key].artifacts, updates.artifacts, strict=True):
            artifact.uri = update.uri or artifact.uri
            artifact.metadata.update(json_format.MessageToDict(update.metadata))
    return outputs


def _imported(name: str, component: ComponentSpec, importer: Any) -> Outputs:
    (key,) = component.output_definitions.artifacts
    uri = importer.artifact_uri.constant.string_value
    artifact = RuntimeArtifact(
        name=f"artifacts/{name}-{uri}",
        type=importer.type_schema,
        uri=uri,
        metadata=importer.metadata,
    )
    return {key: ArtifactList(artifacts=[artifact])}


def _fulfils(artifact: RuntimeArtifact, clause: str) -> bool:
    """Raises NotImplementedError for a clause that TFX's compiler does not write today."""
    if clause == "state=LIVE":
        return True
    if match := _TITLE.fullmatch(clause):
        return bool(YAML(typ="safe").load(artifact.type.instance_schema)["title"] == match[1])
    if match := _NAME.fullmatch(clause):
        return bool(artifact.name == match[1])
    if match := _NUMBER.fullmatch(clause):
        key, number = match.groups()
        return key in artifact.metadata and artifact.metadata[key] == float(number)
    raise NotImplementedError(f"a resolver that asks for {clause}")
