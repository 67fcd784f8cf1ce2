"""The network: one window in, one embedding out, twice with the same weights for a pair."""

import keras
import tensorflow as tf

from components.errors import SwarError
from components.model.densenet import densenet
from components.settings import SMALLEST_SIDE, SpectrogramSettings, TrainerSettings

# keras.applications.densenet.preprocess_input for pixels in [0, 255]: ImageNet's mean and
# standard deviation of each channel.
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
# The gradient of the square root, infinite at 0, is cut off below it (the seed's constant).
MIN_SQUARED_DISTANCE = 1e-7


def euclidean_distance(squared: tf.Tensor) -> tf.Tensor:
    """`sqrt(max(d^2, 1e-7))`, float32, of squared distances of any shape."""
    return tf.sqrt(tf.maximum(tf.cast(squared, tf.float32), MIN_SQUARED_DISTANCE))


def paired_distance(embedding_a: tf.Tensor, embedding_b: tf.Tensor) -> tf.Tensor:
    """Distances row by row, float32 [N], of embeddings [N, D]."""
    difference = tf.cast(embedding_a, tf.float32) - tf.cast(embedding_b, tf.float32)
    return euclidean_distance(tf.reduce_sum(tf.square(difference), axis=1))


def all_pairs_distance(embedding: tf.Tensor, other: tf.Tensor | None = None) -> tf.Tensor:
    """Distances, float32 [N, M], of embeddings [N, D] from others [M, D] or each other."""
    embedding = tf.cast(embedding, tf.float32)
    other = embedding if other is None else tf.cast(other, tf.float32)
    squared_norm, other_norm = (tf.reduce_sum(tf.square(one), axis=1) for one in (embedding, other))
    product = tf.matmul(embedding, other, transpose_b=True)
    return euclidean_distance(squared_norm[:, None] + other_norm[None, :] - 2.0 * product)


def build_tower(settings: TrainerSettings, n_mels: int, frames: int | None) -> keras.Model:
    """The embedding model.

    Args:
        settings: blocks and head.
        n_mels: height of a window.
        frames: width of a window; None for windows of any width, which the head `flatten` does
            not take.

    Returns:
        A model from uint8 [N, n_mels, frames] to float32 [N, D], with random weights.

    Raises:
        SwarError: the window is too small.
    """
    if min(side for side in (n_mels, frames) if side) < SMALLEST_SIDE:
        raise SwarError(
            f"a window of {n_mels} mels x {frames} frames is too small for the tower, which "
            f"needs {SMALLEST_SIDE} x {SMALLEST_SIDE}: raise spectrogram.n_mels or "
            "spectrogram.window_seconds"
        )
    window = keras.Input((n_mels, frames), dtype="uint8", name="spectrogram")
    pixels = keras.layers.Reshape((n_mels, frames or -1, 1))(window)
    # One channel is stored; the three that ImageNet weights expect are made on the device.
    image = keras.layers.Concatenate()([pixels] * 3)
    scaled = keras.layers.Rescaling(
        scale=[1 / (255.0 * std) for std in IMAGENET_STD],
        offset=[-mean / std for mean, std in zip(IMAGENET_MEAN, IMAGENET_STD, strict=True)],
    )(image)
    backbone = densenet(settings.blocks, (n_mels, frames, 3), settings.batch_norm_momentum)
    return keras.Model(window, _head(settings)(backbone(scaled)), name="tower")


def served_tower(
    settings: TrainerSettings, spectrogram: SpectrogramSettings, sample_rate: int
) -> keras.Model:
    """`build_tower` for the one window width that is served, whatever widths it trained on."""
    return build_tower(settings, spectrogram.n_mels, spectrogram.frames(sample_rate))


def _head(settings: TrainerSettings) -> keras.Layer:
    if settings.head == "flatten":
        return keras.layers.Flatten(dtype="float32", name="embedding")
    return keras.Sequential(
        [
            keras.layers.GlobalAveragePooling2D(dtype="float32"),
            keras.layers.Dense(settings.embedding_size, dtype="float32"),
            keras.layers.UnitNormalization(dtype="float32"),
        ],
        name="embedding",
    )
