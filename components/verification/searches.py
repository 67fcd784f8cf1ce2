"""Identification searches: enrolments, queries, and their distances."""

import math
from collections.abc import Collection, Iterator, Mapping
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from components.mean_embedding import have_unit_norm, like_embeddings
from components.verification.trials import Embeddings, Indices, Scorer

Distances = npt.NDArray[np.float32]

MEAN: Final = "mean"
BEST_MATCH: Final = "best_match"
REFERENCES: Final = (MEAN, BEST_MATCH)
"""What a query is compared with: the mean of a speaker's embeddings, of norm 1 if theirs is 1, or
each embedding, of which the smallest distance counts."""

_SCORED_AT_ONCE: Final = 2**16
_ROUNDING_SECONDS: Final = 0.01
"""Starts may be float32, whose step three hours into a recording is a millisecond."""


class Searches(NamedTuple):
    """Speakers, the utterances that each is enrolled with, and the queries of each."""

    enrolment: Indices
    """[S, P], rows of each speaker's P utterances."""
    query: Indices
    """[Q], rows; every speaker has at least one."""
    query_speaker: Indices
    """[Q], index of each query's speaker among the S."""

    def references(self, best_match_comparisons: int) -> tuple[str, ...]:
        """REFERENCES, without the best match if it takes more comparisons than this."""
        comparisons = len(self.query) * self.enrolment.size
        return REFERENCES if comparisons <= best_match_comparisons else (MEAN,)


class DistanceBlock(NamedTuple):
    """Some of the queries, and their distances from every speaker."""

    query_speaker: Indices
    """[B], index of each query's speaker among the S."""
    by_reference: Mapping[str, Distances]
    """float32 [B, S] each, see REFERENCES."""


def plan_searches(
    utterances: pd.DataFrame,
    *,
    enrolment_seconds: float,
    piece_seconds: float,
    query_seconds: float,
) -> Searches | None:
    """Enrols every speaker with the first utterances; later ones are the queries.

    Queries come from recordings that are not used for enrolment or, if a speaker has none, from
    after the enrolment.

    Args:
        utterances: columns `speaker`, `recording`, `start_seconds`, `duration_seconds`, all of
            one set.
        enrolment_seconds: of speech; rounded up to whole pieces.
        piece_seconds: duration of the utterances that speakers are enrolled with.
        query_seconds: duration of the utterances that are identified.

    Returns:
        None where fewer than two speakers have enough speech.
    """
    numbered = utterances.reset_index(drop=True).sort_values(["recording", "start_seconds"])
    pieces = numbered[numbered["duration_seconds"] == piece_seconds]
    queries_of = dict(
        iter(numbered[numbered["duration_seconds"] == query_seconds].groupby("speaker"))
    )
    # 3 times 1.52 s are 3 pieces of 1.52 s, though the quotient is a little more.
    enrolled_pieces = max(1, math.ceil(round(enrolment_seconds / piece_seconds, 6)))
    enrolment, queried = [], []
    for speaker, own in pieces.groupby("speaker"):
        enrolled = own.iloc[:enrolled_pieces]
        if len(enrolled) < enrolled_pieces or speaker not in queries_of:
            continue
        rest = _behind(enrolled, queries_of[speaker])
        if not rest.empty:
            enrolment.append(enrolled.index.to_numpy())
            queried.append(rest.index.to_numpy())
    if len(enrolment) < 2:
        return None
    return Searches(
        np.stack(enrolment),
        np.concatenate(queried),
        np.repeat(np.arange(len(queried)), [len(rows) for rows in queried]),
    )


def _behind(enrolled: pd.DataFrame, queries: pd.DataFrame) -> pd.DataFrame:
    """A speaker's queries from unused recordings, or else from after the enrolment."""
    untouched = queries[~queries["recording"].isin(enrolled["recording"])]
    if not untouched.empty:
        return untouched
    ends = enrolled["start_seconds"] + enrolled["duration_seconds"] - _ROUNDING_SECONDS
    end_of = ends.groupby(enrolled["recording"]).max()
    return queries[queries["start_seconds"] >= queries["recording"].map(end_of)]


def distance_blocks(
    searches: Searches, embeddings: Embeddings, score: Scorer, references: Collection[str]
) -> Iterator[DistanceBlock]:
    """Scores every query with every speaker, in blocks of queries to bound memory.

    Args:
        searches: index rows of `embeddings`.
        embeddings: float32 [utterances, D].
        score: the model.
        references: from REFERENCES, at least MEAN.
    """
    speakers, pieces = searches.enrolment.shape
    enrolled = embeddings[searches.enrolment]
    mean = like_embeddings(enrolled.mean(axis=1), unit_norm=have_unit_norm(embeddings))
    reference = mean
    if BEST_MATCH in references:
        reference = np.concatenate([mean, enrolled.reshape(speakers * pieces, -1)])
    at_once = max(1, _SCORED_AT_ONCE // len(reference))
    for start in range(0, len(searches.query), at_once):
        query = embeddings[searches.query[start : start + at_once]]
        distance, *_ = score(
            np.repeat(query, len(reference), axis=0), np.tile(reference, (len(query), 1))
        )
        distance = distance.reshape(len(query), len(reference))
        by_reference = {MEAN: distance[:, :speakers]}
        if BEST_MATCH in references:
            of_pieces = distance[:, speakers:].reshape(len(query), speakers, pieces)
            by_reference[BEST_MATCH] = of_pieces.min(axis=2)
        yield DistanceBlock(searches.query_speaker[start : start + at_once], by_reference)
