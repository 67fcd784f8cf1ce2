"""The metrics of every slice of the trials, with intervals."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import pandas as pd

from components.verification.bootstrap import (
    Estimate,
    estimate,
    resampled_weights,
    speakers_with,
    widened_at_ends,
)
from components.verification.error_rates import (
    EER,
    FALSE_ACCEPT_RATE,
    FALSE_REJECT_RATE,
    NONTARGET,
    RECALL,
    TARGET,
    TrialMetrics,
)
from components.verification.manifest_columns import column_slices
from components.verification.trials import RELATIONS, SHARED_COLUMNS, SLICED_BY, scores_of

EVERYTHING: Final = "all"
RELATION: Final = "relation"


@dataclass(frozen=True)
class SliceMetrics:
    """Metrics of one slice of the trials."""

    set: str
    duration_seconds: float
    """Speech on each side; NaN where whole files are compared."""
    sliced_by: str
    """A column of the trials, or "all"."""
    value: str
    """Its value, or "all"; a relation and days select only among same-speaker trials."""
    speakers: int
    similar: int
    """Number of same-speaker trials."""
    dissimilar: int
    """Number of different-speaker trials."""
    figures: dict[str, Estimate]
    """Metrics by their names in `error_rates`."""


def measure_slices(trials: pd.DataFrame, *, resamples: int, seed: int) -> list[SliceMetrics]:
    """Metrics by set and duration: of all trials, then by gender pair, channel pair, relation and
    the data's own columns.

    Args:
        trials: from `trial_table`.
        resamples: of the speakers, for the intervals.
        seed: the same one gives the same intervals.
    """
    return [
        part_metrics
        for _, part in trials.groupby(list(SHARED_COLUMNS), dropna=False)
        for part_metrics in _slices(part, resamples, seed)
    ]


def _slices(part: pd.DataFrame, resamples: int, seed: int) -> Iterator[SliceMetrics]:
    """Slices of the trials of one set and duration."""
    everything = _measured(part, EVERYTHING, EVERYTHING, resamples, seed)
    yield everything
    parts = [
        (column, value, sliced) for column in SLICED_BY for value, sliced in part.groupby(column)
    ]
    different_speakers = part["label"] != TARGET
    for value in RELATIONS:
        is_related = part["relation"] == value
        if is_related.any():
            parts.append((RELATION, value, part[is_related | different_speakers]))
    parts += column_slices(part)
    for column, value, sliced in parts:
        if len(sliced) == len(part):
            yield replace(everything, sliced_by=column, value=value)
        else:
            yield _measured(sliced, column, value, resamples, seed)


def _measured(
    trials: pd.DataFrame, sliced_by: str, value: str, resamples: int, seed: int
) -> SliceMetrics:
    label = trials["label"].to_numpy()
    return SliceMetrics(
        set=trials["set"].iloc[0],
        duration_seconds=float(trials["duration_seconds"].iloc[0]),
        sliced_by=sliced_by,
        value=value,
        speakers=len({*trials["speaker_a"], *trials["speaker_b"]}),
        similar=int(np.sum(label == TARGET)),
        dissimilar=int(np.sum(label != TARGET)),
        figures=estimate_metrics(trials, resamples=resamples, seed=seed),
    )


def estimate_metrics(trials: pd.DataFrame, *, resamples: int, seed: int) -> dict[str, Estimate]:
    """Each of TrialMetrics with its interval, also for a rate of 0 or 1.

    Args:
        trials: the columns of Scores, `speaker_a` and `speaker_b`, one row per trial.
        resamples: of the speakers.
        seed: the same one gives the same intervals.
    """
    metrics = TrialMetrics(scores_of(trials))
    drawn_weights = resampled_weights(trials, resamples, seed) if len(trials) else ()
    resampled = [metrics.weighted(weights) for weights in drawn_weights]
    estimates = {
        name: estimate(found, [drawn[name] for drawn in resampled])
        for name, found in metrics.weighted(np.ones(len(trials))).items()
    }
    targets, nontargets = (speakers_with(trials, label) for label in (TARGET, NONTARGET))
    speakers = {
        EER: min(targets, nontargets),
        FALSE_ACCEPT_RATE: nontargets,
        FALSE_REJECT_RATE: targets,
        RECALL: targets,
    }
    return estimates | {
        name: widened_at_ends(estimates[name], count) for name, count in speakers.items()
    }
