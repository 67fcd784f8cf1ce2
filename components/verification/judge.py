"""The judge: scores a model on utterances of equal durations, set by set, with metrics.

The report of a run and `swar evaluate` use it. They find and read the speech; the judge plans
which utterances to cut and receives them.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from components.conditions import CLEAN, CONDITIONS
from components.verification.identification import ClosedSet, IdentificationMetrics, identify
from components.verification.manifest_columns import Columns, with_columns
from components.verification.open_set import OpenSet, OpenSetRules
from components.verification.robustness import (
    ConditionMetrics,
    ConditionTrials,
    NonSpeechMetrics,
    measure_condition,
    measure_nonspeech,
    score_conditions,
    under_conditions,
)
from components.verification.slices import SliceMetrics, measure_slices
from components.verification.trials import Selection, choose_trials, compare, trial_table
from components.verification.utterances import (
    Cut,
    EmbeddedUtterances,
    Model,
    ModelWithCard,
    UtterancePlan,
    embed,
    share_among_speakers,
)


@dataclass(frozen=True)
class JudgeSettings:
    """Bounds and seed of a judgement."""

    duration_seconds: tuple[float, ...] = (1.5, 3.0, 5.0, 10.0)
    """Speech in an utterance; the model's window where that is longer."""
    enrolment_seconds: tuple[float, ...] = (5.0, 10.0, 30.0)
    """Amounts of speech to enrol speakers with."""
    piece_seconds: float = 2.5
    """Length of the utterances that speakers are enrolled with: short, so that little of a
    recording is left over, and a divisor of usual enrolments."""
    query_seconds: float = 5.0
    """Length of the utterances that are identified."""
    gallery_speakers: tuple[int, ...] = (2, 10, 50, 500)
    """Sizes of the galleries of the open set; only sizes below the number of speakers."""
    galleries: int = 50
    """Number of galleries of each size."""
    best_match_comparisons: int = 2_000_000
    """Most comparisons of queries with single enrolled utterances; beyond it the best match is
    not measured. Takes half a minute of a processor's time for each amount of enrolment."""
    conditions: tuple[str, ...] = tuple(CONDITIONS)
    """Conditions for utterances of one duration."""
    condition_seconds: float = 3.0
    """Their duration, and that of sounds without speech: the nearest of `duration_seconds`."""
    condition_utterances: int | None = None
    """Most utterances of each set that are put under conditions; None for all."""
    utterances_per_speaker: int = 20
    """Most utterances of each duration."""
    trials_per_class: int = 100_000
    """Most target, or nontarget, trials of each set and duration."""
    resamples: int = 1_000
    """Resamples of the speakers, for the intervals."""
    seed: int = 0

    def plan(
        self, set_name: str, speakers: Sequence[str], window_samples: int, sample_rate: int
    ) -> "SetPlan":
        """Plans which utterances of a set are cut.

        Args:
            set_name: name of the set.
            speakers: those who share the utterances under conditions.
            window_samples: the model's window, the shortest utterance.
            sample_rate: of the speech, Hz.
        """

        def samples(seconds: float) -> int:
            return max(window_samples, round(seconds * sample_rate))

        compared = sorted(map(samples, self.duration_seconds))
        piece, query = samples(self.piece_seconds), samples(self.query_seconds)
        wanted = self.condition_seconds
        condition = min(compared, key=lambda each: (abs(each / sample_rate - wanted), each))
        most = self.condition_utterances
        utterances = UtterancePlan(
            set_name,
            {*compared, piece, query},
            sample_rate,
            per_speaker=self.utterances_per_speaker,
            seed=self.seed,
            condition_samples=condition,
            under_conditions=None
            if most is None
            else share_among_speakers(speakers, most, self.seed),
        )
        compared_seconds = tuple(each / sample_rate for each in dict.fromkeys(compared))
        return SetPlan(
            utterances,
            compared_seconds,
            condition / sample_rate,
            piece / sample_rate,
            query / sample_rate,
        )


class SetPlan(NamedTuple):
    """Which utterances of a set are cut, and what each duration is for."""

    utterances: UtterancePlan
    compared_seconds: tuple[float, ...]
    condition_seconds: float
    piece_seconds: float
    query_seconds: float


@dataclass(frozen=True)
class Judgement:
    """Every score of one set, or of several."""

    trials: pd.DataFrame
    """The clean trials, see `trial_table`."""
    selections: list[Selection]
    conditions: list[ConditionTrials]
    nonspeech: list[NonSpeechMetrics]
    identification: list[ClosedSet]
    open_set: list[OpenSet]
    embedded: EmbeddedUtterances
    """Clean utterances of all durations, and all refused ones, also under conditions."""

    @classmethod
    def of(cls, parts: "Sequence[Judgement]") -> "Judgement":
        """Joins the judgements of one or more sets."""
        return cls(
            _joined([part.trials for part in parts]),
            [each for part in parts for each in part.selections],
            [each for part in parts for each in part.conditions],
            [each for part in parts for each in part.nonspeech],
            [each for part in parts for each in part.identification],
            [each for part in parts for each in part.open_set],
            EmbeddedUtterances(
                pd.concat([part.embedded.utterances for part in parts], ignore_index=True),
                np.concatenate([part.embedded.embeddings for part in parts]),
                [each for part in parts for each in part.embedded.unusable],
            ),
        )


class JudgedMetrics(NamedTuple):
    """Metrics of a judgement's scores, with intervals over speakers."""

    slices: list[SliceMetrics]
    conditions: list[ConditionMetrics]

    @classmethod
    def of(cls, judgement: Judgement, *, resamples: int, seed: int) -> "JudgedMetrics":
        """Measures every slice, and the trials under every condition."""
        seeded: Mapping[str, Any] = {"resamples": resamples, "seed": seed}
        return cls(
            measure_slices(judgement.trials, **seeded),
            [measure_condition(each, **seeded) for each in judgement.conditions],
        )


def judge_set(
    plan: SetPlan,
    groups: Iterable[Sequence[Cut]],
    model: ModelWithCard,
    settings: JudgeSettings,
    columns: Columns,
) -> Judgement:
    """Embeds and compares the utterances of one set: all with all, or a sample of these pairs.

    Args:
        plan: by which they are cut.
        groups: the utterances, made as they are needed; each group is embedded at once.
        model: embeds and compares.
        settings: bounds and seed.
        columns: the data's own columns, for the slices.
    """
    changed: set[str] = set()

    def prepared() -> Iterator[list[Cut]]:
        for cuts in groups:
            changed.update(cut.utterance.utterance for cut in cuts if cut.under_conditions)
            yield under_conditions(cuts, settings.conditions, settings.seed)

    embedded = embed(prepared(), model).in_order()
    embedded = embedded._replace(utterances=with_columns(embedded.utterances, columns))
    clean = embedded.where(embedded.utterances["condition"] == CLEAN)
    rate, possible = plan.utterances.sample_rate, plan.utterances.possible
    scored = [
        compare(
            part.utterances,
            part.embeddings,
            choose_trials(part.utterances, settings.trials_per_class, settings.seed),
            model.score,
            set_name=plan.utterances.set_name,
            duration_seconds=seconds,
            utterances_possible=possible[round(seconds * rate)],
        )
        for seconds in plan.compared_seconds
        for part in [clean.where(clean.utterances["duration_seconds"] == seconds)]
    ]
    robust = embedded.where(embedded.utterances["utterance"].isin(changed))
    conditions, nonspeech = _robustness(plan, robust, model, settings)
    identification, open_set = _identified(plan, clean, model, settings)
    return Judgement(
        _joined([trials for trials, _ in scored]),
        [selection for _, selection in scored],
        conditions,
        nonspeech,
        identification,
        open_set,
        clean,
    )


def _identified(
    plan: SetPlan, clean: EmbeddedUtterances, model: ModelWithCard, settings: JudgeSettings
) -> IdentificationMetrics:
    rules = OpenSetRules(
        settings.gallery_speakers,
        settings.galleries,
        settings.best_match_comparisons,
        model.card,
    )
    return identify(
        clean.utterances,
        clean.embeddings,
        model.score,
        enrolment_seconds=settings.enrolment_seconds,
        piece_seconds=plan.piece_seconds,
        query_seconds=plan.query_seconds,
        rules=rules,
        resamples=settings.resamples,
        seed=settings.seed,
    )


def _robustness(
    plan: SetPlan, embedded: EmbeddedUtterances, model: Model, settings: JudgeSettings
) -> tuple[list[ConditionTrials], list[NonSpeechMetrics]]:
    """Compares utterances under conditions as the clean ones, and sounds without speech."""
    clean = embedded.where(embedded.utterances["condition"] == CLEAN)
    if clean.utterances.empty:
        return [], []
    chosen = choose_trials(clean.utterances, settings.trials_per_class, settings.seed)
    trials = trial_table(
        clean.utterances, clean.embeddings, chosen.first, chosen.second, chosen.label, model.score
    )
    name, seconds = plan.utterances.set_name, plan.condition_seconds
    conditions = []
    if len(trials):
        conditions = score_conditions(
            embedded,
            trials,
            settings.conditions,
            model.score,
            set_name=name,
            duration_seconds=seconds,
        )
    nonspeech = measure_nonspeech(
        model,
        clean,
        set_name=name,
        duration_seconds=seconds,
        sample_rate=plan.utterances.sample_rate,
        max_pairs=settings.trials_per_class,
        seed=settings.seed,
    )
    return conditions, [nonspeech]


def _joined(tables: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """One table of all rows; empty tables, of unknown column types, are left out."""
    return pd.concat([each for each in tables if len(each)] or tables[:1], ignore_index=True)
