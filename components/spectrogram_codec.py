"""Packs windows into bytes: lossless, and quick to read in a training.

Neighbouring mels resemble each other, and so do their differences from one frame to the next: zlib
packs the differences of these differences. They are as small as PNG and quicker to read.
"""

import zlib
from typing import Final

import numpy as np
import tensorflow as tf

NAME: Final = "zlib of mel and frame differences"
"""Name of this packing: a model reads only pairs packed like those that it was trained on."""
LEVEL: Final = 9


def encode(spectrogram: np.ndarray) -> bytes:
    """Packs uint8 [n_mels, frames]."""
    mel_differences = np.diff(spectrogram, axis=0, prepend=np.uint8(0))
    differences = np.diff(mel_differences, axis=1, prepend=np.uint8(0))
    packer = zlib.compressobj(LEVEL, strategy=zlib.Z_FILTERED)
    return packer.compress(differences.tobytes()) + packer.flush()


def decode(packed: bytes, n_mels: int) -> np.ndarray:
    """Unpacks uint8 [n_mels, frames]."""
    differences = np.frombuffer(zlib.decompress(packed), np.uint8).reshape(n_mels, -1)
    return differences.cumsum(axis=1, dtype=np.uint8).cumsum(axis=0, dtype=np.uint8)


def decode_in_graph(packed: tf.Tensor, n_mels: int) -> tf.Tensor:
    """Unpacks a string to uint8 [n_mels, frames], any number of frames, within a graph."""
    differences = tf.io.decode_raw(tf.io.decode_compressed(packed, "ZLIB"), tf.uint8)
    changes = tf.reshape(differences, [n_mels, -1])
    return tf.cumsum(tf.cumsum(changes, axis=1), axis=0)


def decode_batch(packed: tf.Tensor, n_mels: int, frames: int) -> tf.Tensor:
    """Unpacks string [N] to uint8 [N, n_mels, frames], within a graph."""
    differences = tf.io.decode_raw(tf.io.decode_compressed(packed, "ZLIB"), tf.uint8)
    return _summed(_summed(tf.reshape(differences, [-1, n_mels, frames]), axis=2), axis=1)


def _summed(values: tf.Tensor, axis: int) -> tf.Tensor:
    """Cumulative sums, by sums of 2, 4, 8, ... values: tf.cumsum, value by value, is slower."""
    step = 1
    while step < values.shape[axis]:
        first, later = tf.split(values, [step, -1], axis)
        earlier, _ = tf.split(values, [-1, step], axis)
        values = tf.concat([first, later + earlier], axis)
        step *= 2
    return values
