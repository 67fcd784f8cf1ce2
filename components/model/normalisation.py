"""Distances of utterances: Euclidean, or relative to the cohort's speakers nearest to each of them.

Source: Matejka et al., "Analysis of Score Normalization in Multilingual Speaker Recognition",
Interspeech 2017, adaptive symmetric normalisation (AS-norm), with distances in place of scores.
"""

from typing import Final

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from components.errors import SwarError
from components.mean_embedding import like_embeddings
from components.model.tower import all_pairs_distance, paired_distance

Floats = npt.NDArray[np.float32]

# Of a standard deviation: speakers that are all equally far away say nothing about a spread.
_LEAST_DEVIATION: Final = 1e-3
LEAST_SPEAKERS: Final = 500
"""To make others by."""
SPEAKERS_OF_CLUSTER: Final = 40
"""In the mean, of those that others are made by."""
LEAST_OF_CLUSTER: Final = 20
"""Whose mean others are made around."""


class CohortNormalisation(tf.Module):
    """What distances from the speakers of a cohort say about a distance.

    An utterance has a mean m and a standard deviation s of its distances from the nearest of the
    cohort. A distance d of two utterances becomes `z = ((d - m_a) / s_a + (d - m_b) / s_b) / 2`,
    and is given as `M + S z`, at least 0, with the means M and S of m and s over the cohort's own
    speakers: on the scale of the Euclidean distance, and the same threshold means the same for
    utterances that are near to many of them and for those that are near to none.
    """

    def __init__(self, cohort: Floats, nearest: int) -> None:
        """Measures the cohort itself.

        Args:
            cohort: float32 [C, D], C > 2, an embedding for each speaker.
            nearest: how many of them count; C - 1 at most.
        """
        super().__init__(name="cohort_normalisation")
        self.nearest = min(nearest, len(cohort) - 1)
        self.cohort = tf.Variable(cohort, trainable=False, dtype=tf.float32)
        # Without the nearest one, which is the speaker's own.
        own = -tf.math.top_k(-all_pairs_distance(cohort), self.nearest + 1).values[:, 1:]
        mean, deviation = _moments(own)
        self.mean = tf.Variable(tf.reduce_mean(mean), trainable=False)
        self.deviation = tf.Variable(tf.reduce_mean(deviation), trainable=False)

    def moments(self, embedding: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Mean and deviation, float32 [N] each, of float32 [N, D]."""
        everyone = all_pairs_distance(embedding, self.cohort)
        return _moments(-tf.math.top_k(-everyone, self.nearest).values)

    def normalise(self, distance: tf.Tensor, *moments: tuple[tf.Tensor, tf.Tensor]) -> tf.Tensor:
        """float32 [N] of Euclidean distances [N] and the moments of both sides."""
        standard = [(distance - mean) / deviation for mean, deviation in moments]
        shared = tf.add_n(standard) / float(len(standard))
        return tf.maximum(self.mean + self.deviation * shared, 0.0)


def _moments(distance: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    deviation = tf.math.reduce_std(distance, axis=1)
    return tf.reduce_mean(distance, axis=1), tf.maximum(deviation, _LEAST_DEVIATION)


def speaker_means(embedding: Floats, speaker: npt.NDArray[np.bytes_], *, unit_norm: bool) -> Floats:
    """Every speaker's mean embedding, in the order of their names.

    Args:
        embedding: [windows, D].
        speaker: [windows].
        unit_norm: whether embeddings have the length 1; the means then have too.

    Returns:
        [speakers, D].
    """
    speakers, index = np.unique(speaker, return_inverse=True)
    mean = np.zeros((len(speakers), embedding.shape[1]), np.float32)
    np.add.at(mean, index, embedding)
    mean /= np.bincount(index)[:, np.newaxis]
    return like_embeddings(mean, unit_norm=unit_norm)


def made_speakers(cohort: Floats, count: int, *, unit_norm: bool) -> Floats:
    """Made speakers, drawn from a mixture of normal distributions that is fitted to a cohort.

    The mixture has as many places as k-means finds clusters, and one covariance, so that what is
    drawn is as near to people of one kind (a language, a kind of microphone) as others of that kind
    are. It depends on means of many speakers alone: what is drawn is no nearer to one of these
    speakers than to others of their kind.

    Args:
        cohort: float32 [C, D].
        count: how many to draw; always the same.
        unit_norm: whether embeddings have the length 1; the made speakers then have too.

    Returns:
        float32 [count, D].

    Raises:
        SwarError: of so few speakers, what is drawn would be mixtures of a few of them.
    """
    if len(cohort) < LEAST_SPEAKERS:
        raise SwarError(
            f"{len(cohort)} training speakers are too few to make speakers by, which takes "
            f"{LEAST_SPEAKERS}: set trainer.normalisation_made_speakers to null"
        )
    from sklearn.cluster import KMeans  # a server makes the base model without it

    clusters = KMeans(len(cohort) // SPEAKERS_OF_CLUSTER, n_init=3, random_state=0).fit(cohort)
    cluster, members = clusters.labels_, np.bincount(clusters.labels_)
    centre = clusters.cluster_centers_.astype(np.float64)
    covariance = np.cov(cohort - centre[cluster], rowvar=False)
    # The mean of a few speakers would be near to each of them.
    weight = np.where(members >= LEAST_OF_CLUSTER, members, 0)
    generator = np.random.default_rng(0)
    places = centre[generator.choice(len(centre), count, p=weight / weight.sum())]
    around = generator.multivariate_normal(
        np.zeros(cohort.shape[1]), covariance, count, method="eigh"
    )
    made: Floats = (places + around).astype(np.float32)
    return like_embeddings(made, unit_norm=unit_norm)


def distances(
    embedding: tf.Tensor,
    first: tf.Tensor,
    second: tf.Tensor,
    normalisation: CohortNormalisation | None,
) -> tf.Tensor:
    """Of pairs of utterances.

    Args:
        embedding: float32 [utterances, D].
        first, second: integers [N], which utterances are compared.
        normalisation: None for the Euclidean distance.

    Returns:
        float32 [N].
    """
    distance = paired_distance(tf.gather(embedding, first), tf.gather(embedding, second))
    if normalisation is None:
        return distance
    mean, deviation = normalisation.moments(embedding)
    sides = [(tf.gather(mean, side), tf.gather(deviation, side)) for side in (first, second)]
    return normalisation.normalise(distance, *sides)
