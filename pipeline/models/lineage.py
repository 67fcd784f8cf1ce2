"""Where a published model came from, and which models saw a recording."""

import json
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import tensorflow_model_analysis as tfma
from ml_metadata.proto.metadata_store_pb2 import Artifact, Execution

from components.artifacts import RECORDINGS_FILE, REJECTS_FILE, SPANS
from components.errors import SwarError
from components.evaluator.results import read_metrics
from components.model.files import PUBLISHED
from components.rolled_back import rolled_back_at
from pipeline.models.recording_query import RecordingQuery
from pipeline.output import results
from pipeline.output.folder import calibrated_on, output_and_version, published_versions
from pipeline.output.records import Records

_Row = dict[str, Any]
_Rows = Iterable[_Row]


@dataclass(frozen=True)
class ModelLineage:
    """Everything that a published model was made from, and how it was judged."""

    version: int
    """The version in question."""
    published: dict[int, str]
    """All versions of this model and calibration, with the UTC times that their numbers stand for;
    `no time` for other numbers."""
    is_served: bool
    """Whether the newest version, TensorFlow Serving's choice, is this model and calibration."""
    rolled_back: str | None
    """UTC time of the rollback; None if there was none."""
    model_digest: str
    calibrated_on: dict[str, Any] | None
    """Recordings that `swar calibrate` was given, by name and digest; None where the threshold is
    the training's."""
    trained: str
    """UTC time of the training's end."""
    parent: str | None
    """What the training started from, and its digest; None for random or ImageNet's weights."""
    data: str
    spans: list[str]
    data_digest: str
    recordings: int
    config_digest: str
    """Digest of the settings that a trained model depends on."""
    settings: dict[str, Any]
    """Settings of the data, the pairs and the training."""
    code: dict[str, str]
    """Digest of the source by component."""
    blessed: bool
    not_blessed_because: list[str]
    metrics: dict[str, dict[str, float | None]]
    """Values by split and name."""
    artifact: str
    """Folder of the trained model."""


@dataclass(frozen=True)
class Sighting:
    """A model that was made from a recording."""

    model_digest: str
    versions: list[int]
    """Empty if it was not published."""
    is_served: bool
    trained: str
    recordings: int
    """Number of recordings, more than one for a folder."""
    seconds: dict[str, float]
    """Speech by split: train teaches, calibration sets the threshold, the others only judge."""


@dataclass(frozen=True)
class _Made:
    """The executions that a model came from."""

    trainer: Execution
    pairs: Execution
    speech: Execution
    outputs: dict[str, Artifact]
    """Outputs of `speech`."""


def model_lineage(model: Path) -> ModelLineage:
    """Reads the records of the run that trained a published model.

    Args:
        model: a version's folder; or OUTPUT/published or OUTPUT, which mean the newest.

    Raises:
        SwarError: it is no published model, its records are gone, or it was moved or copied.
    """
    output, version = output_and_version(model)
    records, versions = Records(output), published_versions(output)
    published = versions[version]
    artifact = records.models_by_digest.get(published.model_digest)
    if artifact is None:
        raise SwarError(f"{output} has no records of version {version}: it was trained elsewhere")
    made = _made(records, artifact)
    properties = made.trainer.custom_properties
    config = json.loads(properties["custom_config"].string_value)
    judged = _judged(records, artifact)
    metrics, unmet = _evaluation(judged["evaluation"].uri)
    return ModelLineage(
        version=version,
        published={each: _published_at(each) for each, one in versions.items() if one == published},
        is_served=versions[max(versions)] == published,
        rolled_back=rolled_back_at(artifact.uri),
        model_digest=published.model_digest,
        calibrated_on=calibrated_on(output / PUBLISHED / str(version)),
        trained=_utc(made.trainer.last_update_time_since_epoch / 1_000),
        parent=_parent(config["provenance"]),
        data=made.speech.custom_properties["data"].string_value,
        spans=json.loads(made.outputs["speech"].custom_properties[SPANS].string_value or "[]"),
        data_digest=properties["data_digest"].string_value,
        recordings=len(recordings_of(made.outputs)),
        config_digest=config["provenance"]["config_digest"],
        settings=_settings(made, config),
        code={
            "SpeechExampleGen": made.speech.custom_properties["code_digest"].string_value,
            "SpectrogramPairGen": made.pairs.custom_properties["code_digest"].string_value,
            "Trainer": config["provenance"]["code_digest"],
        },
        blessed=results.is_blessed(judged["blessing"]),
        not_blessed_because=unmet,
        metrics=metrics,
        artifact=artifact.uri,
    )


def models_that_saw(output: Path, recording: str) -> list[Sighting]:
    """The trained models that a recording took part in, the oldest first.

    Args:
        output: folder of a local run.
        recording: path or URI of a file or a folder, or the name of a recording below its data.

    Raises:
        SwarError: no run wrote to `output`, or it was moved or copied.
    """
    query = RecordingQuery(recording)
    return _sightings(output, query.among)


def models_of_speaker(output: Path, speaker: str) -> list[Sighting]:
    """Like `models_that_saw`, of all recordings of a speaker by the name in the data."""
    return _sightings(output, lambda rows, _: [row for row in rows if row["speaker"] == speaker])


def _sightings(output: Path, among: Callable[[_Rows, _Rows], list[_Row]]) -> list[Sighting]:
    """The models that were made from chosen recordings.

    Args:
        output: folder of a local run.
        among: chooses rows of `recordings.jsonl`, given these and those of `rejects.jsonl`.
    """
    records, versions = Records(output), published_versions(output)
    served = versions[max(versions)].model_digest if versions else None
    for model in records.live("Model"):
        records.check_place(model)  # else it would be skipped like one that was cleaned up
    found = []
    for digest, artifact in records.models_by_digest.items():
        made = _made(records, artifact)
        rows = among(recordings_of(made.outputs), rejects_of(made.outputs))
        seconds: defaultdict[str, float] = defaultdict(float)
        for row in rows:
            for split, value in row["splits"].items():
                seconds[split] += value
        if rows:
            found.append(
                Sighting(
                    model_digest=digest,
                    versions=[
                        version for version, one in versions.items() if one.model_digest == digest
                    ],
                    is_served=digest == served,
                    trained=_utc(made.trainer.last_update_time_since_epoch / 1_000),
                    recordings=len(rows),
                    seconds=dict(seconds),
                )
            )
    return sorted(found, key=lambda item: item.trained)


def speech_outputs(records: Records, version: int) -> dict[str, Artifact]:
    """What SpeechExampleGen wrote for a published version, by output key.

    Raises:
        SwarError: its records are gone.
    """
    digest = published_versions(records.output)[version].model_digest
    if digest not in records.models_by_digest:
        raise SwarError(f"{records.output} has no records of version {version}")
    return _made(records, records.models_by_digest[digest]).outputs


def recordings_of(outputs: dict[str, Artifact]) -> list[dict[str, Any]]:
    """The rows about the recordings that SpeechExampleGen used.

    Raises:
        SwarError: the rows are missing or damaged.
    """
    return results.read_rows(Path(outputs["recordings"].uri, RECORDINGS_FILE))


def rejects_of(outputs: dict[str, Artifact]) -> list[dict[str, Any]]:
    """The rows about what SpeechExampleGen did not use.

    Raises:
        SwarError: the rows are missing or damaged.
    """
    return results.read_rows(Path(outputs["rejects"].uri, REJECTS_FILE))


def _made(records: Records, model: Artifact) -> _Made:
    records.check_place(model)
    trainer = records.producer(model)
    pairs = records.producer(records.input(trainer, "examples"))
    speech = records.producer(records.input(pairs, "speech"))
    return _Made(trainer, pairs, speech, records.outputs(speech))


def _judged(records: Records, model: Artifact) -> dict[str, Artifact]:
    """The newest outputs of the Evaluator about a model."""
    for execution in records.readers(model, "model"):
        outputs = records.outputs(execution)
        if {"evaluation", "blessing"} <= outputs.keys():
            return outputs
    raise SwarError(f"{records.output} has no evaluation of {model.uri}: start the run again")


def _evaluation(uri: str) -> tuple[dict[str, dict[str, float | None]], list[str]]:
    """The metrics by split, and phrases for the bounds that are not met."""
    try:
        metrics = results.metrics_by_split(read_metrics(uri))
        return metrics, results.unmet_thresholds(tfma.load_validation_result(uri))
    except Exception as error:  # TFMA asserts that files are there, and raises what TensorFlow does
        raise SwarError(
            f"{uri} cannot be read ({type(error).__name__}): it tells how good the model is, put "
            "it back or train anew"
        ) from error


def _parent(provenance: dict[str, str]) -> str | None:
    if "parent" not in provenance:
        return None
    return f"{provenance['parent']} ({provenance['parent_digest']})"


def _settings(made: _Made, config: dict[str, Any]) -> dict[str, Any]:
    trainer = json.loads(config["trainer"])
    epochs = made.trainer.custom_properties["epochs"].int_value
    pairs = made.pairs.custom_properties["pair_settings"].string_value
    return {
        "speech": json.loads(config["speech"]),
        "spectrogram": json.loads(config["spectrogram"]),
        "pairs": json.loads(pairs),
        "trainer": {**trainer, "epochs": epochs},
        "serving": json.loads(config["serving"]),
    }


def _published_at(version: int) -> str:
    try:
        return _utc(version)
    except (ValueError, OverflowError):
        return "no time"


def _utc(seconds: float) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%SZ}"
