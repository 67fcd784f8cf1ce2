"""How near the nearest of many has to be."""

import math

import numpy as np
import pytest

from components.errors import SwarError
from components.verification.error_rates import rate_of_comparison
from components.verification.gallery_threshold import (
    gallery_threshold,
    point_for_query,
    tail_scale,
)
from components.verification.operating_points import accepting_threshold


def card(*points, own=None, slope=20.0):
    own_rate = {"false_accept_rate": None if own is None else {"value": own}}
    return {
        "slope": slope,
        "calibration": {
            "nontargets": [own_rate],
            "operating_points": [
                {"max_false_accept_rate": rate, "threshold": threshold}
                for rate, threshold in points
            ],
        },
    }


def test_one_comparison_is_the_models_own_threshold():
    for speakers in (0, 1):
        assert gallery_threshold({}, 0.8, speakers) == 0.8


def test_the_tail_lies_between_the_loosest_and_the_strictest_that_is_known():
    known = card((0.05, 1.0), (0.01, 0.8), (0.001, None))
    assert tail_scale(known, 0.9) == pytest.approx(0.2 / math.log(5.0))
    with_own = card((0.05, 1.0), (0.02, 0.9), own=0.01)
    assert tail_scale(with_own, 0.8) == pytest.approx(0.2 / math.log(5.0))
    assert tail_scale(card((0.05, 1.0), own=0.01), 0.8) == pytest.approx(0.2 / math.log(5.0))


@pytest.mark.parametrize("known", [card(), card((0.05, 1.0)), card(own=0.01), card(own=0.0)])
def test_of_too_few_calibration_speakers_the_slope_says_it(known):
    assert tail_scale(known, 0.9) == pytest.approx(0.05)


def test_the_threshold_of_a_comparison_may_be_another_than_the_models_own():
    known = card((0.05, 1.0), (0.01, 0.8))
    assert gallery_threshold(known, 0.9, 1, of_comparison=1.0) == 1.0
    expected = 1.0 - 0.2 / math.log(5.0) * math.log(3.0)
    assert gallery_threshold(known, 0.9, 3, of_comparison=1.0) == pytest.approx(expected)


def point(rate, threshold, needed):
    return {"max_false_accept_rate": rate, "threshold": threshold, "speakers_needed": needed}


POINTS = [point(0.05, 1.0, 36), point(0.01, 0.8, 78), point(0.001, None, 246)]


def test_a_query_takes_the_loosest_point_that_holds_its_share_in_each_comparison():
    for speakers, expected in ((0, 1.0), (1, 1.0), (5, 0.8)):
        chosen = point_for_query(POINTS, 0.05, speakers)
        assert chosen.point is not None and chosen.point["threshold"] == expected
        assert chosen.speakers_needed is None
    assert chosen.comparison_rate == rate_of_comparison(0.05, 5)


def test_a_share_that_no_point_holds_says_how_many_calibration_speakers_would_do():
    too_few, too_strict = (point_for_query(POINTS, share, 1) for share in (0.001, 0.0001))
    assert (too_few.point, too_few.speakers_needed) == (None, 246)
    assert (too_strict.point, too_strict.speakers_needed) == (None, None)
    assert point_for_query([], 0.05, 1).speakers_needed is None


def test_a_card_that_says_neither_is_an_error():
    with pytest.raises(SwarError, match="neither operating points nor a slope"):
        gallery_threshold({"calibration": None}, 0.8, 2)


def test_a_distance_of_nothing_is_always_near_enough():
    assert gallery_threshold(card((0.05, 1.0), (0.01, 0.8)), 0.9, 10**9) == 0.0


@pytest.mark.parametrize("speakers", [2, 10, 50])
def test_as_many_queries_are_accepted_as_single_comparisons_where_the_tail_is_exponential(speakers):
    generator = np.random.default_rng(0)

    def distances(shape):
        return np.maximum(0.0, 2.0 - generator.exponential(0.1, shape))

    single = np.sort(distances(200_000))
    points = [(rate, accepting_threshold(single, rate)) for rate in (0.05, 0.01)]
    own = accepting_threshold(single, 0.02)
    threshold = gallery_threshold(card(*points), own, speakers)
    nearest = distances((20_000, speakers)).min(axis=1)
    assert np.mean(nearest <= threshold) == pytest.approx(0.02, abs=0.006)
    assert np.mean(nearest <= own) > 0.03
