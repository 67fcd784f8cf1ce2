"""What executions of compiled tasks left behind: a metadata store of plain files."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import yaml
from google.protobuf import json_format
from kfp.pipeline_spec.pipeline_spec_pb2 import ArtifactList, RuntimeArtifact

Outputs = Mapping[str, ArtifactList]

_TITLE: Final = re.compile(r'schema_title="([^"]*)"')
_NAME: Final = re.compile(r'name="([^"]*)"')
_NUMBER: Final = re.compile(r"metadata\.(\w+)\.number_value=([-+.\w]+)")
_LIVE: Final = "state=LIVE"


class Store:
    """The finished executions of one pipeline, one JSON file each, in their order."""

    def __init__(self, folder: Path) -> None:
        """Makes the folder where it is missing."""
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder

    def next_number(self) -> int:
        """Greater than that of every execution so far."""
        return max((int(path.name.partition("-")[0]) for path in self._files()), default=0) + 1

    def record(self, number: int, task: str, fingerprint: str, outputs: Outputs) -> None:
        """Keeps a finished execution; its file is complete or absent."""
        described = {
            "task": task,
            "fingerprint": fingerprint,
            "outputs": {key: json_format.MessageToDict(held) for key, held in outputs.items()},
        }
        path = self._folder / f"{number:06d}-{task}.json"
        partial = path.with_suffix(".partial")
        partial.write_text(json.dumps(described, indent=2) + "\n", "utf-8")
        partial.replace(path)

    def cached(self, fingerprint: str) -> dict[str, ArtifactList] | None:
        """The outputs of the newest execution with this fingerprint."""
        for described in self._newest_first():
            if described["fingerprint"] == fingerprint:
                return _outputs(described)
        return None

    def newest(self, query: str) -> RuntimeArtifact | None:
        """The newest artifact that a resolver's filter asks for.

        Raises NotImplementedError for a filter that TFX's compiler does not write today.
        """
        for described in self._newest_first():
            for held in _outputs(described).values():
                for artifact in held.artifacts:
                    if _fits(artifact, query):
                        return artifact
        return None

    def _files(self) -> list[Path]:
        return sorted(self._folder.glob("*.json"))

    def _newest_first(self) -> list[dict[str, Any]]:
        return [json.loads(path.read_text("utf-8")) for path in reversed(self._files())]


def _outputs(described: Mapping[str, Any]) -> dict[str, ArtifactList]:
    return {
        key: json_format.ParseDict(held, ArtifactList())
        for key, held in described["outputs"].items()
    }


def _fits(artifact: RuntimeArtifact, query: str) -> bool:
    """Whether every clause of `a AND b AND ...` holds."""
    return all(_holds(artifact, clause) for clause in query.split(" AND "))


def _holds(artifact: RuntimeArtifact, clause: str) -> bool:
    if clause == _LIVE:
        return True
    if match := _TITLE.fullmatch(clause):
        return bool(yaml.safe_load(artifact.type.instance_schema)["title"] == match[1])
    if match := _NAME.fullmatch(clause):
        return bool(artifact.name == match[1])
    if match := _NUMBER.fullmatch(clause):
        key, number = match.groups()
        return key in artifact.metadata and artifact.metadata[key] == float(number)
    raise NotImplementedError(f"a resolver that asks for {clause}")
