"""Distances of queries from enrolled speakers, beside NumPy on all of them at once."""

import numpy as np
import pandas as pd
import pytest

from components.verification import searches as searches_module
from components.verification.searches import REFERENCES, distance_blocks, plan_searches
from tests.components.verification.support_trials import embeddings, score, utterances


@pytest.fixture
def table():
    pieces = utterances(7, recordings=3, per_recording=4, seconds=2.5)
    queries = utterances(7, recordings=3, per_recording=2, seconds=5.0)
    return pd.concat([queries, pieces], ignore_index=True)


def planned(table):
    return plan_searches(table, enrolment_seconds=7.5, piece_seconds=2.5, query_seconds=5.0)


def joined(blocks):
    """Who asks, and the distances by reference."""
    blocks = list(blocks)
    return np.concatenate([each.query_speaker for each in blocks]), {
        name: np.concatenate([each.by_reference[name] for each in blocks])
        for name in blocks[0].by_reference
    }


def test_speakers_are_enrolled_with_their_first_utterances(table):
    found = planned(table)
    assert found.enrolment.shape == (7, 3)
    for number, rows in enumerate(found.enrolment):
        own = table.iloc[rows]
        assert set(own["recording"]) == {f"s{number}/0.wav"}
        assert list(own["start_seconds"]) == [0.0, 2.5, 5.0]
    asked = table.iloc[found.query]
    assert list(asked["speaker"]) == [f"s{number}" for number in found.query_speaker]
    assert not asked["recording"].str.endswith("/0.wav").any()


@pytest.mark.parametrize("enrolled", [1, 2, 3])
def test_of_one_recording_all_that_lies_behind_the_enrolment_is_asked(enrolled):
    """The end of an utterance and the start of the next are two sums, and may be rounded apart."""
    table = utterances(2, recordings=1, per_recording=8, seconds=1.52)
    seconds = {"piece_seconds": 1.52, "query_seconds": 1.52}
    found = plan_searches(table, enrolment_seconds=1.52 * enrolled, **seconds)
    assert found is not None
    assert len(found.query) == 2 * (8 - enrolled)


def test_of_one_speaker_there_is_no_search(table):
    assert planned(table[table["speaker"] == "s3"]) is None


def test_distances_are_those_of_the_mean_and_of_the_nearest_piece(table):
    vectors, found = embeddings(table, noise=0.8), planned(table)
    speaker, distances = joined(distance_blocks(found, vectors, score, REFERENCES))
    np.testing.assert_array_equal(speaker, found.query_speaker)
    query = vectors[found.query][:, np.newaxis]
    enrolled = vectors[found.enrolment]
    expected = np.linalg.norm(query - enrolled.mean(axis=1), axis=2)
    np.testing.assert_allclose(distances["mean"], expected, rtol=1e-6)
    expected = np.linalg.norm(query[:, np.newaxis] - enrolled, axis=3).min(axis=2)
    np.testing.assert_allclose(distances["best_match"], expected, rtol=1e-6)


def test_few_comparisons_at_once_give_the_same(table, monkeypatch):
    vectors, found = embeddings(table, noise=0.8), planned(table)
    speaker, distances = joined(distance_blocks(found, vectors, score, REFERENCES))
    sizes = []

    def watched(embedding_a, embedding_b):
        sizes.append(len(embedding_a))
        return score(embedding_a, embedding_b)

    monkeypatch.setattr(searches_module, "_SCORED_AT_ONCE", 100)
    again, in_parts = joined(distance_blocks(found, vectors, watched, REFERENCES))
    np.testing.assert_array_equal(again, speaker)
    for name in REFERENCES:
        np.testing.assert_array_equal(in_parts[name], distances[name])
    assert max(sizes) <= 100 < sum(sizes)


def test_the_best_match_is_left_out_where_it_takes_too_many_comparisons(table):
    vectors, found = embeddings(table, noise=0.8), planned(table)
    comparisons = len(found.query) * 7 * 3
    assert found.references(comparisons) == REFERENCES
    assert found.references(comparisons - 1) == ("mean",)
    compared = []

    def watched(embedding_a, embedding_b):
        compared.append(len(embedding_a))
        return score(embedding_a, embedding_b)

    _, distances = joined(distance_blocks(found, vectors, watched, ("mean",)))
    assert list(distances) == ["mean"]
    assert sum(compared) == len(found.query) * 7
