"""Verdicts for a stated risk."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.errors import SwarError
from serving.answers import Decision, Description
from serving.decisions import ExpectedRate, decision_rule, expectation, percent, posterior


def point(rate, threshold, needed=100):
    known = threshold is not None
    figure = {"value": rate, "low": rate / 2, "high": rate * 2} if known else None
    return {
        "max_false_accept_rate": rate,
        "speakers_needed": needed,
        "threshold": threshold,
        "false_accept_rate": figure,
        "false_reject_rate": {"value": 0.1, "low": None, "high": None} if known else None,
    }


POINTS = [point(0.05, 1.1), point(0.01, 0.9), point(0.001, None, 246)]
ROW = {"false_accept_rate": {"value": 0.02, "low": 0.01, "high": 0.04}}
CALIBRATION = {"speakers": 120, "nontargets": [ROW], "operating_points": POINTS}


def described(calibration=None, threshold=1.0):
    card = {"calibration": CALIBRATION if calibration is None else calibration}
    return Description(16_000, 256, threshold, "digest", card, max_seconds=60.0)


def decided(distance):
    same = distance <= 1.0
    return Decision(distance, 0.6 if same else 0.4, same, "same" if same else "different")


def verdict(rule, distance):
    return rule.apply(decided(distance)).verdict


def test_a_rule_moves_the_probability_to_its_prior_and_the_decision_to_its_threshold():
    strict = decision_rule(described(), 0.01, prior=0.01).apply(decided(0.95))
    assert (strict.same_speaker, strict.verdict) == (False, "inconclusive")
    assert strict.probability == pytest.approx(posterior(0.6, 0.01))
    own = decision_rule(described()).apply(decided(0.95))
    assert own == decided(0.95)


def test_without_a_bound_the_models_own_threshold_decides_and_nothing_is_inconclusive():
    rule = decision_rule(described())
    assert [verdict(rule, distance) for distance in (0.99, 1.0, 1.01)] == ["same"] * 2 + [
        "different"
    ]
    assert rule.false_accepts == ExpectedRate(0.02, 0.01, 0.04)
    assert rule.false_rejects is None
    assert rule.speakers == 120


def test_false_accepts_of_people_who_sound_alike_are_said_where_they_are_known():
    near = {"false_accept_rate": {"value": 0.06, "low": 0.03, "high": 0.09}}
    known = described({**CALIBRATION, "nearest_nontargets": [near]})
    assert "false accepts 2 % (1 to 4 %), of people who sound most alike 6 % (3 to 9 %), of" in (
        expectation(decision_rule(known))
    )
    assert "alike" not in expectation(decision_rule(known, 0.01))
    assert "alike" not in expectation(decision_rule(described()))


def test_a_bound_takes_its_operating_point_and_what_a_looser_one_allows_is_inconclusive():
    rule = decision_rule(described(), 0.01)
    verdicts = [verdict(rule, distance) for distance in (0.9, 0.91, 1.1, 1.11)]
    assert verdicts == ["same", "inconclusive", "inconclusive", "different"]
    assert rule.false_accepts == ExpectedRate(0.01, 0.005, 0.02)
    assert rule.false_rejects == ExpectedRate(0.1, None, None)


def test_between_two_points_the_stricter_one_is_taken():
    assert decision_rule(described(), 0.03).accept_up_to == 0.9
    assert decision_rule(described(), 0.2).accept_up_to == 1.1


def test_the_models_threshold_may_be_the_loosest_of_all():
    assert decision_rule(described(threshold=1.3), 0.05).different_beyond == 1.3


def test_a_query_among_many_asks_more_of_each_comparison():
    assert decision_rule(described(), 0.05, comparisons=5).accept_up_to == 0.9
    assert decision_rule(described(), 0.05, comparisons=1).accept_up_to == 1.1
    with pytest.raises(SwarError, match="5 % false accepts of a query among 50 speakers: it was"):
        decision_rule(described(), 0.05, comparisons=50)


def test_without_a_bound_the_nearest_of_many_has_to_be_nearer_than_a_single_one():
    # From 1.1, which 5 % reach, to 0.9, which 1 % do, and the model's own threshold between.
    scale = 0.2 / math.log(5.0)
    rule = decision_rule(described(), comparisons=10)
    assert rule.accept_up_to == pytest.approx(1.0 - scale * math.log(10.0))
    verdicts = [verdict(rule, rule.accept_up_to + more) for more in (-0.01, 0.01)]
    assert verdicts == ["same", "inconclusive"]
    assert verdict(rule, 1.01) == "different"
    assert (rule.false_accepts, rule.false_rejects) == (ExpectedRate(0.02, 0.01, 0.04), None)
    assert expectation(rule) == (
        f"up to distance {rule.accept_up_to:.3f} from the nearest of 10: false accepts of a query "
        "2 % (1 to 4 %), of 120 calibration speakers, if their rare errors go on as the frequent "
        "ones do; prior 0.5"
    )
    assert decision_rule(described(), comparisons=0) == decision_rule(described(), comparisons=1)


def test_among_many_the_rates_of_a_bound_are_of_comparisons_and_the_bound_is_of_queries():
    assert expectation(decision_rule(described(), 0.05, comparisons=5)) == (
        "up to distance 0.900 from the nearest of 5: false accepts of a comparison 1 % (0.5 to "
        "2 %), false rejects 10 %, of 120 calibration speakers; false accepts of a query at most "
        "5 %; prior 0.5"
    )
    assert expectation(decision_rule(described(), 0.05)) == (
        "up to distance 1.100: false accepts 5 % (2.5 to 10 %), false rejects 10 %, of 120 "
        "calibration speakers; prior 0.5"
    )


def test_what_is_inconclusive_among_many_is_near_enough_for_the_loosest_point_of_so_many():
    points = [point(0.05, 1.1), point(0.01, 0.9), point(0.001, 0.6)]
    known = described({**CALIBRATION, "operating_points": points})
    scale = 0.5 / math.log(50.0)  # from 1.1, which 5 % reach, to 0.6, which 0.1 % do
    rule = decision_rule(known, 0.04, comparisons=40)
    assert rule.accept_up_to == 0.6
    assert rule.different_beyond == pytest.approx(1.1 - scale * math.log(40.0))
    verdicts = [verdict(rule, rule.different_beyond + more) for more in (-0.001, 0.001)]
    assert verdicts == ["inconclusive", "different"]
    assert decision_rule(known, 0.04, comparisons=1).different_beyond == 1.1


def test_no_distance_that_is_accepted_is_beyond_what_is_inconclusive():
    points = [point(0.05, 1.1), point(0.01, 0.9), point(0.001, 0.89)]
    known = described({**CALIBRATION, "operating_points": points}, threshold=0.9)
    rule = decision_rule(known, 0.05, comparisons=50)
    assert rule.accept_up_to == rule.different_beyond == 0.89
    assert [verdict(rule, distance) for distance in (0.89, 0.9)] == ["same", "different"]


def test_what_the_calibration_cannot_hold_is_refused_with_the_speakers_that_would_do():
    message = (
        "the model cannot hold 0.1 % false accepts: it was calibrated on 120 speakers and it can "
        "hold 1 % of a comparison; 246 calibration speakers would do"
    )
    with pytest.raises(SwarError) as raised:
        decision_rule(described(), 0.001)
    assert str(raised.value) == message
    with pytest.raises(SwarError, match="a larger share would do"):
        decision_rule(described(), 1e-6)


def test_a_model_without_operating_points_is_named_as_such():
    with pytest.raises(SwarError, match="the model has no operating points"):
        decision_rule(described({"speakers": 4}), 0.01)


@pytest.mark.parametrize("share", [0.0, 1.0, -0.1, math.nan])
def test_a_bound_that_is_no_share_is_refused(share):
    with pytest.raises(SwarError, match="max-false-accept is a share between 0 and 1"):
        decision_rule(described(), share)
    with pytest.raises(SwarError, match="prior is a probability between 0 and 1"):
        decision_rule(described(), prior=share)


@given(st.floats(0.0, 1.0), st.floats(0.001, 0.999))
def test_even_priors_change_nothing_and_others_move_the_odds(probability, prior):
    assert posterior(probability, 0.5) == pytest.approx(probability)
    moved = posterior(probability, prior)
    assert 0.0 <= moved <= 1.0
    if 0.01 < probability < 0.99:
        odds = math.log(moved / (1.0 - moved))
        expected = math.log(probability / (1.0 - probability)) + math.log(prior / (1.0 - prior))
        assert odds == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(
    ("probability", "text"),
    [(0.0, "below 0.1 %"), (0.5, "50.0 %"), (0.9994, "above 99.9 %"), (1.0, "above 99.9 %")],
)
def test_no_probability_claims_certainty(probability: float, text: str) -> None:
    assert percent(probability) == text
