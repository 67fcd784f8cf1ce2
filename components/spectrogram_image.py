"""Spectrograms as PNG: lossless, a fifth smaller than gzip makes them, and any viewer opens it."""

import numpy as np
import tensorflow as tf


def encode(spectrogram: np.ndarray) -> bytes:
    """PNG, grey, of uint8 [n_mels, frames]."""
    png: bytes = tf.io.encode_png(spectrogram[:, :, np.newaxis]).numpy()
    return png


def decode(png: bytes) -> np.ndarray:
    """uint8 [n_mels, frames] of a PNG."""
    pixels: np.ndarray = tf.io.decode_png(png, channels=1).numpy()[:, :, 0]
    return pixels


def decode_batch(png: tf.Tensor, n_mels: int, frames: int) -> tf.Tensor:
    """uint8 [N, n_mels, frames] of string [N], within a graph."""
    shape = tf.TensorSpec([n_mels, frames, 1], tf.uint8)
    pixels = tf.map_fn(
        lambda one: tf.ensure_shape(tf.io.decode_png(one, channels=1), shape.shape),
        png,
        fn_output_signature=shape,
    )
    return tf.squeeze(pixels, axis=3)
