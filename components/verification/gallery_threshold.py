"""The thresholds for the nearest of many enrolled speakers, from a model's calibration.

A query by a speaker who is not enrolled is compared with each of N speakers, and the best of N
comparisons is near more often than one. If one comparison accepts a share p of other speakers, a
query should accept no more, so that each of its N comparisons may accept p / N of them. The
calibration speakers do not show errors so rare: the lower tail of the distances of different
speakers is assumed to fall exponentially.

Source: Pickands, "Statistical inference using extreme order statistics", Annals of Statistics 3,
1975 (excesses over a threshold; the generalised Pareto distribution with the shape 0).
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from components.errors import SwarError
from components.verification.error_rates import ALL_NONTARGETS, rate_of_comparison


@dataclass(frozen=True)
class PointForQuery:
    """The operating point of a model that holds a query's share of false accepts."""

    comparison_rate: float
    """Most false accepts, as a share, of each of the query's comparisons."""
    point: Mapping[str, Any] | None
    """The loosest that holds it, as in the model's card; None if none with a threshold does."""
    speakers_needed: int | None
    """Calibration speakers needed for such a point; None where there is one, or the card has
    none that is strict enough."""


def point_for_query(
    points: Sequence[Mapping[str, Any]], max_false_accept: float, speakers: int
) -> PointForQuery:
    """The loosest operating point for a query that is compared with `speakers` speakers.

    Args:
        points: of the model's card, see `operating_points.to_card`.
        max_false_accept: largest accepted share of queries by other speakers, in (0, 1).
        speakers: how many a query is compared with; 0 counts as 1.
    """
    rate = rate_of_comparison(max_false_accept, max(1, speakers))
    strict_enough = [point for point in points if point["max_false_accept_rate"] <= rate]
    holding = [point for point in strict_enough if point["threshold"] is not None]
    if holding:
        return PointForQuery(rate, max(holding, key=lambda point: point["threshold"]), None)
    needed = min((int(point["speakers_needed"]) for point in strict_enough), default=None)
    return PointForQuery(rate, None, needed)


def gallery_threshold(
    card: Mapping[str, Any],
    threshold: float,
    speakers: int,
    *,
    of_comparison: float | None = None,
) -> float:
    """The distance up to which the nearest of `speakers` enrolled speakers is accepted.

    Args:
        card: of the model.
        threshold: the model's own, for one comparison.
        speakers: how many are enrolled; 0 or 1 give the threshold of one comparison.
        of_comparison: distance up to which one comparison is accepted, such as the threshold of
            an operating point; None for the model's own threshold.

    Returns:
        At least 0, the distance of a recording from itself.

    Raises:
        SwarError: the card has neither operating points nor a slope.
    """
    single = threshold if of_comparison is None else of_comparison
    if speakers <= 1:
        return single
    return max(0.0, single - tail_scale(card, threshold) * math.log(speakers))


def tail_scale(card: Mapping[str, Any], threshold: float) -> float:
    """By how much a threshold must fall to divide the false accepts by e.

    It is computed from the loosest and the strictest of the model's operating points and its own
    threshold, each with its false accepts. A model with only one of these has too few calibration
    speakers: the result is then that of the calibrated odds, the reciprocal of the slope.

    Args:
        card: of the model.
        threshold: the model's own.

    Raises:
        SwarError: the card has neither operating points nor a slope.
    """
    calibration = card.get("calibration") or {}
    rate_of = {
        float(point["threshold"]): float(point["max_false_accept_rate"])
        for point in calibration.get("operating_points") or ()
        if point["threshold"] is not None
    }
    for shortest in (calibration.get(ALL_NONTARGETS) or [])[:1]:
        own = shortest.get("false_accept_rate")
        if own is not None and own["value"]:
            rate_of[threshold] = float(own["value"])
    loosest, strictest = max(rate_of, default=0.0), min(rate_of, default=0.0)
    if strictest < loosest and rate_of[strictest] < rate_of[loosest]:
        return (loosest - strictest) / math.log(rate_of[loosest] / rate_of[strictest])
    if not card.get("slope"):
        raise SwarError(
            "the model's card has neither operating points nor a slope, so that nobody can be "
            "identified among several speakers: publish the model again with this version of swar"
        )
    return 1.0 / float(card["slope"])
