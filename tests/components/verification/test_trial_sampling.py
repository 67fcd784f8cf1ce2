"""Which trials there are, against listing them one by one."""

import itertools

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.verification.trials import choose_trials

ALL = 10**9


def table(pairs):
    return pd.DataFrame(pairs, columns=["speaker", "recording"])


def listed(utterances):
    """Every trial by the rule, as a set of (row, row, label)."""
    recordings = utterances.groupby("speaker")["recording"].nunique()
    trials = set()
    rows = list(utterances.itertuples(index=False))
    for one, other in itertools.combinations(range(len(rows)), 2):
        if rows[one].speaker != rows[other].speaker:
            trials.add((one, other, 0))
        elif recordings[rows[one].speaker] == 1 or rows[one].recording != rows[other].recording:
            trials.add((one, other, 1))
    return trials


def as_set(chosen):
    """The chosen trials, of which none may be there twice."""
    trials = [
        (min(one, other), max(one, other), int(label))
        for one, other, label in zip(chosen.first, chosen.second, chosen.label, strict=True)
    ]
    assert len(set(trials)) == len(trials)
    return set(trials)


UTTERANCES = st.lists(
    st.tuples(st.sampled_from("abcd"), st.sampled_from(["1", "2", "3"])), max_size=14
)


@settings(max_examples=100)
@given(UTTERANCES)
def test_all_trials_are_chosen_once(pairs):
    utterances = table(pairs)
    chosen = choose_trials(utterances, ALL, 0)
    expected = listed(utterances)
    assert as_set(chosen) == expected
    assert chosen.target_possible == sum(label for *_, label in expected)
    assert chosen.nontarget_possible == len(expected) - chosen.target_possible


@settings(max_examples=100)
@given(UTTERANCES, st.integers(0, 6), st.integers(0, 3))
def test_a_bound_gives_a_sample_of_each_class(pairs, most, seed):
    utterances = table(pairs)
    chosen = choose_trials(utterances, most, seed)
    assert as_set(chosen) <= listed(utterances)
    assert np.sum(chosen.label == 1) == min(most, chosen.target_possible)
    assert np.sum(chosen.label == 0) == min(most, chosen.nontarget_possible)


def test_the_same_seed_gives_the_same_sample():
    utterances = table([(f"s{i % 9}", str(i)) for i in range(90)])
    one, same, other = (choose_trials(utterances, 50, seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one.first, same.first)
    np.testing.assert_array_equal(one.second, same.second)
    assert as_set(one) != as_set(other)


def test_every_trial_is_as_likely():
    utterances = table([("a", "1"), ("a", "2"), ("b", "1"), ("b", "2"), ("c", "1"), ("c", "2")])
    counts = pd.Series(0, index=sorted(t for t in listed(utterances) if t[2] == 0))
    for seed in range(2_000):
        counts[[t for t in as_set(choose_trials(utterances, 3, seed)) if t[2] == 0]] += 1
    assert counts.min() > 0.8 * counts.mean()
    assert counts.max() < 1.2 * counts.mean()


def test_recordings_of_two_speakers_may_have_the_same_name():
    chosen = choose_trials(table([("a", "x"), ("b", "x"), ("b", "y"), ("a", "y")]), ALL, 0)
    assert as_set(chosen) == {(0, 1, 0), (0, 2, 0), (1, 3, 0), (2, 3, 0), (0, 3, 1), (1, 2, 1)}


@pytest.mark.parametrize("speakers", [2, 50_000])
def test_many_utterances_cost_no_more_than_what_is_chosen(speakers):
    """100,000 utterances have 5 billion trials."""
    number = np.arange(100_000)
    utterances = pd.DataFrame(
        {"speaker": (number % speakers).astype(str), "recording": (number // 4).astype(str)}
    )
    chosen = choose_trials(utterances, 1_000, 0)
    assert chosen.nontarget_possible > 2 * 10**9
    assert np.sum(chosen.label == 0) == 1_000
