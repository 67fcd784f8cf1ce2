"""What ML Metadata records of an output folder, and where its artifacts lie."""

from collections.abc import Collection
from functools import cached_property
from pathlib import Path

from ml_metadata import MetadataStore
from ml_metadata.proto.metadata_store_pb2 import Artifact, Event, Execution
from tfx.orchestration.metadata import sqlite_metadata_connection_config

from components.errors import SwarError
from components.model.files import GRAPH, PUBLISHED
from pipeline.failures import one_line
from pipeline.output import results
from pipeline.output.folder import ARTIFACTS, METADATA, check_run, model_digest


class Records:
    """The executions and artifacts of an output folder, and how they are connected.

    Args:
        output: folder of a local run.

    Raises:
        SwarError: no run wrote there, or its records are damaged.
    """

    def __init__(self, output: Path) -> None:
        check_run(output)
        self.output = output.absolute()
        records = self.output / METADATA
        try:
            self._store = MetadataStore(sqlite_metadata_connection_config(str(records)))
        except RuntimeError as error:  # from ML Metadata's C++ code
            raise self._unreadable(one_line(str(error))[:200]) from error

    def latest_outputs(self) -> dict[str, Artifact]:
        """The output artifacts of the newest run, by their output key."""
        return results.latest_outputs(self._store)

    def live(self, type_name: str) -> list[Artifact]:
        """The complete artifacts of a type, the oldest first."""
        found = self._store.get_artifacts_by_type(type_name)
        return sorted(
            (item for item in found if item.state == Artifact.LIVE), key=lambda item: item.id
        )

    def producer(self, artifact: Artifact) -> Execution:
        """The execution that wrote an artifact, not those that took it from the cache."""
        events = self._store.get_events_by_artifact_ids([artifact.id])
        writers = [event.execution_id for event in events if event.type == Event.OUTPUT]
        if not writers:
            raise self._unreadable(f"it does not know what wrote {artifact.uri}")
        return min(self._store.get_executions_by_id(writers), key=lambda item: int(item.id))

    def input(self, execution: Execution, key: str) -> Artifact:
        """The input artifact under a key. Raises SwarError if the execution has none."""
        inputs = self.inputs(execution)
        if key not in inputs:
            raise self._unreadable(f"an execution has no input {key}")
        return inputs[key]

    def inputs(self, execution: Execution) -> dict[str, Artifact]:
        """The input artifacts by input key; of several under one key, the last."""
        return results.artifacts_by_key(self._store, [execution.id], Event.INPUT)

    def outputs(self, execution: Execution) -> dict[str, Artifact]:
        """The output artifacts by output key."""
        return results.artifacts_by_key(self._store, [execution.id], Event.OUTPUT)

    def readers(self, artifact: Artifact, input_key: str) -> list[Execution]:
        """The executions that took an artifact under a key, the newest first."""
        events = self._store.get_events_by_artifact_ids([artifact.id])
        readers = [
            event.execution_id
            for event in events
            if event.type == Event.INPUT and event.path.steps[0].key == input_key
        ]
        executions = self._store.get_executions_by_id(readers)
        return sorted(executions, key=lambda item: int(item.id), reverse=True)

    def made_from(self, artifact: Artifact, types: Collection[str]) -> list[Artifact]:
        """An artifact and those of some types that were made from it, directly or not.

        Artifacts of other types are left out, and so is what was made from them.
        """
        found: dict[int, Artifact] = {}
        waiting = [artifact]
        while waiting:
            current = waiting.pop()
            if current.id in found or current.type not in types:
                continue
            found[current.id] = current
            events = self._store.get_events_by_artifact_ids([current.id])
            readers = {event.execution_id for event in events if event.type == Event.INPUT}
            for execution in self._store.get_executions_by_id(sorted(readers)):
                waiting += self.outputs(execution).values()
        return list(found.values())

    def unfinished(self) -> list[Path]:
        """Folders without a complete artifact, which killed components left behind."""
        found = self._store.get_artifacts()
        live = {Path(item.uri).resolve() for item in found if item.state == Artifact.LIVE}
        folders = (each.resolve() for each in (self.output / ARTIFACTS).glob("*/*/*"))
        return sorted(
            each for each in folders if each.is_dir() and live.isdisjoint((each, *each.parents))
        )

    def withdraw_missing_pushes(self) -> None:
        """Marks the Pusher's records of versions that are gone as deleted.

        TFX's cache looks at the records alone, so a run would name a version that is gone.
        """
        for pushed in self.live("PushedModel"):
            version = results.published_model(pushed)
            if version is not None and not Path(version, GRAPH).is_file():
                pushed.state = Artifact.DELETED
                self._store.put_artifacts([pushed])

    def check_place(self, artifact: Artifact) -> None:
        """Raises SwarError unless an artifact lies in this folder; a copied folder's do not."""
        if not Path(artifact.uri).resolve().is_relative_to(self.output.resolve()):
            raise SwarError(
                f"{self.output} was moved or copied, its records are of {artifact.uri}: name the "
                "folder there, or move this one back"
            )

    def _unreadable(self, fault: str) -> SwarError:
        return SwarError(
            f"{self.output / METADATA} cannot be read ({fault}): bring it back from a copy of the "
            "folder, or run with another output folder"
        )

    @cached_property
    def models_by_digest(self) -> dict[str, Artifact]:
        """The Model artifacts whose files are there, by their models' digests."""
        folders = [(model, Path(model.uri, "Format-Serving")) for model in self.live("Model")]
        for pushed in self.live("PushedModel"):
            if results.published_model(pushed) is not None:
                version = pushed.custom_properties["pushed_version"].string_value
                model = self.input(self.producer(pushed), "model")
                folders.append((model, self.output / PUBLISHED / version))
        return {
            digest: model
            for model, folder in folders
            if (digest := model_digest(folder)) is not None
        }
