"""Error rates from the histogram, against scikit-learn on the distances themselves."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.interpolate import interp1d
from scipy.optimize import brentq
from sklearn.metrics import roc_auc_score, roc_curve

from components.verification import error_rates
from components.verification.error_rates import DistinctDistances, TrialHistogram


def _histogram(labels, distances):
    histogram = TrialHistogram()
    for label, distance in zip(labels, distances, strict=True):
        histogram.add(int(label), float(distance))
    return histogram


def _trials(seed, similar_mean, dissimilar_mean, similar=3_000, dissimilar=5_000):
    rng = np.random.default_rng(seed)
    distances = np.concatenate(
        [
            rng.gamma(4.0, similar_mean / 4.0, similar),
            rng.gamma(4.0, dissimilar_mean / 4.0, dissimilar),
        ]
    )
    return np.repeat([1, 0], [similar, dissimilar]), distances


def _sklearn_eer(labels, distances):
    false_accept, true_accept, _ = roc_curve(labels, -distances)
    return brentq(lambda x: 1.0 - x - interp1d(false_accept, true_accept)(x), 0.0, 1.0)


CASES = [
    (0, 0.4, 1.2),
    (1, 1.8, 4.4),  # the article's scale
    (2, 1.0, 1.02),
    (3, 0.01, 0.05),
    (4, 40.0, 300.0),
]


@pytest.mark.parametrize("case", CASES)
def test_error_rates_agree_with_scikit_learn(case):
    labels, distances = _trials(*case)
    histogram = _histogram(labels, distances)
    eer = error_rates.equal_error_rate(histogram)
    assert eer == pytest.approx(_sklearn_eer(labels, distances), abs=5e-4)
    auc = error_rates.area_under_roc(histogram)
    assert auc == pytest.approx(roc_auc_score(labels, -distances), abs=5e-4)
    false_accept, true_accept, _ = roc_curve(labels, -distances, drop_intermediate=False)
    for p_target in (0.01, 0.05, 0.5, 0.9):
        cost = p_target * (1.0 - true_accept) + (1.0 - p_target) * false_accept
        expected = cost.min() / min(p_target, 1.0 - p_target)
        measured = error_rates.min_detection_cost(histogram, p_target)
        assert expected - 1e-9 <= measured <= expected + _binning_bound(histogram, p_target)
        assert measured == pytest.approx(expected, abs=0.025)


def _binning_bound(histogram, p_target):
    """The histogram lacks the thresholds inside a bin: that costs a bin's trials at most."""
    per_bin = (histogram.counts / histogram.counts.sum(axis=1, keepdims=True)).max(axis=1)
    lost = min(
        (1.0 - p_target) * per_bin[error_rates.NONTARGET], p_target * per_bin[error_rates.TARGET]
    )
    return lost / min(p_target, 1.0 - p_target) + 1e-9


@pytest.mark.parametrize("case", CASES)
def test_mean_distances_are_exact(case):
    labels, distances = _trials(*case)
    histogram = _histogram(labels, distances)
    for label in (0, 1):
        expected = distances[labels == label].mean()
        assert error_rates.mean_distance(histogram, label) == pytest.approx(expected, rel=1e-12)


def test_known_equal_error_rates():
    apart = _histogram([1, 1, 0, 0], [0.1, 0.2, 0.8, 0.9])
    assert error_rates.equal_error_rate(apart) == 0.0
    assert error_rates.min_detection_cost(apart, 0.01) == 0.0
    assert error_rates.area_under_roc(apart) == 1.0
    swapped = _histogram([0, 0, 1, 1], [0.1, 0.2, 0.8, 0.9])
    assert error_rates.equal_error_rate(swapped) == 1.0
    assert error_rates.min_detection_cost(swapped, 0.05) == 1.0
    assert error_rates.area_under_roc(swapped) == 0.0
    # One of four dissimilar trials is nearer than the furthest of two similar ones:
    # the ROC crosses FAR = FRR on the vertical step at FAR = 1/4.
    one_error = _histogram([1, 1, 0, 0, 0, 0], [0.1, 0.5, 0.3, 0.7, 0.8, 0.9])
    assert error_rates.equal_error_rate(one_error) == pytest.approx(0.25)
    constant = _histogram([1, 1, 0, 0, 0], [0.5] * 5)
    assert error_rates.equal_error_rate(constant) == pytest.approx(0.5)
    assert error_rates.area_under_roc(constant) == pytest.approx(0.5)


@settings(max_examples=60)
@given(
    st.lists(st.tuples(st.integers(0, 1), st.integers(0, 40)), min_size=2, max_size=60).filter(
        lambda pairs: len({label for label, _ in pairs}) == 2
    )
)
def test_agrees_with_scikit_learn_on_few_trials_with_ties(pairs):
    labels = np.array([label for label, _ in pairs])
    distances = np.array([distance / 10.0 for _, distance in pairs])
    histogram = _histogram(labels, distances)
    expected = _sklearn_eer(labels, distances)
    assert error_rates.equal_error_rate(histogram) == pytest.approx(expected, abs=1e-6)
    assert error_rates.area_under_roc(histogram) == pytest.approx(roc_auc_score(labels, -distances))


@pytest.mark.parametrize("label", [0, 1])
def test_one_class_has_no_error_rate(label):
    histogram = _histogram([label] * 3, [0.1, 0.2, 0.3])
    assert math.isnan(error_rates.equal_error_rate(histogram))
    assert math.isnan(error_rates.min_detection_cost(histogram, 0.01))
    assert math.isnan(error_rates.area_under_roc(histogram))
    assert math.isnan(error_rates.mean_distance(histogram, 1 - label))
    assert error_rates.mean_distance(histogram, label) == pytest.approx(0.2)


@pytest.mark.parametrize("distance", [math.nan, math.inf, -0.5])
def test_one_invalid_distance_leaves_no_number(distance):
    histogram = _histogram([1, 0, 1], [0.1, 0.9, distance])
    assert math.isnan(error_rates.equal_error_rate(histogram))
    assert math.isnan(error_rates.min_detection_cost(histogram, 0.01))
    assert math.isnan(error_rates.area_under_roc(histogram))
    assert math.isnan(error_rates.mean_distance(histogram, 1))


def test_merged_histograms_equal_one():
    labels, distances = _trials(5, 0.5, 1.0, similar=50, dissimilar=70)
    whole = _histogram(labels, distances)
    merged = _histogram(labels[::2], distances[::2])
    merged.merge(_histogram(labels[1::2], distances[1::2]))
    np.testing.assert_array_equal(merged.counts, whole.counts)
    np.testing.assert_allclose(merged.distance_sums, whole.distance_sums)
    merged.merge(_histogram([1], [math.nan]))
    assert merged.invalid_trials == 1


def test_a_histogram_of_arrays_is_that_of_single_trials() -> None:
    rng = np.random.default_rng(3)
    labels = rng.integers(0, 2, 500)
    distances = rng.exponential(2.0, 500)
    distances[7] = np.nan
    one_by_one = TrialHistogram()
    for label, distance in zip(labels, distances, strict=True):
        one_by_one.add(int(label), float(distance))
    at_once = TrialHistogram.of(labels, distances)
    np.testing.assert_array_equal(at_once.counts, one_by_one.counts)
    np.testing.assert_allclose(at_once.distance_sums, one_by_one.distance_sums)
    assert at_once.invalid_trials == one_by_one.invalid_trials == 1


@pytest.mark.parametrize("case", CASES)
def test_distinct_distances_give_scikit_learns_rates_exactly(case):
    labels, distances = _trials(*case)
    exact = DistinctDistances(labels, distances).weighed(np.ones(len(labels)))
    assert error_rates.equal_error_rate(exact) == pytest.approx(_sklearn_eer(labels, distances))
    assert error_rates.area_under_roc(exact) == pytest.approx(roc_auc_score(labels, -distances))
    false_accept, true_accept, _ = roc_curve(labels, -distances, drop_intermediate=False)
    for p_target in (0.01, 0.05, 0.9):
        cost = p_target * (1.0 - true_accept) + (1.0 - p_target) * false_accept
        expected = cost.min() / min(p_target, 1.0 - p_target)
        assert error_rates.min_detection_cost(exact, p_target) == pytest.approx(expected)


def test_a_trial_without_weight_is_not_there():
    labels, distances = _trials(6, 0.5, 1.0, similar=60, dissimilar=80)
    weights = np.arange(140) % 3
    weighed = DistinctDistances(labels, distances).weighed(weights)
    repeated = DistinctDistances(np.repeat(labels, weights), np.repeat(distances, weights))
    for measure in (error_rates.equal_error_rate, error_rates.area_under_roc):
        assert measure(weighed) == pytest.approx(measure(repeated.weighed(np.ones(weights.sum()))))
    without_similar = DistinctDistances(labels, distances).weighed(1 - labels)
    assert math.isnan(error_rates.equal_error_rate(without_similar))


@pytest.mark.parametrize("distance", [math.nan, math.inf, -0.5])
def test_distinct_distances_refuse_an_invalid_one(distance):
    with pytest.raises(ValueError, match="NaN, infinite or negative"):
        DistinctDistances([1, 0, 1], [0.1, 0.9, distance])
