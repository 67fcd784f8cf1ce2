"""What was measured under each condition, beside the same trials without one."""

from dataclasses import dataclass

import numpy as np

from components.trials import SIMILAR
from components.verification.bootstrap import Figure
from components.verification.condition_trials import ConditionTrials
from components.verification.slices import figures_of


@dataclass(frozen=True)
class ConditionMetrics:
    """The metrics of the trials of one set and duration, under one condition."""

    set: str
    duration_seconds: float
    condition: str
    """A name in CONDITIONS, or "clean"."""
    changed_sides: str
    """"one": enrolled clean and asked under the condition; "both"; or "clean"."""
    utterances: int
    """That the model was given under the condition."""
    refused: int
    """Of these by the model, whose trials are missing."""
    similar: int
    """Number of same-speaker trials."""
    dissimilar: int
    """Number of different-speaker trials."""
    figures: dict[str, Figure]
    """By the names in `measures`."""


def measure_condition(scored: ConditionTrials, *, resamples: int, seed: int) -> ConditionMetrics:
    """The metrics of the trials under a condition.

    Args:
        scored: the trials.
        resamples: of the speakers, for the intervals.
        seed: the same one gives the same intervals.
    """
    label = scored.trials["label"].to_numpy()
    return ConditionMetrics(
        set=scored.set,
        duration_seconds=scored.duration_seconds,
        condition=scored.condition,
        changed_sides=scored.changed_sides,
        utterances=scored.utterances,
        refused=scored.refused,
        similar=int(np.sum(label == SIMILAR)),
        dissimilar=int(np.sum(label != SIMILAR)),
        figures=figures_of(scored.trials, resamples=resamples, seed=seed),
    )
