"""An output folder with models that were published, as the pipeline records them."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ml_metadata import MetadataStore
from ml_metadata.proto import metadata_store_pb2 as mlmd
from tfx.orchestration.metadata import sqlite_metadata_connection_config

from components.artifacts import RECORDINGS_FILE, REJECTS_FILE, SPANS
from components.model.files import MODEL_CARD


class Output:
    """Writes artifacts, executions and published versions; nothing is trained."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        self.store = MetadataStore(
            sqlite_metadata_connection_config(str(folder / "metadata.sqlite"))
        )
        run = self.store.put_context_type(mlmd.ContextType(name="pipeline_run"))
        self.store.put_contexts([mlmd.Context(type_id=run, name="a run")])

    def train(
        self,
        digest: str,
        rows: Sequence[dict[str, Any]] = (),
        rejects: Sequence[dict[str, Any]] = (),
    ) -> mlmd.Artifact:
        """A model made from recordings."""
        speech = self._artifact("Examples", **{SPANS: json.dumps(["2026-01-02"])})
        written = {"recordings": self._artifact("File"), "rejects": self._artifact("File")}
        _write_rows(Path(written["recordings"].uri, RECORDINGS_FILE), rows)
        _write_rows(Path(written["rejects"].uri, REJECTS_FILE), rejects)
        self._execution("Speech", {}, {"speech": speech, **written}, data="/data")
        pairs = self._artifact("Examples")
        self._execution("Pairs", {"speech": speech}, {"pairs": pairs}, pair_settings="{}")
        model = self._artifact("Model")
        _write_model(Path(model.uri, "Format-Serving"), digest)
        config = dict.fromkeys(("trainer", "speech", "spectrogram", "serving"), "{}")
        provenance = {"config_digest": "c", "code_digest": "e"}
        self._execution(
            "Trainer",
            {"examples": pairs},
            {"model": model},
            custom_config=json.dumps({**config, "provenance": provenance}),
        )
        return model

    def publish(self, model: mlmd.Artifact, version: int) -> None:
        """A version, and the Pusher's record of it."""
        card = json.loads(Path(model.uri, "Format-Serving", MODEL_CARD).read_text())
        folder = self.folder / "published" / str(version)
        _write_model(folder, card["model_digest"])
        pushed = self._artifact("PushedModel", pushed_version=str(version))
        pushed.custom_properties["pushed"].int_value = 1
        pushed.custom_properties["pushed_destination"].string_value = str(folder)
        self.store.put_artifacts([pushed])
        self._execution("Pusher", {"model": model}, {"pushed_model": pushed})

    def calibrate(self, version: int, threshold: float) -> None:
        """A version as `swar calibrate` makes it of the newest, of which nothing is recorded."""
        newest = max(int(folder.name) for folder in (self.folder / "published").iterdir())
        card = json.loads((self.folder / "published" / str(newest) / MODEL_CARD).read_text())
        calibration = {"threshold": threshold, "slope": 1.0, "calibrated_on": {"data": "calls"}}
        _write_model(self.folder / "published" / str(version), card["model_digest"], **calibration)

    def _artifact(self, kind: str, **properties: str) -> mlmd.Artifact:
        type_id = self.store.put_artifact_type(mlmd.ArtifactType(name=kind))
        made = mlmd.Artifact(type_id=type_id, state=mlmd.Artifact.LIVE)
        for name, value in properties.items():
            made.custom_properties[name].string_value = value
        (made.id,) = self.store.put_artifacts([made])
        made.uri = str(self.folder / "artifacts" / kind / str(made.id))
        Path(made.uri).mkdir(parents=True)
        self.store.put_artifacts([made])
        return made

    def _execution(
        self,
        kind: str,
        inputs: dict[str, mlmd.Artifact],
        outputs: dict[str, mlmd.Artifact],
        **properties: str,
    ) -> None:
        type_id = self.store.put_execution_type(mlmd.ExecutionType(name=kind))
        made = mlmd.Execution(type_id=type_id, last_known_state=mlmd.Execution.COMPLETE)
        for name, value in properties.items():
            made.custom_properties[name].string_value = value
        linked = [
            (artifact, mlmd.Event(type=event, path=_path(key)))
            for event, artifacts in ((mlmd.Event.INPUT, inputs), (mlmd.Event.OUTPUT, outputs))
            for key, artifact in artifacts.items()
        ]
        self.store.put_execution(made, linked, [])


def _path(key: str) -> mlmd.Event.Path:
    return mlmd.Event.Path(steps=[mlmd.Event.Path.Step(key=key), mlmd.Event.Path.Step(index=0)])


def _write_rows(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def _write_model(folder: Path, digest: str, **card_entries: Any) -> None:
    card = folder / MODEL_CARD
    card.parent.mkdir(parents=True)
    needed = {"sample_rate": 16_000, "embedding_size": 2, "threshold": 1.0}
    card.write_text(json.dumps({"model_digest": digest, **needed, **card_entries}))
    (folder / "saved_model.pb").write_text(digest)
