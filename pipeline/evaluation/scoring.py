"""What evaluations have in common: utterances are embedded, trials scored and measured."""

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple

import pandas as pd
from rich.markup import escape
from rich.progress import Progress

from components.conditions import CLEAN, CONDITIONS
from components.errors import SwarError
from components.model_files import read_card
from components.published_model import PublishedModel
from components.recordings.sources import Listing, data_digest, list_recordings
from components.recordings.spans import is_pattern
from components.terminal import Console
from components.verification import utterances
from components.verification.identification import Identification
from components.verification.results import Evaluation, Selection
from components.verification.robustness import ConditionTrials, NonSpeechMetrics, measure_condition
from components.verification.slices import measure_slices
from components.verification.utterances import Cut, EmbeddedUtterances, Unused

CARD_ENTRIES = ("model_digest", "threshold", "sample_rate")


@dataclass(frozen=True)
class EvaluationSettings:
    """What bounds and seeds an evaluation."""

    duration_seconds: tuple[float, ...] = (1.5, 3.0, 5.0, 10.0)
    """Of speech in an utterance; the model's window where that is longer."""
    enrolment_seconds: tuple[float, ...] = (5.0, 10.0, 30.0)
    conditions: tuple[str, ...] = tuple(CONDITIONS)
    """That utterances of one duration are put under, too."""
    condition_seconds: float = 3.0
    """That duration, and that of sounds without speech: the nearest of `duration_seconds`."""
    utterances_per_speaker: int = 20
    """Of each duration."""
    trials_per_class: int = 100_000
    """Same- or different-speaker trials of each set and duration."""
    follow_links: bool = False
    """Whether links in the data that lead out of it are followed."""
    resamples: int = 1_000
    """Of the speakers, for the intervals."""
    seed: int = 0


class SetScores(NamedTuple):
    """What one set gave."""

    trials: list[pd.DataFrame]
    selections: list[Selection]
    conditions: list[ConditionTrials]
    nonspeech: list[NonSpeechMetrics]
    identification: list[Identification]
    rejected: list[Unused]
    unusable: list[Unused]


class ScoredEvaluation(NamedTuple):
    """What was measured, and the trials it was measured on."""

    evaluation: Evaluation
    trials: pd.DataFrame
    """See `trial_table`."""


def name_sets(data: Sequence[str]) -> dict[str, str]:
    """Each folder or manifest by its last part, without the extension of a manifest.

    Raises:
        SwarError: two have the same.
    """
    sets: dict[str, str] = {}
    for path in data:
        whole = path.rstrip("/") if "://" in path else os.path.abspath(path)
        name, extension = os.path.splitext(os.path.basename(whole))
        name = name if extension.lower() in (".csv", ".tsv") else name + extension
        if name in sets:
            raise SwarError(f"two sets are called {name!r}: rename one of the folders")
        sets[name] = whole
    return sets


def list_sets(sets: Mapping[str, str], version: Path, *, follow_links: bool) -> dict[str, Listing]:
    """What each set holds; of a pattern the spans that the training took.

    With others, data that the model was trained on would look like other data.

    Args:
        sets: folder, manifest or pattern of each.
        version: the model's folder.
        follow_links: whether links that lead out of a set are followed; they are too where the
            training followed its.

    Raises:
        SwarError: the data, or the model's card, is at fault.
    """
    speech = read_card(version).get("speech", {})
    rolling_spans = speech.get("rolling_spans")
    return {
        name: list_recordings(
            folder,
            rolling_spans if is_pattern(folder) else None,
            follow_outside_links=follow_links or speech.get("follow_outside_links", False),
        )
        for name, folder in sets.items()
    }


def sets_trained_on(listings: Mapping[str, Listing], served: PublishedModel) -> tuple[str, ...]:
    """Those sets that are the data the model was trained on, as a whole and unchanged."""
    trained_on = served.card.get("data_digest")
    return tuple(name for name, listing in listings.items() if data_digest(listing) == trained_on)


def embed(
    groups: Iterable[Sequence[Cut]],
    served: PublishedModel,
    console: Console,
    *,
    title: str,
    total: int,
) -> EmbeddedUtterances:
    """Lets the model hear utterances, a group at a time.

    Args:
        groups: of utterances, made as they are needed.
        served: the model.
        console: shows the progress if it is a terminal.
        title: what the groups are.
        total: how many they are.
    """
    with Progress(console=console, disable=not console.is_terminal) as progress:
        tracked = progress.track(groups, total=total, description=escape(title))
        return utterances.embed(tracked, served)


def conclude(
    served: PublishedModel,
    sets: dict[str, str],
    settings: EvaluationSettings,
    scores: Sequence[SetScores],
    *,
    trial_list: str | None = None,
    trained_on: tuple[str, ...] = (),
) -> ScoredEvaluation:
    """Measures the trials of all sets.

    Args:
        served: the model.
        sets: folder of each.
        settings: resamples and seed.
        scores: of each set.
        trial_list: the file that named the trials, if one did.
        trained_on: sets whose speakers the model knows.

    Raises:
        SwarError: there is no trial.
    """
    tables = [table for part in scores for table in part.trials if len(table)]
    under_conditions = [
        each.trials for part in scores for each in part.conditions if each.condition != CLEAN
    ]
    if not tables:
        raise SwarError(
            f"no two utterances to compare in {', '.join(sets)}: add recordings, or choose "
            "a shorter --duration"
        )
    clean_trials = pd.concat(tables, ignore_index=True)
    seeded = {"resamples": settings.resamples, "seed": settings.seed}
    slices = measure_slices(clean_trials, **seeded)
    conditions = [measure_condition(each, **seeded) for part in scores for each in part.conditions]
    evaluation = Evaluation(
        model={"folder": str(served.folder), **{name: served.card[name] for name in CARD_ENTRIES}},
        data=sets,
        trial_list=trial_list,
        trained_on=trained_on,
        settings=asdict(settings),
        selections=tuple(each for part in scores for each in part.selections),
        rejected_recordings=tuple(each for part in scores for each in part.rejected),
        unusable_utterances=tuple(each for part in scores for each in part.unusable),
        slices=tuple(slices),
        conditions=tuple(conditions),
        nonspeech=tuple(each for part in scores for each in part.nonspeech),
        identification=tuple(each for part in scores for each in part.identification),
    )
    trials = pd.concat([clean_trials, *under_conditions], ignore_index=True)
    return ScoredEvaluation(evaluation, trials)
