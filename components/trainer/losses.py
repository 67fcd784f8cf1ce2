"""Contrastive losses.

Sources: Hadsell, Chopra, LeCun, "Dimensionality Reduction by Learning an Invariant Mapping",
CVPR 2006: `y d^2 + (1 - y) max(margin - d, 0)^2`, y = 1 for one speaker; Khosla et al.,
"Supervised Contrastive Learning", NeurIPS 2020, equation 2; Wan et al., "Generalized End-to-End
Loss for Speaker Verification", ICASSP 2018, equations 6 and 8, with a fixed scale.
"""

from typing import Any

import keras
import tensorflow as tf

from components.model.tower import all_pairs_distance, paired_distance
from components.settings import TrainerSettings


def make_loss(settings: TrainerSettings) -> keras.losses.Loss:
    """The loss that the settings ask for."""
    if settings.loss == "supervised":
        return SupervisedContrastiveLoss(settings.temperature)
    if settings.loss == "prototypical":
        return PrototypicalLoss(settings.temperature)
    if settings.loss == "batch":
        return BatchContrastiveLoss(settings.margin)
    return ListedContrastiveLoss(settings.margin)


class _MarginLoss(keras.losses.Loss):
    def __init__(self, margin: float, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.margin = margin

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return dict(super().get_config()) | {"margin": self.margin}


class _TemperatureLoss(keras.losses.Loss):
    def __init__(self, temperature: float, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.temperature = temperature

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return dict(super().get_config()) | {"temperature": self.temperature}


@keras.saving.register_keras_serializable(package="swar")
class ListedContrastiveLoss(_MarginLoss):
    """The pairs as they were sampled."""

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


@keras.saving.register_keras_serializable(package="swar")
class BatchContrastiveLoss(_MarginLoss):
    """All pairs of windows in the batch; both classes weigh the same, however many there are.

    Dissimilar pairs beyond the margin, soon nearly all of them, have no gradient: the mean is
    over the others, so that the hard ones keep their weight to the end.
    """

    def call(self, y_true: tf.Tensor, y_pred: tf.Tensor) -> tf.Tensor:
        """Loss of the batch.

        Args:
            y_true: int64 [windows], the speaker of each window.
            y_pred: float32 [windows, D].

        Returns:
            float32 [1]: mean of the similar pairs' mean and the mean of the dissimilar pairs
            within the margin.
        """
        speaker = tf.reshape(y_true, [-1])
        distance = all_pairs_distance(y_pred)
        same = tf.cast(speaker[:, None] == speaker[None, :], tf.float32)
        itself = tf.eye(tf.shape(speaker)[0])
        similar = tf.math.divide_no_nan(
            tf.reduce_sum((same - itself) * tf.square(distance)), tf.reduce_sum(same - itself)
        )
        shortfall = (1.0 - same) * tf.square(tf.maximum(self.margin - distance, 0.0))
        dissimilar = tf.math.divide_no_nan(
            tf.reduce_sum(shortfall), tf.math.count_nonzero(shortfall, dtype=tf.float32)
        )
        return tf.reshape((similar + dissimilar) / 2.0, [1])


@keras.saving.register_keras_serializable(package="swar")
class SupervisedContrastiveLoss(_TemperatureLoss):
    """Every window against all others of the batch: near ones of other speakers cost most.

    For window i with the others of its speaker P(i), with cosine similarities s:
    `-mean over p in P(i) of log(exp(s_ip / T) / sum over a != i of exp(s_ia / T))`.
    """

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


@keras.saving.register_keras_serializable(package="swar")
class PrototypicalLoss(_TemperatureLoss):
    """Every window against the mean direction of each speaker of the batch, an angular loss.

    With the cosine similarity s to speaker k's prototype, which is the mean of the speaker's
    windows without the window itself: `-log(exp(s_own / T) / sum over k of exp(s_k / T))`.
    """

    def call(self, y_true: tf.Tensor, y_pred: tf.Tensor) -> tf.Tensor:
        """Loss of each window.

        Args:
            y_true: int64 [windows], the speaker of each window, everybody's twice or more.
            y_pred: float32 [windows, D], of length 1.

        Returns:
            float32 [windows].
        """
        embedding = tf.cast(y_pred, tf.float32)
        speakers, own = tf.unique(tf.reshape(y_true, [-1]))
        total = tf.math.unsorted_segment_sum(embedding, own, tf.size(speakers))
        to_all = tf.matmul(embedding, tf.math.l2_normalize(total, axis=1), transpose_b=True)
        others = tf.math.l2_normalize(tf.gather(total, own) - embedding, axis=1)
        to_own = tf.reduce_sum(embedding * others, axis=1, keepdims=True)
        is_own = tf.one_hot(own, tf.size(speakers), on_value=True, off_value=False, dtype=tf.bool)
        similarity = tf.where(is_own, to_own, to_all)
        return tf.nn.sparse_softmax_cross_entropy_with_logits(own, similarity / self.temperature)


@keras.saving.register_keras_serializable(package="swar")
class TeacherLoss(keras.losses.Loss):
    """How far an embedding points away from another encoder's of the same, undegraded recording.

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
