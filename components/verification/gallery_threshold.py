"""The threshold for the nearest of many enrolled speakers, from a model's calibration.

A query by a person who is not enrolled is compared with each of N speakers, and the best of N
comparisons is near more often than one. Where one comparison accepts a share p of other people, a
query is to be accepted as seldom, so that each of its N comparisons may accept p / N of them.
So rare errors are beyond what the calibration speakers show: the lower tail of the distances of
different speakers is taken to fall exponentially.

Source: Pickands, "Statistical inference using extreme order statistics", Annals of Statistics 3,
1975 (excesses over a threshold; the generalised Pareto distribution with the shape 0).
"""

import math
from collections.abc import Mapping
from typing import Any

from components.errors import SwarError
from components.verification.error_rates import ALL_NONTARGETS


def gallery_threshold(card: Mapping[str, Any], threshold: float, speakers: int) -> float:
    """The distance up to which the nearest of so many enrolled speakers is named.

    Args:
        card: of the model.
        threshold: the model's own, for one comparison.
        speakers: enrolled; of one or none it is the model's own threshold.

    Returns:
        At least 0, the distance of a recording from itself.

    Raises:
        SwarError: the card has neither operating points nor a slope.
    """
    if speakers <= 1:
        return threshold
    return max(0.0, threshold - tail_scale(card, threshold) * math.log(speakers))


def tail_scale(card: Mapping[str, Any], threshold: float) -> float:
    """How much nearer a distance is that a factor of e fewer comparisons of other people reach.

    It lies between the loosest and the strictest of the model's operating points and of its own
    threshold with the false accepts that it had. A model with one of these alone has too few
    calibration speakers: there it is that of the calibrated odds, the reciprocal of the slope.

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
