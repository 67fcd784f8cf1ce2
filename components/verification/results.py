"""An evaluation as it is stored: every trial with its score, and the metrics."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import pandas as pd

from components.atomic_write import new_folder
from components.errors import SwarError
from components.json_text import to_json
from components.verification.attacks import AcceptedClaims
from components.verification.identification import ClosedSet
from components.verification.open_set import OpenSet
from components.verification.robustness import ConditionMetrics, NonSpeechMetrics
from components.verification.slices import SliceMetrics
from components.verification.trials import Selection
from components.verification.utterances import Unused

SCORES_FILE: Final = "scores.parquet"
ATTACKS_FILE: Final = "attacks.parquet"
METRICS_FILE: Final = "metrics.json"


@dataclass(frozen=True)
class Evaluation:
    """All metrics, and what they were measured on."""

    model: dict[str, Any]
    """`folder`, `model_digest`, `threshold`, `sample_rate`."""
    data: dict[str, str]
    """Folder of each set."""
    trial_list: str | None
    """The file that lists the trials; None where they were chosen here."""
    trained_on: tuple[str, ...]
    """Sets with speakers that the model was trained on: their metrics do not hold for others."""
    calibrated_on: tuple[str, ...]
    """Sets that the model was calibrated on: its thresholds fit their speakers."""
    synthetic_speakers: int
    """Number of speakers that the data calls synthetic, see `manifest_columns`."""
    settings: dict[str, Any]
    """Bounds and seed of the evaluation."""
    selections: tuple[Selection, ...]
    rejected_recordings: tuple[Unused, ...]
    repeated_recordings: int
    """Number repeated because their speech is shorter than the model's window: single words."""
    unusable_utterances: tuple[Unused, ...]
    slices: tuple[SliceMetrics, ...]
    conditions: tuple[ConditionMetrics, ...]
    nonspeech: tuple[NonSpeechMetrics, ...]
    identification: tuple[ClosedSet, ...]
    open_set: tuple[OpenSet, ...]
    attacks: tuple[AcceptedClaims, ...]
    """Claims of recordings to be of the speakers; empty without attacks."""

    def to_json(self) -> str:
        """JSON with null for NaN."""
        return to_json(asdict(self)) + "\n"


def write_evaluation(
    folder: Path, evaluation: Evaluation, trials: pd.DataFrame, claims: pd.DataFrame
) -> None:
    """Writes `metrics.json` and `scores.parquet`; the folder is complete or absent.

    Args:
        folder: new or empty.
        evaluation: the metrics.
        trials: every trial with its score.
        claims: of attacks; written as `attacks.parquet` where there are any.

    Raises:
        SwarError: the folder is not empty or cannot be written.
    """
    try:
        with new_folder(folder) as build:
            trials.to_parquet(build / SCORES_FILE, index=False)
            if len(claims):
                claims.to_parquet(build / ATTACKS_FILE, index=False)
            Path(build, METRICS_FILE).write_text(evaluation.to_json(), "utf-8")
    except OSError as error:
        raise SwarError(
            f"cannot write {folder}: {error.strerror or error}: choose another folder"
        ) from error


def read_trials(folder: Path) -> pd.DataFrame:
    """The table of trials that `write_evaluation` wrote."""
    return pd.read_parquet(folder / SCORES_FILE)
