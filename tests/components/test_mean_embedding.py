"""Means of embeddings, whose norm is that of the embeddings, in every part that makes them."""

import numpy as np
import pytest

from components.mean_embedding import have_unit_norm, like_embeddings, mean_embedding
from components.model.normalisation import speaker_means
from serving.references import References


@pytest.fixture
def embeddings():
    drawn = np.random.default_rng(0).normal(0.3, 1.0, (6, 5)).astype(np.float32)
    return drawn / np.linalg.norm(drawn, axis=1, keepdims=True)


@pytest.mark.parametrize("scale", [1.0, 2.0])
def test_the_parts_agree_bit_by_bit(embeddings, scale):
    vectors = np.float32(scale) * embeddings
    unit_norm = have_unit_norm(vectors)
    assert unit_norm == (scale == 1.0)
    speakers = np.array([b"a"] * 3 + [b"b"] * 3)
    expected = np.stack([vectors[:3].mean(axis=0), vectors[3:].mean(axis=0)])
    if unit_norm:
        expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    means = np.stack([mean_embedding(part) for part in (vectors[:3], vectors[3:])])
    np.testing.assert_array_equal(means, expected)
    trained = speaker_means(vectors, speakers, unit_norm=unit_norm)
    np.testing.assert_allclose(trained, expected, rtol=1e-6)
    found = References([each.decode() for each in speakers], vectors).nearest(expected[1], 2)
    np.testing.assert_allclose(found[0].reference, expected[1], rtol=1e-6)
    assert (found[0].speaker, found[1].speaker) == ("b", "a")


def test_embeddings_that_cancel_out_have_no_direction():
    means = np.zeros((1, 3), np.float32)
    np.testing.assert_array_equal(like_embeddings(means, unit_norm=True), means)


def test_what_is_not_a_number_has_no_norm(embeddings):
    embeddings[2, 1] = np.nan
    assert not have_unit_norm(embeddings)
