"""Error rates and every other metric of verification trials, and their names.

Rates are exact, or from a histogram of distances in constant memory.

A trial compares two utterances; it is a target (same speaker, label 1) or
nontarget (label 0) trial and is accepted when its distance is at most the
threshold. Every rate is NaN where a class has no trials, or where a trial has
no valid distance: no number is better than a wrong one.
"""

import dataclasses
import functools
import math
from typing import Final, NamedTuple, Self

import numpy as np
import numpy.typing as npt

BINS: Final = 16_384
"""Bins over d / (1 + d); at distance 1 a bin is 0.00024 wide."""

NONTARGET: Final = 0
TARGET: Final = 1

MIN_DCF_P_TARGETS: Final = (0.01, 0.05)
"""Priors of a target for which minDCF is computed."""

EER: Final = "eer"
AUC: Final = "auc"
CLLR: Final = "cllr"
BALANCED_PRECISION: Final = "balanced_precision"
RECALL: Final = "recall"
F1: Final = "f1"
FALSE_ACCEPT_RATE: Final = "false_accept_rate"
FALSE_REJECT_RATE: Final = "false_reject_rate"
MEAN_TARGET_DISTANCE: Final = "mean_similar_distance"
MEAN_NONTARGET_DISTANCE: Final = "mean_dissimilar_distance"

EXPECTED_RATES: Final = (EER, CLLR, FALSE_ACCEPT_RATE, FALSE_REJECT_RATE)
"""Rates under `calibration` in a model's card, of the speakers that it was calibrated on."""
ALL_NONTARGETS: Final = "nontargets"
NEAREST_NONTARGETS: Final = "nearest_nontargets"
"""Keys in the card: rates with nontarget trials of all pairs of speakers, or the nearest."""

# A float32 sigmoid does not distinguish probabilities nearer to 1, or to 0, from it.
_NEAREST_TO_ONE: Final = 2.0**-25
_NEAREST_TO_ZERO: Final = float(np.finfo(np.float32).smallest_subnormal)


def min_dcf_name(p_target: float) -> str:
    """The name of minDCF at this prior: `min_dcf_0.01`."""
    return f"min_dcf_{p_target:g}"


def _bin(distance: npt.ArrayLike) -> npt.NDArray[np.int64]:
    squeezed = np.asarray(distance) / (1.0 + np.asarray(distance))
    return np.minimum((BINS * squeezed).astype(np.int64), BINS - 1)


def _no_counts() -> npt.NDArray[np.float64]:
    return np.zeros((2, BINS), np.float64)


def _no_sums() -> npt.NDArray[np.float64]:
    return np.zeros(2, np.float64)


@dataclasses.dataclass
class TrialCounts:
    """The trials of one slice in cells of rising distance, a row for each class.

    counts: float64 [2, cells], number of trials or sum of their weights, by label.
    invalid_trials: how many distances were NaN, infinite or negative.
    """

    counts: npt.NDArray[np.float64]
    invalid_trials: int = 0

    def has_both_classes(self) -> bool:
        """Whether error rates exist: trials of both classes, all with a valid distance."""
        return self.invalid_trials == 0 and bool(self.counts.any(axis=1).all())

    def error_rates(self) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """False acceptance and false rejection, [cells + 1] each, by rising threshold."""
        accepted = np.zeros((2, self.counts.shape[1] + 1))
        np.cumsum(self.counts, axis=1, out=accepted[:, 1:])
        accepted /= accepted[:, -1:]
        return accepted[NONTARGET], 1.0 - accepted[TARGET]


class WeighedTrials(TrialCounts):
    """Trials that do not change, so that their error rates are computed once."""

    @functools.cached_property
    def _rates(self) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        return super().error_rates()

    def error_rates(self) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """See TrialCounts."""
        return self._rates


class DistinctDistances:
    """Trials with a cell for every distinct distance: exact rates, for any weights.

    Args:
        labels: [N], TARGET or NONTARGET.
        distances: [N], finite and not negative, else ValueError.
    """

    def __init__(self, labels: npt.ArrayLike, distances: npt.ArrayLike) -> None:
        label, distance = np.asarray(labels, np.int64), np.asarray(distances)
        if not np.all(np.isfinite(distance) & (distance >= 0.0)):
            raise ValueError("a distance is NaN, infinite or negative")
        distinct, rank = np.unique(distance, return_inverse=True)
        self._cells = len(distinct)
        self._cell_of_trial = label * self._cells + rank

    def weighed(self, weights: npt.ArrayLike) -> WeighedTrials:
        """The trials, counted by their weights: [N], not negative."""
        counts = np.bincount(
            self._cell_of_trial, np.asarray(weights, np.float64), minlength=2 * self._cells
        )
        return WeighedTrials(counts.reshape(2, self._cells).astype(np.float64, copy=False))


@dataclasses.dataclass
class TrialHistogram(TrialCounts):
    """Trials in BINS cells of d / (1 + d), whatever their number.

    distance_sums: float64 [2], by label.
    """

    counts: npt.NDArray[np.float64] = dataclasses.field(default_factory=_no_counts)
    distance_sums: npt.NDArray[np.float64] = dataclasses.field(default_factory=_no_sums)

    def add(self, label: int, distance: float) -> None:
        """Counts one trial, by its label."""
        if not (math.isfinite(distance) and distance >= 0.0):
            self.invalid_trials += 1
            return
        self.counts[label, int(_bin(distance))] += 1
        self.distance_sums[label] += distance

    @classmethod
    def of(cls, labels: npt.ArrayLike, distances: npt.ArrayLike) -> Self:
        """The histogram of trials given as two arrays [N]."""
        label, distance = np.asarray(labels, np.int64), np.asarray(distances, np.float64)
        valid = np.isfinite(distance) & (distance >= 0.0)
        label, distance = label[valid], distance[valid]
        counts = np.bincount(label * BINS + _bin(distance), minlength=2 * BINS)
        return cls(
            counts=counts.reshape(2, BINS).astype(np.float64),
            distance_sums=np.bincount(label, weights=distance, minlength=2).astype(np.float64),
            invalid_trials=int(np.sum(~valid)),
        )

    def merge(self, other: Self) -> None:
        """Adds the trials of another histogram."""
        self.counts += other.counts
        self.distance_sums += other.distance_sums
        self.invalid_trials += other.invalid_trials


def equal_error_rate(trials: TrialCounts) -> float:
    """The rate at which false acceptance equals false rejection, in [0, 1].

    The ROC is linearly interpolated between its operating points, as
    scikit-learn's `roc_curve` with a root finder does (not its convex hull).
    """
    if not trials.has_both_classes():
        return math.nan
    false_accept, false_reject = trials.error_rates()
    gap = false_accept - false_reject
    after = int(np.argmax(gap >= 0.0))
    before = after - 1
    weight = gap[before] / (gap[before] - gap[after])
    return float(false_accept[before] + weight * (false_accept[after] - false_accept[before]))


def min_detection_cost(trials: TrialCounts, p_target: float) -> float:
    """minDCF with C_miss = C_fa = 1; a system that always decides the same has 1.0.

    min over thresholds of p_target P_miss + (1 - p_target) P_fa, divided by
    min(p_target, 1 - p_target). NIST Speaker Recognition Evaluation plan, 2016.
    """
    if not trials.has_both_classes():
        return math.nan
    false_accept, false_reject = trials.error_rates()
    cost = p_target * false_reject + (1.0 - p_target) * false_accept
    return float(cost.min() / min(p_target, 1.0 - p_target))


def area_under_roc(trials: TrialCounts) -> float:
    """Probability that a target trial is nearer than a nontarget one; ties count half."""
    if not trials.has_both_classes():
        return math.nan
    false_accept, false_reject = trials.error_rates()
    true_accept = 1.0 - false_reject
    return float(np.sum(np.diff(false_accept) * (true_accept[1:] + true_accept[:-1]) / 2.0))


def mean_distance(trials: TrialHistogram, label: int) -> float:
    """Mean distance of the trials with this label."""
    count = int(trials.counts[label].sum())
    if trials.invalid_trials or not count:
        return math.nan
    return float(trials.distance_sums[label] / count)


def balanced_precision(recall: float, false_accept_rate: float) -> float:
    """Precision at equal numbers of target and nontarget trials; NaN where none is accepted."""
    return _ratio(recall, recall + false_accept_rate)


class Scores(NamedTuple):
    """A model's scores of N trials, and their labels. All fields are [N]."""

    label: npt.NDArray[np.int64]
    """1 same speaker, 0 different."""
    distance: npt.NDArray[np.float32]
    """Finite, not negative."""
    probability: npt.NDArray[np.float32]
    """Calibrated P(same speaker) at equal priors."""
    same_speaker: npt.NDArray[np.bool_]
    """The model's decision, at the threshold stored in it."""


class TrialMetrics:
    """The metrics of some trials; what does not depend on the weights is computed once.

    Args:
        scores: of the trials; ValueError where a distance is not finite.
    """

    def __init__(self, scores: Scores) -> None:
        self._distinct = DistinctDistances(scores.label, scores.distance)
        target = scores.label == TARGET
        probability = scores.probability.astype(np.float64)
        target_surprise = -np.log2(np.maximum(probability, _NEAREST_TO_ZERO))
        nontarget_surprise = -np.log2(np.maximum(1.0 - probability, _NEAREST_TO_ONE))
        self._sums_of = np.stack(
            [
                target,
                ~target,
                target & scores.same_speaker,
                ~target & scores.same_speaker,
                np.where(target, target_surprise, 0.0),
                np.where(target, 0.0, nontarget_surprise),
                np.where(target, scores.distance, 0.0),
                np.where(target, 0.0, scores.distance),
            ]
        ).astype(np.float64)

    def weighted(self, weights: npt.NDArray[np.float64]) -> dict[str, float]:
        """Each metric by name, NaN where a class that it needs has no weight.

        Precision, F1, recall, false acceptance and false rejection are those at the stored
        threshold; precision and F1 are those at equal numbers of trials of both classes.
        Cllr is in bits, 0 is perfect, 1 is no information: Brummer and du Preez,
        "Application-independent evaluation of speaker detection", 2006, equation 18; at equal
        priors the odds of a calibrated probability are the likelihood ratio.

        Args:
            weights: float64 [N], how often each trial counts.
        """
        counts = self._distinct.weighed(weights)
        (
            target,
            nontarget,
            true_accepts,
            false_accepts,
            target_surprise,
            nontarget_surprise,
            target_distance,
            nontarget_distance,
        ) = map(float, np.einsum("fn,n->f", self._sums_of, weights))
        recall = _ratio(true_accepts, target)
        false_accept_rate = _ratio(false_accepts, nontarget)
        return {
            EER: equal_error_rate(counts),
            **{min_dcf_name(p): min_detection_cost(counts, p) for p in MIN_DCF_P_TARGETS},
            AUC: area_under_roc(counts),
            CLLR: 0.5 * (_ratio(target_surprise, target) + _ratio(nontarget_surprise, nontarget)),
            BALANCED_PRECISION: balanced_precision(recall, false_accept_rate),
            RECALL: recall,
            F1: 2.0 * recall / (1.0 + recall + false_accept_rate),
            FALSE_ACCEPT_RATE: false_accept_rate,
            FALSE_REJECT_RATE: 1.0 - recall,
            MEAN_TARGET_DISTANCE: _ratio(target_distance, target),
            MEAN_NONTARGET_DISTANCE: _ratio(nontarget_distance, nontarget),
        }


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole != 0.0 else float("nan")


def rate_of_comparison(rate_of_query: float, comparisons: int) -> float:
    """The error rate of each of a query's N comparisons that gives an error rate of the query.

    It is 1 - (1 - rate)^(1/N), as for independent comparisons, which errs on the safe side.

    Args:
        rate_of_query: in (0, 1), that of one error or more.
        comparisons: N, at least 1.
    """
    return -math.expm1(math.log1p(-rate_of_query) / comparisons)
