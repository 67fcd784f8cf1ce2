"""Judges the model on speech that it did not learn from; chooses a report's main subject."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, NamedTuple

import numpy as np
import pandas as pd

from components import features
from components.errors import SwarError
from components.settings import ReportSettings
from components.verification.error_rates import TARGET
from components.verification.judge import Judgement, JudgeSettings, SetPlan, judge_set
from components.verification.manifest_columns import Columns
from components.verification.trials import choose_trials
from components.verification.utterances import ModelWithCard, Utterance
from components.verification_report.pieces import (
    Positions,
    SpeechPiece,
    cut,
    positions_of,
    repeated_words,
)

# The nearest existing duration is that of enrolled pieces and of queries.
IDENTIFIED_SECONDS: Final = 5.0
# Of each class: a rate of fewer trials is a matter of chance.
ENOUGH_TRIALS: Final = 20
ENOUGH_SPEAKERS: Final = 10
"""With fewer, an error rate depends more on the speakers than on the model."""


class ReportedSet(NamedTuple):
    """A set of utterances that a report is about."""

    set: str
    title: str
    trained_on: bool | None
    """Whether the model was trained on its speakers; None where that is not known."""


# Most informative first.
SPLITS: Final = (
    ReportedSet(features.UNSEEN, "unseen people", False),
    ReportedSet(features.EVAL, "people it trained on", True),
)


class TrialNumbers(NamedTuple):
    """Numbers of a set's trials at one duration."""

    set: str
    duration_seconds: float
    targets: int
    nontargets: int


class Detail(NamedTuple):
    """A report's main set and duration."""

    headline: str
    """The set of the first numbers."""
    seconds: float
    """The duration of curves, maps and pairs."""

    @classmethod
    def of(
        cls, numbers: Iterable[TrialNumbers], sets: Sequence[ReportedSet], seconds: float
    ) -> "Detail":
        """The first set that has trials of both classes, and the nearest of its durations.

        A duration with few trials is taken only if all have few.

        Args:
            numbers: of every set and duration.
            sets: most informative first.
            seconds: wanted duration.

        Raises:
            SwarError: no set has trials of both classes.
        """
        usable = [each for each in numbers if each.targets and each.nontargets]
        if not usable:
            raise SwarError(
                "too little speech to report on: there are no trials of both kinds: add speech, "
                "or choose shorter utterances (report.duration_seconds, --duration)"
            )
        names = [each.set for each in sets]
        headline = min(usable, key=lambda each: names.index(each.set)).set
        own = [each for each in usable if each.set == headline]
        own = [each for each in own if has_enough(each.targets, each.nontargets)] or own
        nearest = min(own, key=lambda each: (abs(each.duration_seconds - seconds), each[1]))
        return cls(headline, nearest.duration_seconds)


@dataclass(frozen=True)
class ReportedJudgement(Judgement):
    """Every score, and the main set and duration of a report on them."""

    sets: tuple[ReportedSet, ...]
    """Most informative first."""
    headline: str
    """The set of the first numbers."""
    detail_seconds: float
    """The duration of curves, maps and pairs."""

    @classmethod
    def about(
        cls, judgement: Judgement, sets: Sequence[ReportedSet], seconds: float
    ) -> "ReportedJudgement":
        """Chooses the main set and duration, see `Detail.of`."""
        selections = [each for each in judgement.selections if each.utterances]
        numbers = [
            TrialNumbers(each.set, each.duration_seconds, each.similar, each.dissimilar)
            for each in selections
        ]
        detail = Detail.of(numbers, sets, seconds)
        judged = {each.set for each in selections}
        return cls(
            **{**vars(judgement), "selections": selections},
            sets=tuple(each for each in sets if each.set in judged),
            headline=detail.headline,
            detail_seconds=detail.seconds,
        )


def judge_splits(
    pieces: Sequence[SpeechPiece],
    model: ModelWithCard,
    window_samples: int,
    settings: ReportSettings,
    columns: Columns,
) -> ReportedJudgement:
    """Cuts utterances of the held-out splits, and embeds and compares them, split by split.

    Args:
        pieces: of all splits.
        model: embeds and compares.
        window_samples: the model's window.
        settings: bounds and seed.
        columns: the data's own columns.

    Raises:
        SwarError: no split has trials of both classes.
    """
    (sample_rate,) = {piece.sample_rate for piece in pieces}
    by_split = {
        split: own
        for split in (features.EVAL, features.UNSEEN)
        if (
            own := repeated_words(
                [piece for piece in pieces if piece.split == split], window_samples
            )
        )
    }
    judge_settings = _judge_settings(by_split, window_samples, sample_rate, settings)
    parts = []
    for split, own in by_split.items():
        plan, positions = _planned(split, own, window_samples, sample_rate, judge_settings)
        if positions:
            cuts = cut(positions, plan.utterances)
            parts.append(judge_set(plan, cuts, model, judge_settings, columns))
    return ReportedJudgement.about(Judgement.of(parts), SPLITS, settings.detail_seconds)


def _planned(
    split: str,
    pieces: Sequence[SpeechPiece],
    window_samples: int,
    sample_rate: int,
    settings: JudgeSettings,
) -> tuple[SetPlan, Positions]:
    """Which utterances of a split are cut, and their positions."""
    # Only speakers with an utterance of the conditions' duration share these.
    needed = round(settings.condition_seconds * sample_rate)
    speakers = sorted({piece.speaker for piece in pieces if piece.samples >= needed})
    plan = settings.plan(split, speakers, window_samples, sample_rate)
    return plan, positions_of(pieces, plan.utterances)


def _judge_settings(
    by_split: Mapping[str, Sequence[SpeechPiece]],
    window_samples: int,
    sample_rate: int,
    settings: ReportSettings,
) -> JudgeSettings:
    """The report's bounds, with durations for which there are utterances."""
    durations = utterance_durations(by_split, window_samples, sample_rate, settings)
    wanted = JudgeSettings(
        duration_seconds=durations,
        enrolment_seconds=settings.enrolment_seconds,
        piece_seconds=durations[0],
        query_seconds=durations[0],
        condition_utterances=settings.condition_utterances,
        utterances_per_speaker=settings.utterances_per_speaker,
        trials_per_class=settings.trials_per_class,
        resamples=settings.resamples,
        seed=settings.seed,
    )
    numbers = [
        each
        for split, own in by_split.items()
        for each in _trial_numbers(*_planned(split, own, window_samples, sample_rate, wanted))
    ]
    present = {each.duration_seconds for each in numbers}
    identified = min(
        present, key=lambda each: (abs(each - IDENTIFIED_SECONDS), each), default=durations[0]
    )
    return replace(
        wanted,
        piece_seconds=identified,
        query_seconds=identified,
        condition_seconds=Detail.of(numbers, SPLITS, settings.detail_seconds).seconds,
    )


def utterance_durations(
    by_split: Mapping[str, Sequence[SpeechPiece]],
    window_samples: int,
    sample_rate: int,
    settings: ReportSettings,
) -> tuple[float, ...]:
    """Durations of utterances in seconds, shortest first.

    If no speaker has two utterances of the shortest, the model's window is added.
    """
    durations = {
        max(window_samples, round(each * sample_rate)) for each in settings.duration_seconds
    }
    counts: dict[tuple[str, str], int] = defaultdict(int)
    for split, pieces in by_split.items():
        for piece in pieces:
            counts[split, piece.speaker] += piece.samples // min(durations)
    if max(counts.values(), default=0) < 2:
        durations.add(window_samples)
    return tuple(samples / sample_rate for samples in sorted(durations))


def _trial_numbers(set_plan: SetPlan, positions: Positions) -> list[TrialNumbers]:
    """Numbers of trials of the utterances that are to be cut, by duration."""
    plan = set_plan.utterances
    table = pd.DataFrame(
        [
            plan.utterance(piece.segment, position)
            for piece, own in positions.items()
            for position in own
        ],
        columns=Utterance._fields,
    )
    return [
        TrialNumbers(plan.set_name, seconds, chosen.target_possible, chosen.nontarget_possible)
        for seconds, own in table.groupby("duration_seconds")
        for chosen in [choose_trials(own, max_per_class=0, seed=0)]
    ]


def has_enough(targets: int, nontargets: int) -> bool:
    """Whether there are enough trials of each class for a rate."""
    return min(targets, nontargets) >= ENOUGH_TRIALS


def detail_trials(judged: ReportedJudgement, name: str) -> pd.DataFrame:
    """A set's trials for curves, maps and pairs; empty where it has none."""
    trials = judged.trials
    part = trials[(trials["set"] == name) & (trials["duration_seconds"] == judged.detail_seconds)]
    return part.reset_index(drop=True)


def has_both_classes(trials: pd.DataFrame) -> bool:
    """Whether error rates exist."""
    return bool(np.unique(trials["label"] == TARGET).size == 2)
