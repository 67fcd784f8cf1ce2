"""Curves and histograms of one split's trials; curves have a 95 % band over speakers.

The bands are pointwise: at each point they contain 95 % of the resampled curves.
"""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.special import ndtr, ndtri

from components.verification.bootstrap import estimate, resampled_weights
from components.verification.error_rates import TARGET, DistinctDistances

Floats = npt.NDArray[np.float64]

# False-accept rates of a curve's points: even steps on a DET's axis, and both ends.
LOWEST_RATE, HIGHEST_RATE = 0.001, 0.999
GRID_POINTS: Final = 101
DISTANCE_BINS: Final = 48
PROBABILITY_BINS: Final = 10


def false_accept_grid() -> Floats:
    """Rates, float64 [GRID_POINTS + 2]: 0, evenly spaced probits, 1."""
    probits = np.linspace(ndtri(LOWEST_RATE), ndtri(HIGHEST_RATE), GRID_POINTS)
    return np.concatenate([[0.0], ndtr(probits), [1.0]])


def error_curve(trials: pd.DataFrame, resamples: int, seed: int) -> dict[str, Any]:
    """False rejection against false acceptance: a DET or, upside down, a ROC.

    Args:
        trials: of one split and duration, both classes.
        resamples: of the speakers, for the band.
        seed: of the resamples.

    Returns:
        `false_accept`, `false_reject` with `low` and `high`, and `operating_point`: both rates
        at the model's own threshold.
    """
    grid = false_accept_grid()
    distinct = DistinctDistances(trials["label"], trials["distance"])
    curve = _at(grid, distinct, np.ones(len(trials)))
    resampled = [
        _at(grid, distinct, weights) for weights in resampled_weights(trials, resamples, seed)
    ]
    low, high = _band(curve, resampled)
    is_target = (trials["label"] == TARGET).to_numpy()
    accepted = trials["same_speaker"].to_numpy()
    return {
        "false_accept": grid.tolist(),
        "false_reject": curve.tolist(),
        "low": low,
        "high": high,
        "operating_point": {
            "false_accept": float(accepted[~is_target].mean()),
            "false_reject": float(1.0 - accepted[is_target].mean()),
        },
    }


def _at(grid: Floats, distinct: DistinctDistances, weights: Floats) -> Floats:
    """False rejection at these values of false acceptance, linearly interpolated."""
    counts = distinct.weighed(weights)
    if not counts.has_both_classes():
        return np.full(len(grid), np.nan)
    false_accept, false_reject = counts.error_rates()
    return np.interp(grid, false_accept, false_reject)


def _band(values: Floats, resampled: Sequence[Floats]) -> tuple[list[float], list[float]]:
    intervals = [
        estimate(float(value), [drawn[place] for drawn in resampled])
        for place, value in enumerate(values)
    ]
    return [each.low for each in intervals], [each.high for each in intervals]


def histogram(trials: pd.DataFrame, highest: float) -> dict[str, Any]:
    """Number of trials of each class in equal bins of distance.

    Args:
        trials: of one split and duration.
        highest: distance at the upper edge of the last bin.
    """
    edges = np.linspace(0.0, highest, DISTANCE_BINS + 1)
    is_target = (trials["label"] == TARGET).to_numpy()
    distance = trials["distance"].to_numpy().astype(np.float64)
    return {
        "edges": edges.tolist(),
        "similar": np.histogram(distance[is_target], edges)[0].tolist(),
        "dissimilar": np.histogram(distance[~is_target], edges)[0].tolist(),
    }


def reliability(trials: pd.DataFrame, resamples: int, seed: int) -> list[dict[str, Any]]:
    """The share of same-speaker trials in each bin of probability.

    Both classes have equal weight, since the probabilities are those at equal priors.

    Args:
        trials: of one split and duration, both classes.
        resamples: of the speakers, for the intervals.
        seed: of the resamples.

    Returns:
        For each bin that has trials: `low_edge`, `high_edge`, `trials`, the mean `probability`,
        and `same` with `low` and `high`, the share of same-speaker trials.
    """
    probability = trials["probability"].to_numpy().astype(np.float64)
    is_target = (trials["label"] == TARGET).to_numpy()
    # The last bin holds 1.0 too.
    place = np.minimum((probability * PROBABILITY_BINS).astype(np.int64), PROBABILITY_BINS - 1)
    mean, same = _by_bin(place, probability, is_target, np.ones(len(trials)))
    resampled = [
        _by_bin(place, probability, is_target, weights)[1]
        for weights in resampled_weights(trials, resamples, seed)
    ]
    count = np.bincount(place, minlength=PROBABILITY_BINS)
    rows = []
    for index in np.flatnonzero(count):
        interval = estimate(float(same[index]), [drawn[index] for drawn in resampled])
        rows.append(
            {
                "low_edge": index / PROBABILITY_BINS,
                "high_edge": (index + 1) / PROBABILITY_BINS,
                "trials": int(count[index]),
                "probability": float(mean[index]),
                "same": interval.value,
                "low": interval.low,
                "high": interval.high,
            }
        )
    return rows


def _by_bin(
    place: npt.NDArray[np.int64],
    probability: Floats,
    is_target: npt.NDArray[np.bool_],
    weights: Floats,
) -> tuple[Floats, Floats]:
    """Mean probability and share of same-speaker trials of each bin; NaN without weight."""
    with np.errstate(invalid="ignore", divide="ignore"):
        balanced = weights / np.where(
            is_target, weights[is_target].sum(), weights[~is_target].sum()
        )
        total, of_target, of_probability = (
            np.bincount(place, balanced * factor, PROBABILITY_BINS)
            for factor in (1.0, is_target, probability)
        )
        return of_probability / total, of_target / total
