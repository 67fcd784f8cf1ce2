"""95 % intervals by resampling speakers, not trials: the trials of one speaker are not independent.

Source: Poh and Bengio, "Estimating the confidence interval of expected performance curve in
biometric authentication using joint bootstrap", ICASSP 2007 (subject-based bootstrap).
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.stats import binomtest

from components.verification.error_rates import TARGET, TrialCounts, equal_error_rate

COVERAGE: Final = 0.95
# With few speakers, many resamples lack a class, and the rest are no fair sample.
LEAST_VALID_RESAMPLES: Final = 0.9


@dataclass(frozen=True)
class Estimate:
    """A metric and its 95 % interval; a missing value or bound is NaN."""

    value: float
    low: float
    high: float


def multiplicities(speakers: int, resamples: int, seed: int) -> npt.NDArray[np.int64]:
    """How often each speaker is drawn: int64 [resamples, speakers], rows sum to `speakers`."""
    rng = np.random.default_rng(seed)
    return rng.multinomial(speakers, np.full(speakers, 1.0 / speakers), size=resamples)


def trial_weights(
    multiplicity: npt.NDArray[np.int64],
    speaker_a: npt.NDArray[np.int64],
    speaker_b: npt.NDArray[np.int64],
    label: npt.NDArray[np.int64],
) -> npt.NDArray[np.float64]:
    """How often a resample holds each trial: float64 [N].

    This is the product of the multiplicities of its two speakers; for a same-speaker trial it is
    the speaker's, because two draws of one person are not compared.

    Args:
        multiplicity: [speakers], of one resample.
        speaker_a, speaker_b: [N], indices into it.
        label: [N], 1 same speaker, 0 different.
    """
    weight_b = np.where(label == TARGET, 1, multiplicity[speaker_b])
    return (multiplicity[speaker_a] * weight_b).astype(np.float64)


def resampled_weights(
    trials: pd.DataFrame, resamples: int, seed: int
) -> Iterator[npt.NDArray[np.float64]]:
    """`trial_weights` of each resample of a table's speakers.

    Args:
        trials: columns `speaker_a`, `speaker_b` and `label`, one row per trial.
        resamples: how many.
        seed: the same one gives the same weights.
    """
    both = np.concatenate([trials["speaker_a"].to_numpy(), trials["speaker_b"].to_numpy()])
    codes, speakers = pd.factorize(both)
    speaker_a, speaker_b = np.split(codes, 2)
    label = trials["label"].to_numpy()
    for multiplicity in multiplicities(len(speakers), resamples, seed):
        yield trial_weights(multiplicity, speaker_a, speaker_b, label)


def estimate(value: float, resampled: npt.ArrayLike) -> Estimate:
    """The percentile interval of a metric.

    Args:
        value: the metric of the trials themselves.
        resampled: [resamples], the metric of each resample; NaN where undefined.

    Returns:
        NaN bounds where fewer than LEAST_VALID_RESAMPLES of the resamples have a value.
    """
    samples = np.asarray(resampled, np.float64)
    valid = samples[np.isfinite(samples)]
    if not len(samples) or len(valid) < LEAST_VALID_RESAMPLES * len(samples):
        return Estimate(value, float("nan"), float("nan"))
    low, high = np.quantile(valid, [(1.0 - COVERAGE) / 2.0, (1.0 + COVERAGE) / 2.0])
    return Estimate(value, float(low), float(high))


def of_other_speakers(estimated: Estimate) -> Estimate:
    """A positive metric with the interval expected for the same number of other speakers.

    An estimate's own interval is about the speakers in general, but the metric of other speakers
    varies by chance too: two groups of equal size differ by the square root of 2 times the standard
    error of one. The bounds are moved on a logarithmic scale, so that none is below 0.

    Args:
        estimated: has its own speakers' interval; returned unchanged if 0 or without bounds.
    """
    value, low, high = estimated.value, estimated.low, estimated.high
    if not value > 0.0 or not math.isfinite(high):
        return estimated
    wider_low, wider_high = (value * (bound / value) ** math.sqrt(2.0) for bound in (low, high))
    return Estimate(value, wider_low, wider_high)


def speakers_with(trials: pd.DataFrame, label: int) -> int:
    """Number of speakers with trials of a class, TARGET or NONTARGET."""
    of_class = trials[trials["label"] == label]
    return len({*of_class["speaker_a"], *of_class["speaker_b"]})


def widened_at_ends(rate: Estimate, speakers: int) -> Estimate:
    """A rate with its interval, also if it is 0 or 1 in every resample.

    The other end is then that (Clopper and Pearson, 1934) of the share of speakers with any
    exceptional trial, which the share of such trials does not exceed.

    Args:
        rate: of trials, with the percentile interval, if there is one.
        speakers: how many have such trials, at least one.
    """
    if rate.value not in (0.0, 1.0) or rate.low < rate.high:
        return rate
    interval = binomtest(round(rate.value * speakers), speakers).proportion_ci(COVERAGE, "exact")
    return Estimate(rate.value, float(interval.low), float(interval.high))


def eer_upper_end(trials: TrialCounts) -> float:
    """Upper end of the equal error rate's 95 % interval where the trials' speakers are not known.

    The interval is Wilson's, for as many independent trials as the rarer class has.

    Args:
        trials: of both classes.
    """
    count = int(trials.counts.sum(axis=1).min())
    errors = round(equal_error_rate(trials) * count)
    interval = binomtest(errors, count).proportion_ci(COVERAGE, method="wilson")
    return float(interval.high)
