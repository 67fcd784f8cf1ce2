"""Distances of utterances: Euclidean, or relative to the nearest speakers of a cohort.

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

# Lower bound of a standard deviation, for speakers that are all equally far away.
_LEAST_DEVIATION: Final = 1e-3
LEAST_SPEAKERS: Final = 500
"""Fewest cohort speakers to make speakers from."""
SPEAKERS_OF_CLUSTER: Final = 40
"""Mean number of cohort speakers in a cluster."""
LEAST_OF_CLUSTER: Final = 20
"""Fewest members of a cluster that speakers are made from."""


class CohortNormalisation(tf.Module):
    """Normalises distances by the utterances' distances from the speakers of a cohort.

    An utterance has a mean m and a standard deviation s of its distances from the nearest cohort
    speakers. The distance d of two utterances gives `z = ((d - m_a) / s_a + (d - m_b) / s_b) / 2`,
    and the result is `max(M + S z, 0)`, with the means M and S of m and s over the cohort. It is
    on the scale of the Euclidean distance, and one threshold means the same for utterances that
    are near to many cohort speakers and for those near to none.
    """

    def __init__(self, cohort: Floats, nearest: int) -> None:
        """Computes the cohort's own means.

        Args:
            cohort: float32 [C, D], C > 2, an embedding for each speaker.
            nearest: how many nearest speakers count; C - 1 at most.
        """
        super().__init__(name="cohort_normalisation")
        self.nearest = min(nearest, len(cohort) - 1)
        self.cohort = tf.Variable(cohort, trainable=False, dtype=tf.float32)
        # Without the nearest, which is the speaker itself.
        own = -tf.math.top_k(-all_pairs_distance(cohort), self.nearest + 1).values[:, 1:]
        mean, deviation = _moments(own)
        self.mean = tf.Variable(tf.reduce_mean(mean), trainable=False)
        self.deviation = tf.Variable(tf.reduce_mean(deviation), trainable=False)

    def moments(self, embedding: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Mean and standard deviation, float32 [N] each, of embeddings float32 [N, D]."""
        everyone = all_pairs_distance(embedding, self.cohort)
        return _moments(-tf.math.top_k(-everyone, self.nearest).values)

    def normalise(self, distance: tf.Tensor, *moments: tuple[tf.Tensor, tf.Tensor]) -> tf.Tensor:
        """Normalises Euclidean distances float32 [N], given the moments of both sides."""
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
        unit_norm: whether embeddings, and so the means, have the length 1.

    Returns:
        [speakers, D].
    """
    speakers, index = np.unique(speaker, return_inverse=True)
    mean = np.zeros((len(speakers), embedding.shape[1]), np.float32)
    np.add.at(mean, index, embedding)
    mean /= np.bincount(index)[:, np.newaxis]
    return like_embeddings(mean, unit_norm=unit_norm)


def made_speakers(cohort: Floats, count: int, *, unit_norm: bool) -> Floats:
    """Draws made speakers from a mixture of normal distributions that is fitted to a cohort.

    The mixture has one component for each k-means cluster and a shared covariance. A made speaker
    is therefore as near to people of one kind (a language, a kind of microphone) as others of that
    kind are. Only means of many speakers enter the mixture: a made speaker is no nearer to one of
    them than to others of that kind.

    Args:
        cohort: float32 [C, D].
        count: how many to draw; the seed is fixed.
        unit_norm: whether embeddings, and so the made speakers, have the length 1.

    Returns:
        float32 [count, D].

    Raises:
        SwarError: the cohort is so small that made speakers would mix only a few.
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
    """Distances of pairs of utterances.

    Args:
        embedding: float32 [utterances, D].
        first, second: integers [N], the utterances to compare.
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
