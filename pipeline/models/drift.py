"""Whether the recordings that a model gets are like those that it was trained on."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd

from components.artifacts import RECORDINGS_FILE
from components.errors import SwarError
from components.model.files import PUBLISHED, card_settings, read_card
from components.paths import check_folder
from components.recordings.acoustics import AcousticStatistics, acoustics_of
from components.recordings.cleaning import Cleaner, UnusableRecording
from components.recordings.files import UNCOUNTED_REASONS, File, Reject, companion, files_below
from components.recordings.sources import Recording
from components.recordings.tables import SPEAKERS_FILES
from components.settings import SpeechSettings
from pipeline.models.drift_settings import OUTCOME, DriftSettings
from pipeline.models.lineage import recordings_of, rejects_of, speech_outputs
from pipeline.output.folder import output_and_version
from pipeline.output.records import Records

ACOUSTICS: Final = tuple(field.name for field in fields(AcousticStatistics))
USED: Final = "used"
_UNCOMPARED: Final = UNCOUNTED_REASONS | {"duplicate"}
"""Not compared as outcomes: served recordings are not searched for duplicates."""


@dataclass(frozen=True)
class Compared:
    """One feature of the recordings."""

    feature: str
    training: float | None
    """Median; of the outcome, the share that is used."""
    serving: float | None
    divergence: float | None
    """None where no recording could be measured."""
    allowed: float

    @property
    def has_drifted(self) -> bool:
        """Whether the divergence is larger than allowed."""
        return self.divergence is not None and self.divergence > self.allowed


@dataclass(frozen=True)
class Drift:
    """How far a folder's recordings are from those of a model's training."""

    model: str
    data: str
    training_recordings: int
    serving_recordings: int
    compared: list[Compared]

    @property
    def has_drifted(self) -> bool:
        """Whether any feature has drifted."""
        return any(each.has_drifted for each in self.compared)


def drift(
    model: Path, data: Path, settings: DriftSettings, progress: Callable[[int, int], None]
) -> Drift:
    """Compares recordings with those that a published model's run was given.

    Both sides are prepared alike, by decoding, resampling and silence removal with the model's
    settings; only the edges of served recordings are not trimmed.

    Args:
        model: a version in the output folder that it was trained in, or that folder.
        data: local folder of recordings, including its subfolders.
        settings: bounds.
        progress: called with how many recordings are done, and of how many.

    Raises:
        SwarError: the model, its records or the folder are at fault, or there are too few
            recordings to tell.
    """
    output, version = output_and_version(model)
    folder = output / PUBLISHED / str(version)
    outputs = speech_outputs(Records(output), version)
    training = _training(outputs)
    speech = card_settings(read_card(folder), "speech", SpeechSettings, folder)
    serving = pd.DataFrame(measured(data, speech, progress), columns=training.columns)
    for name, side in (("the training", training), (str(data), serving)):
        if len(side) < settings.min_recordings:
            raise SwarError(
                f"{name} has {len(side)} recordings, too few to tell drift from chance: at least "
                f"{settings.min_recordings} are needed (drift.min_recordings)"
            )
    return Drift(
        model=str(folder),
        data=str(data),
        training_recordings=len(training),
        serving_recordings=len(serving),
        compared=compare(training, serving, settings),
    )


def compare(
    training: pd.DataFrame, serving: pd.DataFrame, settings: DriftSettings
) -> list[Compared]:
    """Compares two tables of recordings, with TFDV's skew comparator.

    Args:
        training, serving: columns ACOUSTICS, NaN where a recording was not used, and OUTCOME.
        settings: bounds.
    """
    import tensorflow_data_validation as tfdv

    bounds = {name: getattr(settings, f"max_{name}") for name in (*ACOUSTICS, OUTCOME)}
    known, served = (
        tfdv.generate_statistics_from_dataframe(side, n_jobs=1) for side in (training, serving)
    )
    schema = tfdv.infer_schema(known)
    for name, bound in bounds.items():
        comparator = tfdv.get_feature(schema, name).skew_comparator
        measured_by = (
            comparator.infinity_norm if name == OUTCOME else comparator.jensen_shannon_divergence
        )
        measured_by.threshold = bound
    anomalies = tfdv.validate_statistics(known, schema, serving_statistics=served)
    divergence = {
        info.path.step[0]: info.skew_measurements[0].value for info in anomalies.drift_skew_info
    }
    return [
        Compared(name, _middle(training[name]), _middle(serving[name]), divergence.get(name), bound)
        for name, bound in bounds.items()
    ]


def measured(
    data: Path, settings: SpeechSettings, progress: Callable[[int, int], None]
) -> Iterator[dict[str, Any]]:
    """Measures every recording below a folder; those that are not used have no acoustics.

    Args:
        data: local folder.
        settings: of silence removal.
        progress: called with how many recordings are done, and of how many.
    """
    cleaner = Cleaner(settings.untrimmed())
    found = _found(data)
    for done, item in enumerate(found):
        progress(done, len(found))
        if isinstance(item, Reject):
            yield {OUTCOME: item.reason}
            continue
        try:
            with cleaner.clean(_recording(item)) as cleaned:
                yield {OUTCOME: USED, **asdict(acoustics_of(cleaned, settings.sample_rate))}
        except UnusableRecording as error:
            yield {OUTCOME: error.reason}


def _middle(column: "pd.Series[Any]") -> float | None:
    if column.name == OUTCOME:
        return float((column == USED).mean())
    known = column.dropna()
    return float(np.median(known)) if len(known) else None


def _training(outputs: dict[str, Any]) -> pd.DataFrame:
    try:
        rows = [
            {OUTCOME: USED, **{name: row[name] for name in ACOUSTICS}}
            for row in recordings_of(outputs)
        ]
    except KeyError as error:
        raise SwarError(
            f"{Path(outputs['recordings'].uri, RECORDINGS_FILE)} was written by another version of "
            f"swar, it lacks {error}: train anew"
        ) from error
    reasons = (row["reason"] for row in rejects_of(outputs))
    rows += [{OUTCOME: reason} for reason in reasons if reason not in _UNCOMPARED]
    return pd.DataFrame(rows, columns=[OUTCOME, *ACOUSTICS])


def _found(data: Path) -> Sequence[File | Reject]:
    check_folder(data)
    data = data.absolute()
    below: Iterable[File | Reject] = files_below(data.parent, data.name, within=data)
    return [
        item
        for item in below
        if (isinstance(item, Reject) and item.reason not in _UNCOMPARED)
        or (isinstance(item, File) and _may_be_recording(Path(item.path).name))
    ]


def _may_be_recording(name: str) -> bool:
    return name not in SPEAKERS_FILES and companion(name) is None


def _recording(file: File) -> Recording:
    return Recording(
        path=file.path,
        speaker="",
        gender="unknown",
        recording=file.name,
        start_seconds=None,
        end_seconds=None,
        size_bytes=file.size_bytes,
        modified=file.modified,
    )
