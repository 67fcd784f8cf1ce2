"""Open-set identification: queries by enrolled speakers and by others, in galleries of N speakers.

FPIR, the false positive identification rate, is the share of the non-mated searches (queries by
speakers who are not enrolled) in which a speaker is identified. FNIR, the false negative
identification rate, is the share of the mated searches in which the right speaker is not
identified: another one is nearest, or the right one is not accepted. Source of both: ISO/IEC
19795-1:2021.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from components.keyed_random import keyed_generator
from components.verification.bootstrap import (
    Estimate,
    estimate,
    multiplicities,
    trial_weights,
    widened_at_ends,
)
from components.verification.error_rates import NONTARGET
from components.verification.gallery_threshold import (
    PointForQuery,
    gallery_threshold,
    point_for_query,
)
from components.verification.operating_points import accepting_threshold
from components.verification.searches import DistanceBlock, Distances
from components.verification.trials import Indices

DEFAULT: Final = "default"
"""Name of the rates of `swar identify` without an option."""
HELD_FPIRS: Final = (0.05, 0.01)
MAX_FALSE_ACCEPT: Final = 0.05
"""Largest accepted share of non-mated queries; each of N comparisons may accept less."""
PER_QUERY: Final = f"per_query_{MAX_FALSE_ACCEPT:g}"

NO_OPERATING_POINTS: Final = "no_operating_points"
TOO_FEW_CALIBRATION_SPEAKERS: Final = "too_few_calibration_speakers"

_NO_ESTIMATE: Final = Estimate(math.nan, math.nan, math.nan)


def held_fpir_name(fpir: float) -> str:
    """Name of the rates at the threshold that holds an FPIR."""
    return f"fpir_{fpir:g}"


@dataclass(frozen=True)
class OpenSetRules:
    """Which galleries are drawn, and the model's thresholds."""

    gallery_speakers: tuple[int, ...]
    """Sizes of galleries; those that leave no speaker out are not drawn."""
    galleries: int
    """Number of galleries of each size."""
    best_match_comparisons: int
    """Most comparisons of queries with single embeddings; more leave out the best match."""
    card: Mapping[str, Any]
    """The model's, with its `threshold` and `calibration`."""

    def threshold(self, speakers: int) -> float:
        """Default distance up to which one of `speakers` enrolled speakers is identified."""
        return gallery_threshold(self.card, float(self.card["threshold"]), speakers)

    @property
    def operating_points(self) -> Sequence[Mapping[str, Any]] | None:
        """See `operating_points.to_card`; None where the card has none."""
        points: Sequence[Mapping[str, Any]] | None = (self.card.get("calibration") or {}).get(
            "operating_points"
        )
        return points


@dataclass(frozen=True)
class SearchRates:
    """Errors of searches at one threshold, with intervals over speakers."""

    threshold: float | None
    """Largest accepted distance; None where there is no threshold."""
    fpir: Estimate
    """NaN without a threshold."""
    fnir: Estimate
    """NaN without a threshold."""


@dataclass(frozen=True)
class OpenSet:
    """How often unknown speakers are identified, and enrolled ones are not."""

    set: str
    enrolment_seconds: float
    query_seconds: float
    reference: str
    """One of `searches.REFERENCES`."""
    gallery_speakers: int
    """Enrolled in each gallery: N."""
    speakers: int
    """Speakers that galleries are drawn from; those not enrolled are queries, too."""
    galleries: int
    mated_searches: int
    """Queries by enrolled speakers, over all galleries."""
    nonmated_searches: int
    """Queries by speakers who are not enrolled, over all galleries."""
    rates: dict[str, SearchRates]
    """At the thresholds `default`, that of `swar identify` without an option; `fpir_0.05` and
    `fpir_0.01`, which hold these rates on the same searches, so that the rates are a little too
    good; and `per_query_0.05`, the loosest operating point of the model's card at which each
    comparison accepts no more than `comparison_rate`."""
    held_rate: float
    """The least share that neither FPIR nor FNIR exceeds at one threshold, which is found on the
    same searches, so that the share is a little too good."""
    comparison_rate: float
    """1 - (1 - 0.05)^(1/N): this rate in each of N independent comparisons is 5 % per query."""
    missing: str | None
    """Why there is no threshold `per_query_0.05`: NO_OPERATING_POINTS if the card has none so
    strict, or TOO_FEW_CALIBRATION_SPEAKERS; None where there is one."""
    speakers_needed: int | None
    """Calibration speakers needed for that threshold; None unless they are too few."""


class _Outcomes(NamedTuple):
    """Searches of B queries in G galleries, each array [B, G]."""

    nearest: npt.NDArray[np.int32]
    """The nearest of the gallery's speakers."""
    distance: Distances
    """Distance of the nearest: the least threshold at which a mated search succeeds, or a
    non-mated one errs; infinity where the query's speaker is enrolled and not alone nearest."""


def draw_galleries(
    speakers: int, sizes: Iterable[int], count: int, seed: int
) -> dict[int, Indices]:
    """Random galleries by size, [count, size] speakers each; each contains the next smaller one.

    Args:
        speakers: how many to draw from.
        sizes: speakers of a gallery; sizes that leave no speaker out are skipped.
        count: galleries of each size.
        seed: the same one gives the same galleries.
    """
    generators = (keyed_generator(seed, "galleries", number) for number in range(count))
    orders = np.stack([generator.permutation(speakers) for generator in generators])
    return {size: orders[:, :size] for size in sizes if size < speakers}


class OpenSetSearches:
    """Searches galleries for all queries, block by block of distances.

    Memory: 8 bytes for each query, gallery, size and reference.

    Args:
        speakers: how many there are.
        references: that queries are compared with.
        rules: galleries and thresholds.
        seed: of the galleries and the intervals.
    """

    def __init__(
        self, speakers: int, references: Iterable[str], rules: OpenSetRules, seed: int
    ) -> None:
        self._speakers = speakers
        self._rules = rules
        self._seed = seed
        self._galleries = draw_galleries(speakers, rules.gallery_speakers, rules.galleries, seed)
        self._query_speaker: list[Indices] = []
        self._outcomes: dict[tuple[str, int], list[_Outcomes]] = {
            (reference, size): [] for reference in references for size in self._galleries
        }

    def add(self, block: DistanceBlock) -> None:
        """Adds the searches of some more queries."""
        self._query_speaker.append(block.query_speaker)
        for (reference, size), outcomes in self._outcomes.items():
            distance = block.by_reference[reference]
            outcomes.append(_search(distance, block.query_speaker, self._galleries[size]))

    def measure(
        self, set_name: str, enrolment_seconds: float, query_seconds: float, resamples: int
    ) -> list[OpenSet]:
        """Rates of every reference and size, in order.

        The intervals come from resamples of the speakers, as those of trials do: a mated search
        counts as often as its speaker is drawn, a non-mated one as often as its speaker and the
        nearest enrolled one are drawn together. The galleries and the thresholds stay the same in
        every resample.

        Args:
            set_name: of the speakers.
            enrolment_seconds: speech of an enrolment.
            query_seconds: of a query.
            resamples: of the speakers, for the intervals.
        """
        query_speaker = np.concatenate(self._query_speaker)
        drawn = multiplicities(self._speakers, resamples, self._seed)
        measured = []
        for (reference, size), found in self._outcomes.items():
            is_enrolled = np.zeros((self._speakers, self._rules.galleries), bool)
            np.put_along_axis(is_enrolled, self._galleries[size].T, True, axis=0)
            searches = _Searched(
                query_speaker,
                is_enrolled[query_speaker],
                _Outcomes(*map(np.concatenate, zip(*found, strict=True))),
            )
            chosen = point_for_query(self._rules.operating_points or (), MAX_FALSE_ACCEPT, size)
            thresholds = {
                DEFAULT: self._rules.threshold(size),
                **{
                    held_fpir_name(fpir): accepting_threshold(searches.nonmated_distances, fpir)
                    for fpir in HELD_FPIRS
                },
                PER_QUERY: None if chosen.point is None else float(chosen.point["threshold"]),
            }
            measured.append(
                OpenSet(
                    set=set_name,
                    enrolment_seconds=enrolment_seconds,
                    query_seconds=query_seconds,
                    reference=reference,
                    gallery_speakers=size,
                    speakers=self._speakers,
                    galleries=self._rules.galleries,
                    mated_searches=len(searches.mated_distances),
                    nonmated_searches=len(searches.nonmated_distances),
                    rates=searches.rates(thresholds, drawn),
                    held_rate=searches.held_rate(),
                    comparison_rate=chosen.comparison_rate,
                    missing=_why_missing(chosen),
                    speakers_needed=chosen.speakers_needed,
                )
            )
        return measured


def _search(distance: Distances, query_speaker: Indices, galleries: Indices) -> _Outcomes:
    """Searches queries in galleries.

    Args:
        distance: [B, S], from every speaker.
        query_speaker: [B], each query's speaker.
        galleries: [G, N], the speakers of each.
    """
    of_gallery = distance[:, galleries]
    place = np.argmin(of_gallery, axis=2)
    nearest = galleries[np.arange(len(galleries)), place]
    least = np.min(of_gallery, axis=2)
    is_enrolled = np.any(galleries == query_speaker[:, np.newaxis, np.newaxis], axis=2)
    right = np.take_along_axis(distance, query_speaker[:, np.newaxis], axis=1)
    # Among equal distances the right speaker's counts as the last.
    is_first = np.sum(of_gallery <= right[..., np.newaxis], axis=2) == 1
    return _Outcomes(
        nearest.astype(np.int32), np.where(is_enrolled & ~is_first, np.float32(np.inf), least)
    )


def _why_missing(chosen: PointForQuery) -> str | None:
    """Why there is no operating point for a query; None where there is one."""
    if chosen.point is not None:
        return None
    return NO_OPERATING_POINTS if chosen.speakers_needed is None else TOO_FEW_CALIBRATION_SPEAKERS


class _Searched:
    """All searches of one size and reference.

    Args:
        query_speaker: [Q], each query's speaker.
        is_mated: [Q, G], whether that speaker is enrolled.
        outcomes: [Q, G].

    Attributes:
        mated_distances: least threshold at which each mated search succeeds.
        nonmated_distances: of the nearest speaker, sorted.
    """

    def __init__(
        self, query_speaker: Indices, is_mated: npt.NDArray[np.bool_], outcomes: _Outcomes
    ) -> None:
        asker = np.broadcast_to(query_speaker[:, np.newaxis], is_mated.shape)
        self._mated_asker = asker[is_mated]
        self.mated_distances: Distances = outcomes.distance[is_mated]
        distance = outcomes.distance[~is_mated]
        order = np.argsort(distance, kind="stable")
        self.nonmated_distances: Distances = distance[order]
        self._asker = asker[~is_mated][order]
        self._nearest = outcomes.nearest[~is_mated][order]

    def rates(
        self, thresholds: Mapping[str, float | None], drawn: npt.NDArray[np.int64]
    ) -> dict[str, SearchRates]:
        """FPIR and FNIR at each threshold.

        Args:
            thresholds: by name; None where there is none.
            drawn: [resamples, S], how often each speaker is drawn.
        """
        known = [threshold for threshold in thresholds.values() if threshold is not None]
        found = iter(zip(self._fpirs(known, drawn), self._fnirs(known, drawn), strict=True))
        return {
            name: SearchRates(None, _NO_ESTIMATE, _NO_ESTIMATE)
            if threshold is None
            else SearchRates(threshold, *next(found))
            for name, threshold in thresholds.items()
        }

    def held_rate(self) -> float:
        """The minimum over all thresholds of the larger of FPIR and FNIR."""
        thresholds = np.unique(self.nonmated_distances)
        accepted = np.searchsorted(self.nonmated_distances, thresholds, side="left")
        # Just below each distance of a non-mated search, and beyond the last one.
        fpir = np.append(accepted, len(self.nonmated_distances)) / len(self.nonmated_distances)
        found = np.searchsorted(np.sort(self.mated_distances), np.append(thresholds, np.inf))
        fnir = 1.0 - found / len(self.mated_distances)
        return float(np.min(np.maximum(fpir, fnir)))

    def _fnirs(self, thresholds: Sequence[float], drawn: npt.NDArray[np.int64]) -> list[Estimate]:
        speakers = drawn.shape[1]
        searched = drawn @ np.bincount(self._mated_asker, minlength=speakers)
        rates = []
        for threshold in thresholds:
            is_missed = self.mated_distances > threshold
            missed = np.bincount(self._mated_asker, weights=is_missed, minlength=speakers)
            rate = estimate(float(is_missed.mean()), _ratio(drawn @ missed, searched))
            rates.append(widened_at_ends(rate, len(np.unique(self._mated_asker))))
        return rates

    def _fpirs(self, thresholds: Sequence[float], drawn: npt.NDArray[np.int64]) -> list[Estimate]:
        speakers = drawn.shape[1]
        pair, of_pair = np.unique(self._asker * speakers + self._nearest, return_inverse=True)
        asker, nearest = np.divmod(pair, speakers)
        is_named = [self.nonmated_distances <= threshold for threshold in thresholds]
        counts = np.stack(
            [np.bincount(of_pair, weights=each) for each in (np.ones(len(of_pair)), *is_named)]
        )
        label = np.full(len(pair), NONTARGET)
        weighted = np.stack(
            [counts @ trial_weights(each, asker, nearest, label) for each in drawn], axis=1
        )
        return [
            widened_at_ends(
                estimate(float(named.mean()), _ratio(resampled, weighted[0])),
                len(np.unique(self._asker)),
            )
            for named, resampled in zip(is_named, weighted[1:], strict=True)
        ]


def _ratio(part: npt.NDArray[Any], whole: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """Quotients, float64 of the shape of both; NaN where the whole is 0."""
    ratio = np.full(part.shape, np.nan)
    np.divide(part, whole, out=ratio, where=whole > 0)
    return ratio
