"""The figures of every slice of the trials, with intervals."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import pandas as pd

from components.trials import SIMILAR
from components.verification.bootstrap import Figure, figure, resampled_weights
from components.verification.measures import Measures
from components.verification.trial_table import RELATIONS, SHARED_COLUMNS, SLICED_BY, scores_of

EVERYTHING: Final = "all"
RELATION: Final = "relation"


@dataclass(frozen=True)
class SliceFigures:
    """What was measured on one slice of the trials."""

    set: str
    duration_seconds: float
    """Of speech on each side; NaN where whole files are compared."""
    sliced_by: str
    """A column of the trials, or "all"."""
    value: str
    """Its value, or "all"; of a relation, the different-speaker trials are all of them."""
    speakers: int
    similar: int
    """Number of same-speaker trials."""
    dissimilar: int
    """Number of different-speaker trials."""
    figures: dict[str, Figure]
    """By the names in `measures`."""


def measure_slices(trials: pd.DataFrame, *, resamples: int, seed: int) -> list[SliceFigures]:
    """By set and duration: all trials, then by gender pair, by channel pair and by relation.

    Args:
        trials: a table as `trial_table` makes it.
        resamples: of the speakers, for the intervals.
        seed: the same one gives the same intervals.
    """
    return [
        slice_figures
        for _, part in trials.groupby(list(SHARED_COLUMNS), dropna=False)
        for slice_figures in _slices(part, resamples, seed)
    ]


def _slices(part: pd.DataFrame, resamples: int, seed: int) -> Iterator[SliceFigures]:
    """Of the trials of one set and duration."""
    everything = _measured(part, EVERYTHING, EVERYTHING, resamples, seed)
    yield everything
    parts = [
        (column, value, sliced) for column in SLICED_BY for value, sliced in part.groupby(column)
    ]
    different_speakers = part["label"] != SIMILAR
    for value in RELATIONS:
        is_related = part["relation"] == value
        if is_related.any():
            parts.append((RELATION, value, part[is_related | different_speakers]))
    for column, value, sliced in parts:
        if len(sliced) == len(part):
            yield replace(everything, sliced_by=column, value=value)
        else:
            yield _measured(sliced, column, value, resamples, seed)


def _measured(
    trials: pd.DataFrame, sliced_by: str, value: str, resamples: int, seed: int
) -> SliceFigures:
    label = trials["label"].to_numpy()
    return SliceFigures(
        set=trials["set"].iloc[0],
        duration_seconds=float(trials["duration_seconds"].iloc[0]),
        sliced_by=sliced_by,
        value=value,
        speakers=len({*trials["speaker_a"], *trials["speaker_b"]}),
        similar=int(np.sum(label == SIMILAR)),
        dissimilar=int(np.sum(label != SIMILAR)),
        figures=figures_of(trials, resamples=resamples, seed=seed),
    )


def figures_of(trials: pd.DataFrame, *, resamples: int, seed: int) -> dict[str, Figure]:
    """Each figure of `measures` with its interval.

    Args:
        trials: the columns of Scores, `speaker_a` and `speaker_b`, a row for each.
        resamples: of the speakers.
        seed: the same one gives the same intervals.
    """
    measures = Measures(scores_of(trials))
    drawn_weights = resampled_weights(trials, resamples, seed) if len(trials) else ()
    resampled = [measures.figures(weights) for weights in drawn_weights]
    return {
        name: figure(found, [drawn[name] for drawn in resampled])
        for name, found in measures.figures(np.ones(len(trials))).items()
    }
