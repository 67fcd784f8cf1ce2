"""Figures against scikit-learn's, on the distances and probabilities themselves."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.interpolate import interp1d
from scipy.optimize import brentq
from sklearn.metrics import (
    f1_score,
    log_loss,
    precision_score,
    recall_score,
    roc_auc_score,
    roc_curve,
)

from components.verification.error_rates import Scores, TrialMetrics
from tests.components.verification.support_trials import scores


def figures(made, weights=None):
    return TrialMetrics(made).weighted(np.ones(len(made.label)) if weights is None else weights)


def equal_numbers(label, weights):
    """Weights that give both classes the same sum."""
    return np.where(
        label == 1, weights / weights[label == 1].sum(), weights / weights[label == 0].sum()
    )


def by_scikit_learn(made, weights):
    label, distance, probability, accepted = made
    probability = probability.astype(np.float64)
    false_accept, true_accept, _ = roc_curve(
        label, -distance, sample_weight=weights, drop_intermediate=False
    )
    balanced = equal_numbers(label, weights)
    cost = {p: p * (1.0 - true_accept) + (1.0 - p) * false_accept for p in (0.01, 0.05)}
    return {
        "eer": brentq(lambda x: 1.0 - x - interp1d(false_accept, true_accept)(x), 0.0, 1.0),
        "min_dcf_0.01": cost[0.01].min() / 0.01,
        "min_dcf_0.05": cost[0.05].min() / 0.05,
        "auc": roc_auc_score(label, -distance, sample_weight=weights),
        "cllr": log_loss(label, probability, sample_weight=balanced) / math.log(2.0),
        "balanced_precision": precision_score(label, accepted, sample_weight=balanced),
        "recall": recall_score(label, accepted, sample_weight=weights),
        "f1": f1_score(label, accepted, sample_weight=balanced),
        "false_accept_rate": 1.0 - recall_score(1 - label, ~accepted, sample_weight=weights),
        "false_reject_rate": 1.0 - recall_score(label, accepted, sample_weight=weights),
        "mean_similar_distance": np.average(distance, weights=weights * label),
        "mean_dissimilar_distance": np.average(distance, weights=weights * (1 - label)),
    }


@pytest.mark.parametrize("seed", range(4))
def test_every_figure_is_scikit_learns(seed):
    made = scores(seed)
    assert figures(made) == pytest.approx(by_scikit_learn(made, np.ones(len(made.label))), abs=1e-6)


@pytest.mark.parametrize("seed", range(4))
def test_every_weighted_figure_is_scikit_learns(seed):
    made = scores(seed)
    weights = np.random.default_rng(seed).integers(0, 4, len(made.label)).astype(float)
    assert figures(made, weights) == pytest.approx(by_scikit_learn(made, weights), abs=1e-6)


@settings(max_examples=60)
@given(
    st.lists(
        st.tuples(st.integers(0, 1), st.integers(0, 15), st.integers(0, 3)), min_size=1, max_size=40
    )
)
def test_a_weight_is_the_number_of_times_a_trial_is_there(trials):
    label, step, weights = (np.array(column) for column in zip(*trials, strict=True))
    distance = (step / 10.0).astype(np.float32)
    probability = (1.0 - step / 16.0).astype(np.float32)
    made = Scores(label, distance, probability, probability >= 0.5)
    repeated = Scores._make(np.repeat(column, weights) for column in made)
    assert figures(made, weights.astype(float)) == pytest.approx(figures(repeated), nan_ok=True)


def test_perfect_and_useless_calibration():
    label = np.array([1, 1, 0, 0])
    distance = np.array([0.1, 0.2, 0.8, 0.9], np.float32)
    sure = Scores(label, distance, label.astype(np.float32), label == 1)
    assert figures(sure)["cllr"] == pytest.approx(0.0, abs=1e-6)
    unsure = Scores(label, distance, np.full(4, 0.5, np.float32), np.full(4, True))
    assert figures(unsure)["cllr"] == pytest.approx(1.0)


def test_a_saturated_probability_that_is_wrong_costs_what_float32_can_tell():
    label = np.array([1, 0])
    wrong = Scores(
        label,
        np.array([0.9, 0.1], np.float32),
        np.array([0.0, 1.0], np.float32),
        np.array([False, True]),
    )
    assert figures(wrong)["cllr"] == pytest.approx((149.0 + 25.0) / 2.0)


@pytest.mark.parametrize("only", [0, 1])
def test_one_class_has_no_figure_that_needs_both(only):
    made = Scores(*(column[scores(0).label == only] for column in scores(0)))
    found = figures(made)
    for name in ("eer", "min_dcf_0.01", "auc", "cllr", "balanced_precision", "f1"):
        assert math.isnan(found[name])
    rate = "false_reject_rate" if only else "false_accept_rate"
    assert 0.0 <= found[rate] <= 1.0


def test_nothing_accepted_has_no_precision():
    made = scores(0)._replace(same_speaker=np.zeros(1_100, bool))
    assert math.isnan(figures(made)["balanced_precision"])
    assert figures(made)["recall"] == 0.0


@pytest.mark.parametrize("distance", [math.nan, math.inf, -1.0])
def test_an_invalid_distance_is_refused(distance):
    made = scores(0)
    made.distance[3] = distance
    with pytest.raises(ValueError, match="distance"):
        TrialMetrics(made)
