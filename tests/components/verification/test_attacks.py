"""The share of recordings that claim to be of a speaker and are accepted."""

import math

import numpy as np
import pandas as pd
import pytest

from components.verification.attacks import CLAIM_COLUMNS, measure_claims


def claims(*rows):
    """Speaker, kind, status and whether it is accepted of each."""
    return pd.DataFrame(
        [
            (speaker, f"{number}.wav", kind, status, 0.5, 0.5, accepted)
            for number, (speaker, kind, status, accepted) in enumerate(rows)
        ],
        columns=list(CLAIM_COLUMNS),
    )


def measured(*rows, resamples=500):
    return {each.kind: each for each in measure_claims(claims(*rows), resamples=resamples, seed=0)}


def test_every_kind_is_counted_and_genuine_recordings_stand_beside_them():
    found = measured(
        ("asha", "replayed", "ok", True),
        ("asha", "replayed", "ok", False),
        ("bina", "synthetic", "ok", False),
        ("bina", "synthetic", "no_speech", False),
        ("asha", "genuine", "ok", True),
    )
    counts = {
        kind: (each.speakers, each.recordings, each.refused, each.accepted)
        for kind, each in found.items()
    }
    assert counts == {
        "all": (2, 4, 1, 1),
        "replayed": (1, 2, 0, 1),
        "synthetic": (1, 2, 1, 0),
        "genuine": (1, 1, 0, 1),
    }
    assert found["all"].rate.value == 0.25


def test_one_kind_is_not_told_twice():
    assert set(measured(("asha", "replayed", "ok", True))) == {"all"}


def test_without_claims_there_is_nothing():
    assert measure_claims(claims(), resamples=5, seed=0) == []


def test_the_interval_is_over_the_claimed_speakers():
    """Half of the speakers accept everything: the share of a resample is that of speakers."""
    rows = [(f"s{n}", "replayed", "ok", n % 2 == 0) for n in range(20) for _ in range(50)]
    rate = measured(*rows)["all"].rate
    rng = np.random.default_rng(1)
    drawn = rng.binomial(20, 0.5, 10_000) / 20
    assert rate.value == 0.5
    assert (rate.low, rate.high) == pytest.approx(np.quantile(drawn, [0.025, 0.975]), abs=0.051)


@pytest.mark.parametrize("accepted", [False, True])
def test_none_and_all_have_an_interval_too(accepted):
    rate = measured(*[(f"s{n}", "replayed", "ok", accepted) for n in range(8)])["all"].rate
    width = 1.0 - 0.025 ** (1.0 / 8.0)
    expected = (1.0 - width, 1.0) if accepted else (0.0, width)
    assert (rate.low, rate.high) == pytest.approx(expected)
    assert math.isfinite(rate.value)
