"""FPIR and FNIR of galleries, search by search."""

import math

import numpy as np
import pytest
from sklearn.metrics import roc_curve

from components.verification.bootstrap import multiplicities
from components.verification.open_set import (
    NO_OPERATING_POINTS,
    TOO_FEW_CALIBRATION_SPEAKERS,
    OpenSetRules,
    OpenSetSearches,
    draw_galleries,
)
from components.verification.searches import BEST_MATCH, MEAN, DistanceBlock
from serving.answers import Description
from serving.decisions import decision_rule

GALLERIES, RESAMPLES, SEED = 6, 60, 3
POINTS: list[dict[str, float | None]] = [
    {"max_false_accept_rate": 0.05, "speakers_needed": 36, "threshold": 0.4},
    {"max_false_accept_rate": 0.02, "speakers_needed": 56, "threshold": 0.3},
    {"max_false_accept_rate": 0.001, "speakers_needed": 246, "threshold": None},
]


def rules(*sizes, threshold=0.5, points=None, galleries=GALLERIES):
    card = {"threshold": threshold, "slope": math.inf, "calibration": {"operating_points": points}}
    return OpenSetRules(sizes, galleries, 10**9, card)


def measured(distance, query_speaker, given, *, best_match=None, seed=SEED, block=10**9):
    """Rows by reference and size, of queries that come in blocks."""
    distance = np.asarray(distance, np.float32)
    distances = {MEAN: distance}
    if best_match is not None:
        distances[BEST_MATCH] = np.asarray(best_match, np.float32)
    query_speaker = np.asarray(query_speaker)
    searches = OpenSetSearches(distance.shape[1], distances, given, seed)
    for start in range(0, len(distance), block):
        part = slice(start, start + block)
        searches.add(
            DistanceBlock(
                query_speaker[part], {name: each[part] for name, each in distances.items()}
            )
        )
    rows = searches.measure("made", 10.0, 5.0, RESAMPLES)
    return {(row.reference, row.gallery_speakers): row for row in rows}


def made_up(speakers=12, per_speaker=4, seed=0):
    """Distances whose own are smaller by and large, and who asks."""
    rng = np.random.default_rng(seed)
    query_speaker = np.repeat(np.arange(speakers), per_speaker)
    distance = rng.gamma(6.0, 0.15, (len(query_speaker), speakers))
    distance[np.arange(len(distance)), query_speaker] *= 0.6
    return distance.astype(np.float32), query_speaker


def searched(distance, query_speaker, galleries):
    """One search after the other: who asks, who is nearest, at which distance, and is it right?"""
    for gallery in galleries:
        for row, speaker in zip(distance, query_speaker, strict=True):
            nearest = min(gallery, key=lambda each: row[each])
            yield speaker, nearest, row[nearest], speaker in gallery, speaker == nearest


def rates_of(searches, threshold, drawn=None):
    """FPIR and FNIR; with how often each speaker is drawn, each search so often."""
    total, wrong = [0, 0], [0, 0]
    for speaker, nearest, distance, is_mated, is_right in searches:
        times = 1 if drawn is None else drawn[speaker] * (1 if is_mated else drawn[nearest])
        is_named = distance <= threshold
        total[is_mated] += times
        wrong[is_mated] += times * (not (is_named and is_right) if is_mated else is_named)
    return wrong[0] / total[0], wrong[1] / total[1]


@pytest.mark.parametrize(
    ("threshold", "fpir", "fnir"), [(0.05, 0.0, 1.0), (0.3, 0.0, 0.0), (0.5, 1.0, 0.0)]
)
def test_of_three_speakers_at_their_own_places_the_threshold_decides(threshold, fpir, fnir):
    distance = np.full((3, 3), 0.4) - 0.3 * np.eye(3)  # 0.1 from themselves
    row = measured(distance, [0, 1, 2], rules(2, threshold=threshold))["mean", 2]
    assert (row.mated_searches, row.nonmated_searches) == (2 * GALLERIES, GALLERIES)
    default = row.rates["default"]
    assert (default.threshold, default.fpir.value, default.fnir.value) == (threshold, fpir, fnir)


def test_another_speaker_who_is_nearer_is_an_error_only_where_enrolled():
    distance = np.array([[0.2, 0.1, 0.9], [0.9, 0.1, 0.9], [0.9, 0.9, 0.1]])
    row = measured(distance, [0, 1, 2], rules(2))["mean", 2]
    galleries = [set(each) for each in draw_galleries(3, [2], GALLERIES, SEED)[2]]
    missed, named = galleries.count({0, 1}), galleries.count({1, 2})
    assert 0 < missed < GALLERIES
    assert 0 < named < GALLERIES
    assert row.rates["default"].fnir.value == missed / (2 * GALLERIES)
    assert row.rates["default"].fpir.value == named / GALLERIES


def test_as_near_as_another_is_not_found():
    distance = np.array([[0.1, 0.1, 0.1]] * 3)
    row = measured(distance, [0, 1, 2], rules(2))["mean", 2]
    assert (row.rates["default"].fpir.value, row.rates["default"].fnir.value) == (1, 1)


def test_no_error_at_all_is_no_certainty():
    distance = np.full((12, 12), 0.4) - 0.3 * np.eye(12)  # 0.1 from themselves
    (row,) = measured(distance, np.arange(12), rules(6, threshold=0.3)).values()
    enrolled = [set(each) for each in draw_galleries(12, [6], GALLERIES, SEED)[6]]
    mated = len(set.union(*enrolled))
    nonmated = 12 - len(set.intersection(*enrolled))
    assert (mated, nonmated) == (11, 12)
    # Clopper and Pearson: none of so many who ask.
    default = row.rates["default"]
    for rate, speakers in ((default.fpir, nonmated), (default.fnir, mated)):
        assert rate.value == rate.low == 0.0
        assert rate.high == pytest.approx(1.0 - 0.025 ** (1 / speakers))


@pytest.mark.parametrize("size", [2, 5, 11])
def test_rates_are_those_of_one_search_after_the_other(size):
    distance, query_speaker = made_up()
    row = measured(distance, query_speaker, rules(size, points=POINTS))["mean", size]
    galleries = draw_galleries(12, [size], GALLERIES, SEED)[size]
    searches = list(searched(distance, query_speaker, galleries))
    assert row.mated_searches == sum(each[3] for each in searches)
    assert row.nonmated_searches == sum(not each[3] for each in searches)
    compared = 0
    for rates in row.rates.values():
        if rates.threshold is None:
            continue
        drawn = multiplicities(12, RESAMPLES, SEED)
        expected = rates_of(searches, rates.threshold)
        assert (rates.fpir.value, rates.fnir.value) == pytest.approx(expected)
        if size == 5:
            resampled = np.array([rates_of(searches, rates.threshold, each) for each in drawn])
            low, high = np.quantile(resampled, [0.025, 0.975], axis=0)
            for rate, *ends in zip((rates.fpir, rates.fnir), low, high, strict=True):
                if 0.0 < rate.value < 1.0:
                    assert (rate.low, rate.high) == pytest.approx(tuple(ends))
        compared += 1
    assert compared >= 3
    thresholds = {0.0, *(each[2] for each in searches)}
    assert row.held_rate == pytest.approx(min(max(rates_of(searches, at)) for at in thresholds))


@pytest.mark.parametrize("fpir", [0.05, 0.01])
def test_thresholds_hold_their_fpir_and_a_looser_one_does_not(fpir):
    distance, query_speaker = made_up(20, 10)
    row = measured(distance, query_speaker, rules(5))["mean", 5]
    galleries = draw_galleries(20, [5], GALLERIES, SEED)[5]
    searches = list(searched(distance, query_speaker, galleries))
    rates = row.rates[f"fpir_{fpir:g}"]
    nonmated = np.sort([each[2] for each in searches if not each[3]])
    looser = nonmated[nonmated > rates.threshold][0]
    assert rates.fpir.value <= fpir < np.mean(nonmated <= looser)
    assert row.rates["fpir_0.01"].fnir.value >= row.rates["fpir_0.05"].fnir.value


def test_in_galleries_of_one_speaker_searches_are_trials():
    """FPIR and FNIR are scikit-learn's false positive and false negative rates."""
    distance, query_speaker = made_up()
    row = measured(distance, query_speaker, rules(1, galleries=12))["mean", 1]
    enrolled = draw_galleries(12, [1], 12, SEED)[1][:, 0]
    label = query_speaker[:, np.newaxis] == enrolled
    false_positive, true_positive, thresholds = roc_curve(
        label.ravel(), -distance[:, enrolled].ravel(), drop_intermediate=False
    )
    for rates in row.rates.values():
        if rates.threshold is not None:
            place = np.flatnonzero(-thresholds <= rates.threshold)[-1]
            assert rates.fpir.value == pytest.approx(false_positive[place])
            assert rates.fnir.value == pytest.approx(1.0 - true_positive[place])


def test_an_unknown_speaker_gets_a_name_more_often_the_more_are_enrolled():
    """The same queries in galleries of which each holds the next smaller one."""
    distance, query_speaker = made_up(30, 5)
    galleries = draw_galleries(30, [2, 5, 10, 20], GALLERIES, SEED)
    for each in range(GALLERIES):
        outside = ~np.isin(query_speaker, galleries[20][each])
        named = [
            np.mean(distance[outside][:, galleries[size][each]].min(axis=1) <= 0.5)
            for size in galleries
        ]
        assert named == sorted(named)
        assert named[0] < named[-1]
    rows = measured(distance, query_speaker, rules(2, 5, 10, 20))
    fpir = [rows["mean", size].rates["default"].fpir.value for size in (2, 5, 10, 20)]
    assert fpir == sorted(fpir)
    assert fpir[0] < fpir[-1]


def test_independent_comparisons_give_the_rate_of_the_rule():
    """What one comparison may accept makes the share of a query, whatever N is."""
    rng = np.random.default_rng(0)
    distance = rng.uniform(size=(4_000, 40)).astype(np.float32)
    query_speaker = np.repeat(np.arange(40), 100)
    points = [
        {"max_false_accept_rate": rate, "speakers_needed": 1, "threshold": rate}
        for rate in np.geomspace(0.05, 0.0005, 200)
    ]
    rows = measured(distance, query_speaker, rules(2, 10, 30, points=points))
    for size in (2, 10, 30):
        row = rows["mean", size]
        assert row.comparison_rate == pytest.approx(1.0 - 0.95 ** (1.0 / size))
        assert row.rates["per_query_0.05"].fpir.value == pytest.approx(0.05, abs=0.01)


def test_the_references_are_measured_each_by_itself():
    distance, query_speaker = made_up()
    nearer = distance - 0.1
    given = rules(5, points=[{"max_false_accept_rate": 0.01, "threshold": 0.3}])
    rows = measured(distance, query_speaker, given, best_match=nearer)
    alone = measured(nearer, query_speaker, given)
    assert list(rows) == [("mean", 5), ("best_match", 5)]
    assert rows["best_match", 5].rates == alone["mean", 5].rates
    assert rows["mean", 5].rates != rows["best_match", 5].rates


def test_a_gallery_that_leaves_nobody_out_is_absent():
    distance, query_speaker = made_up()
    rows = measured(distance, query_speaker, rules(2, 11, 12, 500))
    assert list(rows) == [("mean", 2), ("mean", 11)]
    assert measured(distance, query_speaker, rules(12)) == {}


def test_the_seed_draws_the_galleries_and_a_larger_one_holds_the_smaller():
    one, again, other = (draw_galleries(30, [2, 10], GALLERIES, seed) for seed in (0, 0, 1))
    for size in (2, 10):
        np.testing.assert_array_equal(one[size], again[size])
        assert one[size].shape == (GALLERIES, size)
        assert all(len(set(gallery)) == size for gallery in one[size])
    np.testing.assert_array_equal(one[10][:, :2], one[2])
    assert (one[10] != other[10]).any()


def test_the_same_seed_gives_the_same_rates_however_queries_come():
    distance, query_speaker = made_up()
    at_once = measured(distance, query_speaker, rules(2, 5))
    # A NaN equals no other.
    assert repr(measured(distance, query_speaker, rules(2, 5), block=7)) == repr(at_once)
    assert repr(measured(distance, query_speaker, rules(2, 5), seed=4)) != repr(at_once)


def test_a_model_without_operating_points_has_no_rule():
    distance, query_speaker = made_up()
    row = measured(distance, query_speaker, rules(5))["mean", 5]
    rates = row.rates["per_query_0.05"]
    assert (row.missing, row.speakers_needed) == (NO_OPERATING_POINTS, None)
    assert rates.threshold is None
    assert math.isnan(rates.fpir.value)
    assert math.isnan(rates.fnir.value)


def test_a_rule_that_the_calibration_cannot_hold_says_what_would_do():
    distance, query_speaker = made_up()
    rows = measured(distance, query_speaker, rules(2, 11, points=POINTS))
    assert rows["mean", 2].rates["per_query_0.05"].threshold == 0.3
    assert (rows["mean", 2].missing, rows["mean", 2].speakers_needed) == (None, None)
    assert rows["mean", 11].rates["per_query_0.05"].threshold is None
    assert rows["mean", 11].missing == TOO_FEW_CALIBRATION_SPEAKERS
    assert rows["mean", 11].speakers_needed == 246


@pytest.mark.parametrize("size", [1, 2])
def test_the_rule_is_the_one_that_identification_applies(size):
    distance, query_speaker = made_up()
    rate: dict[str, object] = {"value": 0.0, "low": None, "high": None}
    expected = [{"false_accept_rate": rate, "false_reject_rate": rate, **point} for point in POINTS]
    card = {"calibration": {"speakers": 60, "operating_points": expected}}
    served = decision_rule(
        Description(16_000, 256, 0.5, "digest", card, max_seconds=60.0), 0.05, comparisons=size
    )
    row = measured(distance, query_speaker, rules(size, points=POINTS))["mean", size]
    assert row.rates["per_query_0.05"].threshold == served.accept_up_to
