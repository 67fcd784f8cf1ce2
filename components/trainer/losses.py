"""Contrastive losses.

Sources: Hadsell, Chopra, LeCun, "Dimensionality Reduction by Learning an Invariant Mapping",
CVPR 2006: `y d^2 + (1 - y) max(margin - d, 0)^2`, y = 1 for one speaker; Khosla et al.,
"Supervised Contrastive Learning", NeurIPS 2020, equation 2.
"""

import keras
import tensorflow as tf

from components.model.tower import paired_distance
from components.settings import TrainerSettings


def make_loss(settings: TrainerSettings) -> keras.losses.Loss:
    """The loss that the settings ask for."""
    if settings.loss == "supervised":
        return SupervisedContrastiveLoss(settings.temperature)
    return ListedContrastiveLoss(settings.margin)


class ListedContrastiveLoss(keras.losses.Loss):
    """Contrastive loss of the pairs as they were sampled."""

    def __init__(self, margin: float) -> None:
        super().__init__()
        self.margin = margin

    def call(self, y_true: tf.Tensor, y_pred: tf.Tensor) -> tf.Tensor:
        """Loss of each pair.

        Args:
            y_true: int64 [2 * pairs], each pair's label given with both of its windows.
            y_pred: float32 [2 * pairs, D], windows a and b in turn.

        Returns:
            float32 [pairs].
        """
        similar = tf.cast(tf.reshape(y_true, [-1])[::2], tf.float32)
        distance = paired_distance(y_pred[::2], y_pred[1::2])
        shortfall = tf.maximum(self.margin - distance, 0.0)
        return similar * tf.square(distance) + (1.0 - similar) * tf.square(shortfall)


class SupervisedContrastiveLoss(keras.losses.Loss):
    """Compares every window with all others of the batch; near ones of other speakers cost most.

    For window i, with the other windows P(i) of its speaker and cosine similarities s:
    `-mean over p in P(i) of log(exp(s_ip / T) / sum over a != i of exp(s_ia / T))`.
    """

    def __init__(self, temperature: float) -> None:
        super().__init__()
        self.temperature = temperature

    def call(self, y_true: tf.Tensor, y_pred: tf.Tensor) -> tf.Tensor:
        """Loss of each window.

        Args:
            y_true: int64 [windows], the speaker of each window.
            y_pred: float32 [windows, D], of length 1.

        Returns:
            float32 [windows]; 0 for a window that is its speaker's only one.
        """
        speaker = tf.reshape(y_true, [-1])
        embedding = tf.cast(y_pred, tf.float32)
        itself = tf.eye(tf.shape(speaker)[0], dtype=tf.bool)
        logits = tf.matmul(embedding, embedding, transpose_b=True) / self.temperature
        logits = tf.where(itself, logits.dtype.min, logits)
        log_share = tf.nn.log_softmax(logits)
        similar = (speaker[:, None] == speaker[None, :]) & ~itself
        total = tf.reduce_sum(tf.where(similar, log_share, 0.0), axis=1)
        return -tf.math.divide_no_nan(total, tf.reduce_sum(tf.cast(similar, tf.float32), axis=1))


class TeacherLoss(keras.losses.Loss):
    """How far an embedding points away from another encoder's of the undegraded recording.

    `1 - cosine`. Source: Hinton, Vinyals and Dean, "Distilling the Knowledge in a Neural Network",
    2015, for embeddings in place of classes.
    """

    def call(self, y_true: tf.Tensor, y_pred: tf.Tensor) -> tf.Tensor:
        """Loss of each window.

        Args:
            y_true: float32 [windows, D], the teacher's, of length 1.
            y_pred: float32 [windows, D], of length 1.

        Returns:
            float32 [windows].
        """
        return 1.0 - tf.reduce_sum(y_true * tf.cast(y_pred, tf.float32), axis=1)
