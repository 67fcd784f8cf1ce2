"""From a distance to a verdict, at the risk that a user accepts."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from components.errors import SwarError
from components.verification.error_rates import ALL_NONTARGETS, NEAREST_NONTARGETS
from components.verification.gallery_threshold import (
    PointForQuery,
    gallery_threshold,
    point_for_query,
)
from serving import defaults
from serving.answers import DIFFERENT, INCONCLUSIVE, SAME, Decision, Description, Verdict


@dataclass(frozen=True)
class ExpectedRate:
    """An error rate of the model's calibration speakers, and its 95 % interval."""

    value: float
    low: float | None
    """None if the speakers were too few for an interval."""
    high: float | None


@dataclass(frozen=True)
class DecisionRule:
    """Which distances are accepted, and what to expect of that."""

    accept_up_to: float
    """The largest distance at which two recordings are said to be of one speaker."""
    different_beyond: float
    """A distance of at least `accept_up_to`; distances between the two are inconclusive."""
    false_accepts: ExpectedRate | None
    """Of single comparisons with another speaker; without a bound, of queries among `comparisons`
    speakers. None if the model's card has none."""
    false_rejects: ExpectedRate | None
    """Of comparisons of a speaker with himself or herself; None if not known."""
    speakers: int
    """How many calibration speakers the rates are of."""
    max_false_accept: float | None = None
    """The bound that was requested; None for the model's own threshold."""
    prior: float = defaults.PRIOR
    """Of the same speaker, in (0, 1); the probabilities assume it."""
    false_accepts_of_alike: ExpectedRate | None = None
    """Of comparisons with those other speakers who sound most alike, such as people on one line
    and of one language; None if the card has none, and with a bound."""
    comparisons: int = 1
    """How many enrolled speakers a query is compared with."""

    @property
    def is_of_model(self) -> bool:
        """Whether the model's own threshold decides."""
        return self.max_false_accept is None and self.comparisons <= 1

    def apply(self, decision: Decision) -> Decision:
        """The model's score, decided by this rule."""
        verdict = self._verdict(decision)
        return replace(
            decision,
            probability=posterior(decision.probability, self.prior),
            same_speaker=verdict == SAME,
            verdict=verdict,
        )

    def _verdict(self, decision: Decision) -> Verdict:
        if self.is_of_model:
            return decision.verdict
        if decision.distance <= self.accept_up_to:
            return SAME
        return INCONCLUSIVE if decision.distance <= self.different_beyond else DIFFERENT


def decision_rule(
    description: Description,
    max_false_accept: float | None = None,
    *,
    prior: float = defaults.PRIOR,
    comparisons: int = 1,
) -> DecisionRule:
    """The rule for a bounded share of false accepts, or the model's own threshold.

    With a bound there is a third verdict: a distance that this risk does not allow, but the
    loosest operating point of the model does, is inconclusive; among several speakers that point
    is held to its share of queries by `gallery_threshold`. Among several speakers a distance may
    be inconclusive without a bound too: near enough for one comparison, but not for the best of
    so many.

    Args:
        description: of the model that scores.
        max_false_accept: largest share in (0, 1) of queries by other speakers that are accepted;
            None for the model's threshold, which weighs both kinds of error alike, or among
            several speakers for that of `gallery_threshold`, which accepts the same share of
            queries as the model's threshold does of single comparisons.
        prior: of the same speaker, in (0, 1), for the probabilities; the verdict ignores it.
        comparisons: how many enrolled speakers a query is compared with. The best of many is
            accepted more often than a single one: as if they were independent, which errs on the
            safe side, each may accept `1 - (1 - max_false_accept) ** (1 / N)`.

    Raises:
        SwarError: share or prior is out of range, or the model's calibration cannot hold the share.
    """
    if not 0.0 < prior < 1.0:
        raise SwarError(f"prior is a probability between 0 and 1, not {prior:g}")
    calibration = description.card.get("calibration", {})
    speakers = int(calibration.get("speakers", 0))
    threshold = loosest = description.threshold
    alike: Mapping[str, Any] = {}
    if max_false_accept is None:
        row: Mapping[str, Any] = next(iter(calibration.get(ALL_NONTARGETS, ())), {})
        if comparisons <= 1:
            alike = next(iter(calibration.get(NEAREST_NONTARGETS, ())), {})
        else:
            threshold = gallery_threshold(description.card, threshold, comparisons)
            row = {name: row[name] for name in ("speakers", "false_accept_rate") if name in row}
    else:
        points = _operating_points(calibration, max_false_accept)
        chosen = point_for_query(points, max_false_accept, comparisons)
        if chosen.point is None:
            raise SwarError(_too_few(points, chosen, max_false_accept, comparisons, speakers))
        row = chosen.point
        threshold = float(row["threshold"])
        loosest = max(threshold, _loosest_threshold_of_query(description, comparisons))
    speakers = int(row.get("speakers", speakers))  # those of the row
    false_accepts, false_rejects = (
        _expected(row, name) for name in ("false_accept_rate", "false_reject_rate")
    )
    return DecisionRule(
        threshold,
        loosest,
        false_accepts,
        false_rejects,
        speakers,
        max_false_accept,
        prior,
        _expected(alike, "false_accept_rate"),
        max(1, comparisons),
    )


def loosest_threshold(description: Description) -> float:
    """The largest distance that some operating point of the model takes for one speaker."""
    points = description.card.get("calibration", {}).get("operating_points") or ()
    known = [float(point["threshold"]) for point in points if point["threshold"] is not None]
    return max(description.threshold, *known) if known else description.threshold


def _loosest_threshold_of_query(description: Description, comparisons: int) -> float:
    """`loosest_threshold` for the nearest of so many speakers."""
    return gallery_threshold(
        description.card,
        description.threshold,
        comparisons,
        of_comparison=loosest_threshold(description),
    )


def expectation(rule: DecisionRule) -> str:
    """The rates of a rule for the calibration speakers, and its probabilities' prior.

    Among several speakers it says which rates are of comparisons and which of queries.
    """
    is_bounded = rule.max_false_accept is not None
    of_what = "" if rule.comparisons <= 1 else f" of a {'comparison' if is_bounded else 'query'}"
    rates = [
        f"{kind} {_rate(rate)}"
        for kind, rate in (
            (f"false accepts{of_what}", rule.false_accepts),
            ("of people who sound most alike", rule.false_accepts_of_alike),
            ("false rejects", rule.false_rejects),
        )
        if rate is not None
    ]
    speakers = f"{rule.speakers} calibration speaker{'' if rule.speakers == 1 else 's'}"
    measured = f"{', '.join(rates)}, of {speakers}" if rates else "no error rates are known"
    nearest = ""
    if rule.comparisons > 1:
        nearest = f" from the nearest of {rule.comparisons:,}"
        if rule.max_false_accept is None:
            measured += ", if their rare errors go on as the frequent ones do"
        else:
            measured += f"; false accepts of a query at most {100.0 * rule.max_false_accept:g} %"
    return f"up to distance {rule.accept_up_to:.3f}{nearest}: {measured}; prior {rule.prior:g}"


def percent(probability: float) -> str:
    """A probability as people read it: never 0 % or 100 %, which would claim certainty."""
    if probability < 0.001:
        return "below 0.1 %"
    if probability > 0.999:
        return "above 99.9 %"
    return f"{100.0 * probability:.1f} %"


def _rate(rate: ExpectedRate) -> str:
    if rate.low is None or rate.high is None:
        return f"{100.0 * rate.value:.2g} %"
    return f"{100.0 * rate.value:.2g} % ({100.0 * rate.low:.2g} to {100.0 * rate.high:.2g} %)"


def _operating_points(
    calibration: Mapping[str, Any], max_false_accept: float
) -> list[Mapping[str, Any]]:
    if not 0.0 < max_false_accept < 1.0:
        raise SwarError(f"max-false-accept is a share between 0 and 1, not {max_false_accept:g}")
    points: list[Mapping[str, Any]] | None = calibration.get("operating_points")
    if points is None:
        raise SwarError(
            "the model has no operating points, only its own threshold: calibrate or train it "
            "with this version of swar, or leave --max-false-accept out"
        )
    return points


def posterior(probability: float, prior: float) -> float:
    """P(same speaker) at a prior other than 0.5.

    Bayes' rule: the odds at equal priors, which are the likelihood ratio, times the prior odds.

    Args:
        probability: at equal priors, in [0, 1].
        prior: of the same speaker, in (0, 1).
    """
    same = probability * prior
    return same / (same + (1.0 - probability) * (1.0 - prior))


def _expected(row: Mapping[str, Any], name: str) -> ExpectedRate | None:
    rate = row.get(name)
    return None if rate is None else ExpectedRate(rate["value"], rate["low"], rate["high"])


def _too_few(
    points: list[Mapping[str, Any]],
    chosen: PointForQuery,
    max_false_accept: float,
    comparisons: int,
    speakers: int,
) -> str:
    """Why no operating point is strict enough, and what would do."""
    speakers = min((int(point.get("speakers", speakers)) for point in points), default=speakers)
    wanted = f"{100.0 * max_false_accept:g} % false accepts"
    if comparisons > 1:
        wanted += f" of a query among {comparisons} speakers"
    needed = chosen.speakers_needed
    known = [p["max_false_accept_rate"] for p in points if p["threshold"] is not None]
    can = f"it can hold {100.0 * min(known):g} % of a comparison" if known else "it can hold none"
    more = "a larger share" if needed is None else f"{needed} calibration speakers"
    return (
        f"the model cannot hold {wanted}: it was calibrated on {speakers} speakers and {can}; "
        f"{more} would do"
    )
