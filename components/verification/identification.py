"""Identification: which enrolled speaker speaks, and whether any of them does."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from components.verification.bootstrap import (
    Estimate,
    estimate,
    multiplicities,
    widened_at_ends,
)
from components.verification.open_set import OpenSet, OpenSetRules, OpenSetSearches
from components.verification.searches import MEAN, DistanceBlock, distance_blocks, plan_searches
from components.verification.trials import Embeddings, Scorer

TOPS: Final = (1, 5)


@dataclass(frozen=True)
class ClosedSet:
    """How often the right speaker is among the nearest, for one amount of enrolment."""

    set: str
    enrolment_seconds: float
    query_seconds: float
    speakers: int
    """Enrolled speakers: those with enough speech for enrolment and a query."""
    queries: int
    figures: dict[str, Estimate]
    """`top_1` and `top_5`: shares of queries, with intervals over the queries' speakers.

    NaN where no more than these 1 or 5 speakers are enrolled."""


class IdentificationMetrics(NamedTuple):
    """Metrics of the same distances, by the amount of enrolment."""

    closed_set: list[ClosedSet]
    """With all speakers enrolled."""
    open_set: list[OpenSet]
    """With some of them enrolled."""


def identify(
    utterances: pd.DataFrame,
    embeddings: Embeddings,
    score: Scorer,
    *,
    enrolment_seconds: Iterable[float],
    piece_seconds: float,
    query_seconds: float,
    rules: OpenSetRules,
    resamples: int,
    seed: int,
) -> IdentificationMetrics:
    """Enrols speakers with their first utterances, and identifies others, see `plan_searches`.

    Args:
        utterances: columns `set`, `speaker`, `recording`, `start_seconds`, `duration_seconds`,
            all of one set.
        embeddings: float32 [utterances, D].
        score: the model; the nearest is the one with the smallest distance.
        enrolment_seconds: amounts of speech; left out if fewer than two speakers have enough.
        piece_seconds: duration of the utterances that speakers are enrolled with.
        query_seconds: duration of the utterances that are identified.
        rules: galleries and thresholds of the open set.
        resamples: of the speakers, for the intervals.
        seed: the same one gives the same galleries and intervals.
    """
    closed_set: list[ClosedSet] = []
    open_set: list[OpenSet] = []
    for seconds in enrolment_seconds:
        searches = plan_searches(
            utterances,
            enrolment_seconds=seconds,
            piece_seconds=piece_seconds,
            query_seconds=query_seconds,
        )
        if searches is None:
            continue
        name, speakers = str(utterances["set"].iloc[0]), len(searches.enrolment)
        references = searches.references(rules.best_match_comparisons)
        in_galleries = OpenSetSearches(speakers, references, rules, seed)
        ranks = []
        for block in distance_blocks(searches, embeddings, score, references):
            ranks.append(_ranks(block))
            in_galleries.add(block)
        closed_set.append(
            ClosedSet(
                set=name,
                enrolment_seconds=seconds,
                query_seconds=query_seconds,
                speakers=speakers,
                queries=len(searches.query),
                figures=_shares(
                    np.concatenate(ranks), searches.query_speaker, speakers, resamples, seed
                ),
            )
        )
        open_set += in_galleries.measure(name, seconds, query_seconds, resamples)
    return IdentificationMetrics(closed_set, open_set)


def _ranks(block: DistanceBlock) -> npt.NDArray[np.int64]:
    """The right speaker's rank for each query, from 1; the last of equal ones."""
    distance = block.by_reference[MEAN]
    right = np.take_along_axis(distance, block.query_speaker[:, np.newaxis], axis=1)
    ranks: npt.NDArray[np.int64] = np.sum(distance <= right, axis=1)
    return ranks


def _shares(
    rank: npt.NDArray[np.int64],
    query_speaker: npt.NDArray[np.int64],
    speakers: int,
    resamples: int,
    seed: int,
) -> dict[str, Estimate]:
    """The shares of queries with the right speaker among the nearest, with their intervals."""
    drawn = multiplicities(speakers, resamples, seed)
    tried = drawn @ np.bincount(query_speaker, minlength=speakers)
    shares = {}
    for top in TOPS:
        hit = rank <= top
        hits = np.bincount(query_speaker, weights=hit, minlength=speakers)
        shares[f"top_{top}"] = (
            widened_at_ends(estimate(float(hit.mean()), (drawn @ hits) / tried), speakers)
            if top < speakers
            else Estimate(math.nan, math.nan, math.nan)
        )
    return shares
