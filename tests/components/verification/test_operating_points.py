"""Thresholds for a stated share of false accepts."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.verification.operating_points import (
    ERRORS_NEEDED,
    MAX_FALSE_ACCEPT_RATES,
    error_rates_at,
    operating_points,
    speakers_needed,
    to_card,
)


def drawn_trials(speakers: int, seed: int = 0) -> pd.DataFrame:
    """One trial of every pair of speakers, and three of each speaker."""
    rng = np.random.default_rng(seed)
    first, second = np.triu_indices(speakers, k=1)
    own = np.repeat(np.arange(speakers), 3)
    return pd.DataFrame(
        {
            "speaker_a": np.concatenate([first, own]),
            "speaker_b": np.concatenate([second, own]),
            "label": np.concatenate([np.zeros(len(first), int), np.ones(len(own), int)]),
            "distance": np.concatenate(
                [rng.normal(1.2, 0.15, len(first)), rng.normal(0.7, 0.15, len(own))]
            ).astype(np.float32),
        }
    ).sample(frac=1.0, random_state=seed)


@pytest.mark.parametrize(("rate", "speakers"), [(0.05, 36), (0.01, 78), (0.001, 246)])
def test_so_many_speakers_have_pairs_for_thirty_errors(rate, speakers):
    assert speakers_needed(rate) == speakers
    assert speakers * (speakers - 1) / 2 * rate >= ERRORS_NEEDED
    assert (speakers - 1) * (speakers - 2) / 2 * rate < ERRORS_NEEDED


def test_a_threshold_lets_at_most_its_share_of_nontargets_pass():
    trials = drawn_trials(120)
    nontarget = trials.loc[trials["label"] == 0, "distance"].to_numpy()
    target = trials.loc[trials["label"] == 1, "distance"].to_numpy()
    known = [each for each in operating_points(trials, resamples=50, seed=0) if each.threshold]
    assert [each.max_false_accept_rate for each in known] == [0.05, 0.02, 0.01, 0.005]
    for point in known:
        assert point.threshold and point.false_accept_rate and point.false_reject_rate
        passing = float(np.mean(nontarget <= point.threshold))
        assert point.false_accept_rate.value == pytest.approx(passing, abs=1e-12)
        assert point.max_false_accept_rate - 2 / len(nontarget) <= passing
        assert passing <= point.max_false_accept_rate
        rejected = float(np.mean(target > point.threshold))
        assert point.false_reject_rate.value == pytest.approx(rejected, abs=1e-12)
        assert point.false_accept_rate.low < passing < point.false_accept_rate.high
        assert point.false_reject_rate.low <= rejected <= point.false_reject_rate.high


def test_with_too_few_speakers_a_point_is_empty_and_names_the_number_that_would_do():
    points = operating_points(drawn_trials(35), resamples=10, seed=0)
    assert len(points) == len(MAX_FALSE_ACCEPT_RATES)
    for point in points:
        assert (point.threshold, point.false_accept_rate, point.false_reject_rate) == (None,) * 3
    assert points[0].speakers_needed == 36
    assert operating_points(drawn_trials(36), resamples=10, seed=0)[0].threshold is not None


def test_without_nontarget_trials_every_point_is_empty():
    trials = drawn_trials(40)
    points = operating_points(trials[trials["label"] == 1], resamples=10, seed=0)
    assert all(point.threshold is None for point in points)


def test_no_error_at_all_is_no_certainty():
    trials = drawn_trials(40)
    below, beyond = error_rates_at(trials, [0.0, 9.0], resamples=10, seed=0)
    # Clopper and Pearson: none of 40 speakers.
    end = pytest.approx(1.0 - 0.025 ** (1 / 40))
    for rate in (below[0], beyond[1]):
        assert rate.value == rate.low == 0.0
        assert rate.high == end
    for rate in (below[1], beyond[0]):
        assert rate.value == rate.high == 1.0
        assert rate.low == pytest.approx(0.025 ** (1 / 40))
    separate = trials.assign(distance=np.where(trials["label"] == 1, 0.1, 1.0).astype(np.float32))
    card = to_card(operating_points(separate, resamples=10, seed=0)[0])
    assert card["false_reject_rate"] == {"value": 0.0, "low": 0.0, "high": end}
    # Of two alone there are trials that could be false rejects.
    few = separate[(separate["label"] == 0) | (separate["speaker_a"] < 2)]
    ((accepts, rejects),) = error_rates_at(few, [0.5], resamples=10, seed=0)
    assert accepts.high == end
    assert rejects.high == pytest.approx(1.0 - 0.025 ** (1 / 2))


@given(st.integers(0, 2**32 - 1))
def test_equal_distances_pass_together_or_not_at_all(seed):
    trials = drawn_trials(36, seed).assign(
        distance=lambda table: np.round(table["distance"], 1).astype(np.float32)
    )
    nontarget = trials.loc[trials["label"] == 0, "distance"].to_numpy()
    point = operating_points(trials, resamples=2, seed=0)[0]
    assert np.mean(nontarget <= point.threshold) <= point.max_false_accept_rate


def test_thresholds_fall_with_the_share_and_the_card_is_json_without_nan():
    points = operating_points(drawn_trials(250), resamples=20, seed=0)
    thresholds = [point.threshold for point in points if point.threshold is not None]
    assert len(thresholds) == 6
    assert thresholds == sorted(thresholds, reverse=True)
    card = to_card(points[0])
    assert card["max_false_accept_rate"] == 0.05
    assert set(card["false_reject_rate"]) == {"value", "low", "high"}
    assert to_card(points[-1])["threshold"] is None


def test_the_same_seed_gives_the_same_intervals():
    trials = drawn_trials(40)
    one, other = (operating_points(trials, resamples=20, seed=3) for _ in range(2))
    assert one == other
