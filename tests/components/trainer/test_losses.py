"""The contrastive losses against plain loops over the pairs."""

import numpy as np
import pytest
import tensorflow as tf

from components.model.tower import all_pairs_distance, euclidean_distance, paired_distance
from components.trainer.losses import ListedContrastiveLoss, SupervisedContrastiveLoss


@pytest.fixture
def embedding():
    return np.random.default_rng(0).normal(size=(8, 5)).astype(np.float32)


def test_listed_loss_is_the_articles_formula(embedding):
    labels = [1, 0, 1, 0]
    expected = []
    for label, a, b in zip(labels, embedding[::2], embedding[1::2], strict=True):
        distance = np.linalg.norm(a - b)
        expected.append(distance**2 if label else np.maximum(3.0 - distance, 0.0) ** 2)
    loss = ListedContrastiveLoss(3.0)(tf.constant(np.repeat(labels, 2)), embedding)
    assert float(loss) == pytest.approx(np.mean(expected), rel=1e-5)


def test_supervised_loss_is_its_papers_formula(embedding):
    speakers = np.array([7, 7, 9, 9, 9, 4, 5, 7])
    unit = embedding / np.linalg.norm(embedding, axis=1, keepdims=True)
    expected = []
    for i, speaker in enumerate(speakers):
        others = [a for a in range(len(speakers)) if a != i]
        everybody = sum(np.exp(unit[i] @ unit[a] / 0.1) for a in others)
        same = [p for p in others if speakers[p] == speaker]
        shares = [np.log(np.exp(unit[i] @ unit[p] / 0.1) / everybody) for p in same]
        expected.append(-np.mean(shares) if same else 0.0)
    loss = SupervisedContrastiveLoss(0.1)(tf.constant(speakers), unit)
    assert float(loss) == pytest.approx(np.mean(expected), rel=1e-4)


@pytest.mark.parametrize("loss", [ListedContrastiveLoss(1.0), SupervisedContrastiveLoss(0.05)])
def test_gradients_stay_finite_where_embeddings_coincide(loss):
    embedding = tf.ones([4, 3])
    with tf.GradientTape() as tape:
        tape.watch(embedding)
        value = loss(tf.constant([1, 1, 0, 0]), embedding)
    assert np.all(np.isfinite(tape.gradient(value, embedding)))


def test_distances_agree_with_numpy_and_never_reach_zero(embedding):
    expected = np.linalg.norm(embedding[:4] - embedding[4:], axis=1)
    np.testing.assert_allclose(paired_distance(embedding[:4], embedding[4:]), expected, rtol=1e-5)
    everything = all_pairs_distance(tf.constant(embedding)).numpy()
    np.testing.assert_allclose(everything[0, 4], expected[0], rtol=1e-4)
    assert float(euclidean_distance(tf.constant(0.0))) == pytest.approx(1e-7**0.5)
