"""Closed-set identification: who of the enrolled speaks, by the nearest reference."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from components.verification.bootstrap import Estimate, estimate, multiplicities
from components.verification.trials import Embeddings, Scorer

TOPS: Final = (1, 5)
_UNIT_NORM_TOLERANCE: Final = 1e-3
_SCORED_AT_ONCE: Final = 2**16


@dataclass(frozen=True)
class IdentificationMetrics:
    """How often the right speaker is among the nearest, after so much enrolment."""

    set: str
    enrolment_seconds: float
    query_seconds: float
    speakers: int
    """Enrolled: those with enough speech for it and for a query."""
    queries: int
    figures: dict[str, Estimate]
    """`top_1` and `top_5`: the share of queries, with intervals over the queries' speakers.

    NaN where no more are enrolled: anybody would be among them."""


@dataclass(frozen=True)
class _Roles:
    """Who is enrolled with which utterances, and who asks: row numbers and speakers' indices."""

    enrolment: list[npt.NDArray[np.int64]]
    query: npt.NDArray[np.int64]
    query_speaker: npt.NDArray[np.int64]


def identify(
    utterances: pd.DataFrame,
    embeddings: Embeddings,
    score: Scorer,
    *,
    enrolment_seconds: float,
    piece_seconds: float,
    query_seconds: float,
    resamples: int,
    seed: int,
) -> IdentificationMetrics | None:
    """Enrols every speaker with the first utterances, and identifies others.

    A reference is the mean of the utterances' embeddings, of norm 1 if they are. Queries come
    from recordings that the enrolment did not touch; where a speaker has none, from what comes
    behind it.

    Args:
        utterances: columns `set`, `speaker`, `recording`, `start_seconds`, `duration_seconds`,
            all of one set.
        embeddings: float32 [utterances, D].
        score: the model; the nearest is the one with the smallest distance.
        enrolment_seconds: of speech; rounded up to whole pieces.
        piece_seconds: duration of the utterances that speakers are enrolled with.
        query_seconds: duration of those that are identified.
        resamples: of the speakers, for the intervals.
        seed: the same one gives the same intervals.

    Returns:
        None where fewer than two speakers have enough speech.
    """
    numbered = utterances.reset_index(drop=True).sort_values(["recording", "start_seconds"])
    pieces = numbered[numbered["duration_seconds"] == piece_seconds]
    queries = numbered[numbered["duration_seconds"] == query_seconds]
    roles = _roles(pieces, queries, math.ceil(enrolment_seconds / piece_seconds))
    if len(roles.enrolment) < 2:
        return None
    rank = _ranks(roles, embeddings, score)
    found = {
        top: _share(rank <= top, roles.query_speaker, resamples, seed)
        for top in TOPS
        if top < len(roles.enrolment)
    }
    no_estimate = Estimate(math.nan, math.nan, math.nan)
    return IdentificationMetrics(
        set=str(utterances["set"].iloc[0]),
        enrolment_seconds=enrolment_seconds,
        query_seconds=query_seconds,
        speakers=len(roles.enrolment),
        queries=len(roles.query),
        figures={f"top_{top}": found.get(top, no_estimate) for top in TOPS},
    )


def identify_each(
    utterances: pd.DataFrame,
    embeddings: Embeddings,
    score: Scorer,
    *,
    enrolment_seconds: Iterable[float],
    piece_seconds: float,
    query_seconds: float,
    resamples: int,
    seed: int,
) -> list[IdentificationMetrics]:
    """With every amount of enrolment for which two speakers have enough speech, see `identify`."""
    tried = (
        identify(
            utterances,
            embeddings,
            score,
            enrolment_seconds=seconds,
            piece_seconds=piece_seconds,
            query_seconds=query_seconds,
            resamples=resamples,
            seed=seed,
        )
        for seconds in enrolment_seconds
    )
    return [each for each in tried if each is not None]


def _roles(pieces: pd.DataFrame, queries: pd.DataFrame, enrolled_pieces: int) -> _Roles:
    enrolment, queried = [], []
    queries_of = dict(iter(queries.groupby("speaker")))
    for speaker, own in pieces.groupby("speaker"):
        enrolled = own.iloc[:enrolled_pieces]
        if len(enrolled) < enrolled_pieces or speaker not in queries_of:
            continue
        rest = _behind(enrolled, queries_of[speaker])
        if not rest.empty:
            enrolment.append(enrolled.index.to_numpy())
            queried.append(rest.index.to_numpy())
    return _Roles(
        enrolment,
        np.concatenate([np.zeros(0, np.int64), *queried]),
        np.repeat(np.arange(len(queried)), [len(rows) for rows in queried]),
    )


def _behind(enrolled: pd.DataFrame, queries: pd.DataFrame) -> pd.DataFrame:
    """A speaker's queries from untouched recordings, or else from behind the enrolment."""
    untouched = queries[~queries["recording"].isin(enrolled["recording"])]
    if not untouched.empty:
        return untouched
    ends = enrolled["start_seconds"] + enrolled["duration_seconds"]
    end_of = ends.groupby(enrolled["recording"]).max()
    return queries[queries["start_seconds"] >= queries["recording"].map(end_of)]


def _ranks(roles: _Roles, embeddings: Embeddings, score: Scorer) -> npt.NDArray[np.int64]:
    """The place of the right speaker for each query, from 1; of equals the last."""
    reference = np.stack([embeddings[rows].mean(axis=0) for rows in roles.enrolment])
    norm = np.linalg.norm(embeddings, axis=1)
    if np.all(np.abs(norm - 1.0) < _UNIT_NORM_TOLERANCE):
        reference /= np.linalg.norm(reference, axis=1, keepdims=True)
    speakers = len(reference)
    at_once = max(1, _SCORED_AT_ONCE // speakers)
    ranks = [np.zeros(0, np.int64)]
    for start in range(0, len(roles.query), at_once):
        query = embeddings[roles.query[start : start + at_once]]
        distance, *_ = score(
            np.repeat(query, speakers, axis=0), np.tile(reference, (len(query), 1))
        )
        distance = distance.reshape(len(query), speakers)
        right = roles.query_speaker[start : start + at_once, np.newaxis]
        ranks.append(np.sum(distance <= np.take_along_axis(distance, right, axis=1), axis=1))
    return np.concatenate(ranks)


def _share(
    hit: npt.NDArray[np.bool_], speaker: npt.NDArray[np.int64], resamples: int, seed: int
) -> Estimate:
    """The share of hits, with its interval over speakers."""
    speakers = int(speaker.max()) + 1
    hits = np.bincount(speaker, weights=hit, minlength=speakers)
    tried = np.bincount(speaker, minlength=speakers)
    drawn = multiplicities(speakers, resamples, seed)
    return estimate(float(hit.mean()), (drawn @ hits) / (drawn @ tried))
