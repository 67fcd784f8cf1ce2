"""Intervals by resampling speakers."""

import itertools
import math

import numpy as np
import pytest

from components.verification.bootstrap import (
    Estimate,
    estimate,
    multiplicities,
    of_other_speakers,
    trial_weights,
    widened_at_ends,
)


def test_every_resample_has_as_many_speakers():
    drawn = multiplicities(7, 500, seed=1)
    assert drawn.shape == (500, 7)
    assert (drawn.sum(axis=1) == 7).all()
    assert drawn.mean() == 1.0
    # A speaker is left out with probability (1 - 1/7)^7.
    assert (drawn == 0).mean() == pytest.approx((6 / 7) ** 7, abs=0.03)


def test_the_same_seed_gives_the_same_resamples():
    np.testing.assert_array_equal(multiplicities(5, 20, 3), multiplicities(5, 20, 3))
    assert not np.array_equal(multiplicities(5, 20, 3), multiplicities(5, 20, 4))


def test_weights_are_those_of_trials_between_the_drawn_speakers():
    """Against the draw itself: every drawn speaker's trials, and those of every two of them."""
    trials = [(0, 0), (0, 1), (1, 1), (1, 2), (0, 2), (2, 2), (0, 1)]
    drawn = [0, 0, 0, 2]  # of speakers 0 to 3
    speaker_a, speaker_b = np.array(trials).T
    label = (speaker_a == speaker_b).astype(int)
    expected = []
    for one, other in trials:
        if one == other:
            expected.append(drawn.count(one))
        else:
            pairs = itertools.combinations(drawn, 2)
            expected.append(sum({one, other} == set(pair) for pair in pairs))
    weights = trial_weights(np.bincount(drawn, minlength=4), speaker_a, speaker_b, label)
    np.testing.assert_array_equal(weights, expected)


def test_the_interval_holds_95_percent_of_the_resamples():
    samples = np.arange(1_001) / 1_000.0
    found = estimate(0.4, samples)
    assert (found.value, found.low, found.high) == pytest.approx((0.4, 0.025, 0.975))


def test_resamples_without_a_figure_are_left_out_unless_they_are_many():
    samples = np.concatenate([np.full(5, np.nan), np.linspace(0.0, 1.0, 95)])
    assert estimate(0.5, samples).low == pytest.approx(0.025)
    found = estimate(0.5, np.concatenate([np.full(50, np.nan), samples]))
    assert found.value == 0.5
    assert math.isnan(found.low)
    assert math.isnan(found.high)


def test_the_interval_is_as_wide_as_the_figure_varies_with_other_speakers():
    """Speakers differ, so that few speakers tell little however many trials they have."""

    def recall_by_speaker(rng, speakers=30, trials=200):
        return rng.binomial(trials, rng.beta(4.0, 1.0, speakers)) / trials

    rng = np.random.default_rng(0)
    fresh = [recall_by_speaker(rng).mean() for _ in range(2_000)]
    spread = np.subtract(*np.quantile(fresh, [0.975, 0.025]))
    widths = []
    for seed in range(20):
        recall = recall_by_speaker(rng)
        drawn = multiplicities(30, 500, seed)
        found = estimate(recall.mean(), drawn @ recall / drawn.sum(axis=1))
        widths.append(found.high - found.low)
    assert np.mean(widths) == pytest.approx(spread, rel=0.15)
    of_trials = 2 * 1.96 * math.sqrt(0.8 * 0.2 / (30 * 200))
    assert np.mean(widths) > 5 * of_trials


@pytest.mark.parametrize("low_and_high", [(0.0, 0.0), (math.nan, math.nan)])
def test_a_rate_at_an_end_is_known_no_better_than_by_its_speakers(low_and_high):
    """Clopper and Pearson's interval of 8 speakers of whom none, or all, have such a trial."""
    width = 1.0 - 0.025 ** (1.0 / 8.0)
    none = widened_at_ends(Estimate(0.0, *low_and_high), 8)
    everything = widened_at_ends(Estimate(1.0, *(1.0 - each for each in low_and_high)), 8)
    assert [none.low, none.high] == pytest.approx([0.0, width])
    assert [everything.low, everything.high] == pytest.approx([1.0 - width, 1.0])
    for between in (Estimate(0.5, 0.5, 0.5), Estimate(0.5, 0.4, 0.6)):
        assert widened_at_ends(between, 8) == between


def test_as_many_other_speakers_are_within_the_interval_nineteen_times_of_twenty():
    generator = np.random.default_rng(0)
    # The logarithm of a rate of one group is normal around that of all speakers.
    rates = 0.02 * np.exp(0.3 * generator.standard_normal((4_000, 2)))
    reach = math.exp(1.96 * 0.3)
    within, within_own = [], []
    for one, other in rates:
        own = Estimate(one, one / reach, one * reach)
        expected = of_other_speakers(own)
        within.append(expected.low <= other <= expected.high)
        within_own.append(own.low <= other <= own.high)
    assert np.mean(within) == pytest.approx(0.95, abs=0.01)
    assert np.mean(within_own) < 0.86


def test_what_has_no_interval_gets_none():
    for known in (Estimate(0.0, 0.0, 0.2), Estimate(0.1, 0.0, 0.1)):
        assert of_other_speakers(known) == known
    nothing = of_other_speakers(Estimate(0.1, math.nan, math.nan))
    assert (nothing.value, math.isnan(nothing.low), math.isnan(nothing.high)) == (0.1, True, True)
