"""Operating points: thresholds that accept at most a stated share of nontarget trials."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from components.json_text import without_nan
from components.verification.bootstrap import (
    Estimate,
    estimate,
    resampled_weights,
    speakers_with,
    widened_at_ends,
)
from components.verification.error_rates import NONTARGET, TARGET

MAX_FALSE_ACCEPT_RATES: Final = (0.05, 0.02, 0.01, 0.005, 0.002, 0.001, 0.0005, 0.0002, 0.0001)
ERRORS_NEEDED: Final = 30
"""Number of errors from which an error rate is known to within about a third.

Source: Doddington et al., "The NIST speaker recognition evaluation: overview, methodology,
systems, results, perspective", Speech Communication 31, 2000 (the "rule of 30").
"""


@dataclass(frozen=True)
class OperatingPoint:
    """A threshold for one risk, with the error rates that it had."""

    max_false_accept_rate: float
    """Largest share of the nontarget trials that the threshold accepts, in (0, 1)."""
    speakers: int
    """Number of speakers in the trials."""
    speakers_needed: int
    """Least number of speakers from which the point is known."""
    threshold: float | None
    """Largest accepted distance; None with fewer speakers than needed."""
    false_accept_rate: Estimate | None
    """Rate and 95 % interval; None without a threshold."""
    false_reject_rate: Estimate | None
    """Rate and 95 % interval; None without a threshold."""


def speakers_needed(max_false_accept_rate: float) -> int:
    """The fewest speakers whose pairs are expected to have ERRORS_NEEDED false accepts.

    Pairs of speakers are counted, not trials: many trials of the same two people count as one.
    """
    pairs = ERRORS_NEEDED / max_false_accept_rate
    # The smallest S with S (S - 1) / 2 >= pairs.
    return math.ceil((1.0 + math.sqrt(1.0 + 8.0 * pairs)) / 2.0 - 1e-9)


def operating_points(trials: pd.DataFrame, *, resamples: int, seed: int) -> list[OperatingPoint]:
    """One point for each of MAX_FALSE_ACCEPT_RATES.

    Args:
        trials: columns `speaker_a`, `speaker_b`, `label` (1 target, 0 nontarget) and `distance`, a
            row for each trial.
        resamples: of the speakers, for the intervals.
        seed: the same one gives the same intervals.
    """
    trials = trials.sort_values("distance", kind="stable")
    label, distance = trials["label"].to_numpy(), trials["distance"].to_numpy()
    nontarget = distance[label == NONTARGET]
    speakers = len({*trials["speaker_a"], *trials["speaker_b"]})
    needed = {rate: speakers_needed(rate) for rate in MAX_FALSE_ACCEPT_RATES}
    known = [rate for rate in MAX_FALSE_ACCEPT_RATES if needed[rate] <= speakers and len(nontarget)]
    threshold = np.array([accepting_threshold(nontarget, rate) for rate in known])
    rates = error_rates_at(trials, threshold, resamples=resamples, seed=seed)
    points = []
    for rate in MAX_FALSE_ACCEPT_RATES:
        if rate not in known:
            points.append(OperatingPoint(rate, speakers, needed[rate], None, None, None))
            continue
        at = known.index(rate)
        points.append(
            OperatingPoint(rate, speakers, needed[rate], float(threshold[at]), *rates[at])
        )
    return points


def error_rates_at(
    trials: pd.DataFrame, thresholds: npt.ArrayLike, *, resamples: int, seed: int
) -> list[tuple[Estimate, Estimate]]:
    """The false accept rate and the false reject rate at each threshold, with intervals.

    A rate of 0 or 1 has an interval too, see `widened_at_ends`.

    Args:
        trials: as for `operating_points`.
        thresholds: [T], largest accepted distances.
        resamples: of the speakers, for the intervals.
        seed: the same one gives the same intervals.
    """
    threshold = np.asarray(thresholds, np.float64)
    if not len(threshold):
        return []
    trials = trials.sort_values("distance", kind="stable")
    label, distance = trials["label"].to_numpy(), trials["distance"].to_numpy()
    passing = np.searchsorted(distance, threshold, side="right")
    rates = _error_rates(label, passing, np.ones(len(trials)))
    resampled = [
        _error_rates(label, passing, weights)
        for weights in resampled_weights(trials, resamples, seed)
    ]
    speakers = [speakers_with(trials, label) for label in (NONTARGET, TARGET)]
    false_accept, false_reject = (
        [
            widened_at_ends(
                estimate(float(rates[kind][at]), [draw[kind][at] for draw in resampled]), count
            )
            for at in range(len(threshold))
        ]
        for kind, count in enumerate(speakers)
    )
    return list(zip(false_accept, false_reject, strict=True))


def to_card(point: OperatingPoint) -> Mapping[str, Any]:
    """A point as in the model's card: JSON without NaN."""
    card: Mapping[str, Any] = without_nan(asdict(point))
    return card


def accepting_threshold(nontarget: npt.NDArray[np.float32], rate: float) -> float:
    """Half-way between the last distance that may be accepted and the first that may not.

    Args:
        nontarget: float32 [N] distances, sorted, at least one.
        rate: share that may be accepted.
    """
    passing = math.floor(rate * len(nontarget))
    if passing == 0:
        return float(nontarget[0]) / 2.0
    first_refused = float(nontarget[min(passing, len(nontarget) - 1)])
    # Equal distances are accepted together or not at all.
    accepted = nontarget[:passing][nontarget[:passing] < first_refused]
    last_accepted = float(accepted[-1]) if len(accepted) else 0.0
    return (last_accepted + first_refused) / 2.0


def _error_rates(
    label: npt.NDArray[np.int64], passing: npt.NDArray[np.int64], weights: npt.NDArray[np.float64]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """False accept and false reject rates, [T] each, NaN for a class without weight.

    Args:
        label: [N], of trials in the order of their distances.
        passing: [T], how many of these each threshold accepts.
        weights: [N], how often each trial counts.
    """
    accepted = []
    for kind in (NONTARGET, TARGET):
        running = np.concatenate([[0.0], np.cumsum(np.where(label == kind, weights, 0.0))])
        total = running[-1]
        accepted.append(running[passing] / total if total else np.full(len(passing), np.nan))
    return accepted[0], 1.0 - accepted[1]
