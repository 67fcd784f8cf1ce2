"""The model judged on the speech that it did not learn from."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from components import features
from components.errors import SwarError
from components.settings import ReportSettings
from components.verification.error_rates import TARGET
from components.verification.identification import Identification, identify_each
from components.verification.results import Selection
from components.verification.robustness import ConditionTrials, NonSpeechMetrics
from components.verification.scoring import score
from components.verification.trials import choose_trials
from components.verification.utterances import EmbeddedUtterances, Model, embed
from components.verification_report.condition_judging import judge_conditions
from components.verification_report.pieces import Piece, choose_places, cut

# Judged on, the more telling last.
SETS = (features.EVAL, features.UNSEEN)
# Of the durations there are, the nearest is what speakers are enrolled with, piece by piece, and
# what is asked about.
IDENTIFIED_SECONDS = 5.0
# Of each kind: a rate of fewer is a matter of chance.
ENOUGH_TRIALS = 20


class Judged(NamedTuple):
    """Every score, and what the scores are of."""

    trials: pd.DataFrame
    """See `trial_table`; `set` is the split."""
    selections: list[Selection]
    identification: list[Identification]
    embedded: EmbeddedUtterances
    headline: str
    """The split that the first figures are of: unseen speakers where there are any."""
    detail_seconds: float
    """The duration that curves, maps and pairs are shown for."""
    conditions: list[ConditionTrials]
    """Some of its trials under every condition, split by split."""
    nonspeech: list[NonSpeechMetrics]


def judge(
    pieces: Sequence[Piece], model: Model, window_samples: int, settings: ReportSettings
) -> Judged:
    """Cuts utterances, lets the model hear them and compares them, split by split.

    Args:
        pieces: of all splits.
        model: hears and compares.
        window_samples: the model's window.
        settings: bounds and seed.

    Raises:
        SwarError: there are no two utterances of one speaker, or of two.
    """
    judged_on = [piece for piece in pieces if piece.split in SETS]
    (sample_rate,) = {piece.sample_rate for piece in pieces}
    places = choose_places(judged_on, window_samples, sample_rate, settings)
    embedded = embed(cut(places.of_piece), model)
    tables, selections = [], []
    for split in SETS:
        for seconds in sorted({found for of, found in places.possible if of == split}):
            part = _part(embedded, split, seconds)
            if part.utterances.empty:
                continue
            trials, selection = score(
                part,
                choose_trials(part.utterances, settings.trials_per_class, settings.seed),
                model,
                set_name=split,
                duration_seconds=seconds,
                utterances_possible=places.possible[split, seconds],
            )
            tables.append(trials)
            selections.append(selection)
    headline, detail = _detail(selections, settings.detail_seconds)
    parts = [_part(embedded, split, detail).utterances for split in SETS]
    under_conditions = [
        found
        for part in parts
        if (found := judge_conditions(judged_on, part, model, settings)) is not None
    ]
    return Judged(
        pd.concat([table for table in tables if len(table)], ignore_index=True),
        selections,
        _identification(embedded, model, settings),
        embedded,
        headline,
        detail,
        [trials for part in under_conditions for trials in part.trials],
        [part.nonspeech for part in under_conditions],
    )


def _identification(
    embedded: EmbeddedUtterances, model: Model, settings: ReportSettings
) -> list[Identification]:
    """Of every split, with every amount of enrolment for which there is enough speech."""
    seconds = min(
        embedded.utterances["duration_seconds"].unique().tolist(),
        key=lambda each: (abs(each - IDENTIFIED_SECONDS), each),
    )
    parts = (_part(embedded, split, seconds) for split in SETS)
    return [
        found
        for part in parts
        for found in identify_each(
            part.utterances,
            part.embeddings,
            model.score,
            enrolment_seconds=settings.enrolment_seconds,
            piece_seconds=seconds,
            query_seconds=seconds,
            resamples=settings.resamples,
            seed=settings.seed,
        )
    ]


def _part(embedded: EmbeddedUtterances, split: str, seconds: float) -> EmbeddedUtterances:
    """The utterances of one split and duration, in the order of their names."""
    utterances = embedded.utterances.reset_index(drop=True)
    wanted = utterances[
        (utterances["set"] == split) & (utterances["duration_seconds"] == seconds)
    ].sort_values(["speaker", "recording", "start_seconds"])
    return EmbeddedUtterances(wanted, embedded.embeddings[wanted.index], [])


def _detail(selections: Sequence[Selection], wanted_seconds: float) -> tuple[str, float]:
    """The more telling split that has trials of both kinds, and of its durations the nearest.

    One with few trials is taken only where all are so.
    """
    usable = [each for each in selections if each.similar and each.dissimilar]
    if not usable:
        raise SwarError(
            "too little speech to report on: no split has trials of both kinds: add speech, or "
            "set report.duration_seconds to shorter ones"
        )
    headline = max(usable, key=lambda each: SETS.index(each.set)).set
    own = [each for each in usable if each.set == headline]
    own = [each for each in own if has_enough(each.similar, each.dissimilar)] or own
    seconds = [each.duration_seconds for each in own]
    return headline, min(seconds, key=lambda each: (abs(each - wanted_seconds), each))


def has_enough(targets: int, nontargets: int) -> bool:
    """Whether so many trials of each kind are worth a rate."""
    return min(targets, nontargets) >= ENOUGH_TRIALS


def detail_trials(judged: Judged, split: str) -> pd.DataFrame:
    """The trials that curves, maps and pairs of a split are drawn from; empty where it has none."""
    trials = judged.trials
    part = trials[(trials["set"] == split) & (trials["duration_seconds"] == judged.detail_seconds)]
    return part.reset_index(drop=True)


def has_both_classes(trials: pd.DataFrame) -> bool:
    """Whether error rates exist."""
    return bool(np.unique(trials["label"] == TARGET).size == 2)
