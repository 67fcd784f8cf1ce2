"""Who is enrolled with what, who asks, and what is found."""

import math

import numpy as np
import pandas as pd
import pytest

from components.verification.identification import identify
from components.verification.open_set import OpenSetRules
from tests.components.verification.support_trials import THRESHOLD, embeddings, score, utterances

PIECE, QUERY = 2.5, 5.0
RULES = OpenSetRules((2, 10), 8, 10**9, {"threshold": THRESHOLD, "slope": math.inf})


def both_kinds(speakers, recordings=3):
    """10 s of speech in a recording, cut to pieces for enrolment and to queries."""
    pieces = utterances(speakers, recordings, per_recording=4, seconds=PIECE)
    queries = utterances(speakers, recordings, per_recording=2, seconds=QUERY)
    return pd.concat([queries, pieces], ignore_index=True)


def measured(table, vectors, enrolment_seconds=5.0, score=score):
    return identify(
        table,
        vectors,
        score,
        enrolment_seconds=[enrolment_seconds],
        piece_seconds=PIECE,
        query_seconds=QUERY,
        rules=RULES,
        resamples=200,
        seed=0,
    )


def identified(table, vectors, enrolment_seconds=5.0, score=score):
    """Of all speakers, all enrolled; None where too few have so much speech."""
    closed_set = measured(table, vectors, enrolment_seconds, score).closed_set
    return closed_set[0] if closed_set else None


def by_hand(table, vectors, enrolment_seconds):
    """The shares of queries of the second and later recordings, speaker by speaker."""
    rows = table.assign(row=range(len(table)))
    references, queries = [], []
    for speaker in sorted(set(table["speaker"])):
        own = rows[rows["speaker"] == speaker]
        pieces = own[own["duration_seconds"] == PIECE].sort_values(["recording", "start_seconds"])
        enrolled = pieces[: int(enrolment_seconds / PIECE)]
        references.append(vectors[enrolled["row"]].mean(axis=0))
        asked = own[own["duration_seconds"] == QUERY]
        queries.append(asked[~asked["recording"].isin(enrolled["recording"])]["row"])
    ranks = [
        sorted(
            range(len(references)), key=lambda k: np.linalg.norm(vectors[row] - references[k])
        ).index(speaker)
        for speaker, own in enumerate(queries)
        for row in own
    ]
    return np.mean(np.array(ranks) < 1), np.mean(np.array(ranks) < 5), len(ranks)


@pytest.mark.parametrize("enrolment_seconds", [5.0, 10.0, 15.0])
def test_shares_are_those_found_by_hand(enrolment_seconds):
    table = both_kinds(12)
    vectors = embeddings(table, noise=0.8)
    found = identified(table, vectors, enrolment_seconds)
    top_1, top_5, queries = by_hand(table, vectors, enrolment_seconds)
    assert (found.speakers, found.queries) == (12, queries)
    assert found.figures["top_1"].value == pytest.approx(top_1)
    assert found.figures["top_5"].value == pytest.approx(top_5)
    assert 0.2 < top_1 < top_5 < 1.0
    assert found.figures["top_1"].low < top_1 < found.figures["top_1"].high


def test_rows_in_another_order_give_the_same():
    table = both_kinds(6)
    vectors = embeddings(table, noise=0.6)
    order = np.random.default_rng(0).permutation(len(table))
    assert identified(table.iloc[order], vectors[order]) == identified(table, vectors)


def test_more_enrolment_than_there_is_leaves_a_speaker_out():
    table = both_kinds(5)
    table = table[(table["speaker"] != "s2") | (table["recording"] == "s2/0.wav")]
    found = identified(table, embeddings(table, noise=0.1), enrolment_seconds=15.0)
    assert (found.speakers, found.queries) == (4, 4 * 2)
    assert identified(table, embeddings(table, noise=0.1), enrolment_seconds=31.0) is None


def test_of_one_recording_what_comes_behind_the_enrolment_is_asked():
    """5 s of 10 are enrolled, the query of the first 5 s holds the same speech."""
    table = both_kinds(3, recordings=1)
    vectors = embeddings(table, noise=0.1)
    overlapping = (table["duration_seconds"] == QUERY) & (table["start_seconds"] == 0.0)
    vectors[overlapping] = 99.0  # asked, these would be found nowhere
    found = identified(table, vectors)
    assert (found.speakers, found.queries) == (3, 3)
    assert found.figures["top_1"].value == 1.0


def test_references_of_unit_embeddings_have_norm_1():
    table = both_kinds(4)
    vectors = embeddings(table, noise=0.4)
    norms = []

    def watched(embedding_a, embedding_b):
        norms.append(np.linalg.norm(embedding_b, axis=1))
        return score(embedding_a, embedding_b)

    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    identified(table, unit, score=watched)
    np.testing.assert_allclose(np.concatenate(norms), 1.0, atol=1e-6)
    norms.clear()
    identified(table, vectors, score=watched)
    assert np.ptp(np.concatenate(norms)) > 0.1


def test_equal_distances_do_not_count_as_found():
    table = both_kinds(6)
    found = identified(table, np.ones((len(table), 4), np.float32))
    assert found.figures["top_1"].value == 0.0
    assert found.figures["top_5"].value == 0.0
    # That no resample finds anybody says no more of other people than six speakers can.
    assert found.figures["top_1"].low == 0.0
    assert found.figures["top_1"].high == pytest.approx(1.0 - 0.025 ** (1.0 / 6.0))


@pytest.mark.parametrize("speakers", [2, 5])
def test_of_five_anybody_is_among_five(speakers):
    table = both_kinds(speakers)
    found = identified(table, embeddings(table, noise=0.1))
    assert found.figures["top_1"].value == found.figures["top_1"].high == 1.0
    assert found.figures["top_1"].low == pytest.approx(0.025 ** (1.0 / speakers))
    assert math.isnan(found.figures["top_5"].value)


def test_galleries_are_drawn_from_those_who_are_enrolled_and_ask():
    table = both_kinds(12)
    vectors = embeddings(table, noise=0.8)
    closed_set, open_set = measured(table, vectors)
    told = [(each.reference, each.gallery_speakers) for each in open_set]
    assert told == [("mean", 2), ("mean", 10), ("best_match", 2), ("best_match", 10)]
    for each in open_set:
        assert (each.set, each.enrolment_seconds, each.query_seconds) == ("made", 5.0, QUERY)
        assert (each.speakers, each.galleries) == (closed_set[0].speakers, RULES.galleries)
        searches = RULES.galleries * closed_set[0].queries
        assert each.mated_searches + each.nonmated_searches == searches
        # Every speaker asks equally often here.
        assert each.mated_searches == searches * each.gallery_speakers / 12


def test_who_is_nearest_of_all_is_found_in_every_gallery():
    """Nobody is missed in a smaller gallery who is found among all, but for the threshold."""
    table = both_kinds(12)
    closed_set, open_set = measured(table, embeddings(table, noise=0.05))
    assert closed_set[0].figures["top_1"].value == 1.0
    for each in open_set:
        assert each.rates["default"].fnir.value == 0.0


def test_no_enrolment_is_no_open_set():
    table = both_kinds(5)
    assert measured(table, embeddings(table, noise=0.1), enrolment_seconds=31.0) == ([], [])
