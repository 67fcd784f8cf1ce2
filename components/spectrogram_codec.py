"""Windows as bytes: lossless, and quick to read where a training waits for them.

Neighbouring mels resemble each other, and so do their differences from one frame to the next: what
is packed, by zlib, is the difference of the differences. It is as small as PNG and quicker to read.
"""

import zlib
from typing import Final

import numpy as np
import tensorflow as tf

NAME: Final = "zlib of mel and frame differences"
"""Of this way of packing: a model reads pairs that are packed as those that it was made from."""
LEVEL: Final = 9


def encode(spectrogram: np.ndarray) -> bytes:
    """Of uint8 [n_mels, frames]."""
    mel_differences = np.diff(spectrogram, axis=0, prepend=np.uint8(0))
    differences = np.diff(mel_differences, axis=1, prepend=np.uint8(0))
    packer = zlib.compressobj(LEVEL, strategy=zlib.Z_FILTERED)
    return packer.compress(differences.tobytes()) + packer.flush()


def decode(packed: bytes, n_mels: int) -> np.ndarray:
    """uint8 [n_mels, frames]."""
    differences = np.frombuffer(zlib.decompress(packed), np.uint8).reshape(n_mels, -1)
    return differences.cumsum(axis=1, dtype=np.uint8).cumsum(axis=0, dtype=np.uint8)


def decode_in_graph(packed: tf.Tensor, n_mels: int) -> tf.Tensor:
    """uint8 [n_mels, frames] of a string, of as many frames as there are, within a graph."""
    differences = tf.io.decode_raw(tf.io.decode_compressed(packed, "ZLIB"), tf.uint8)
    changes = tf.reshape(differences, [n_mels, -1])
    return tf.cumsum(tf.cumsum(changes, axis=1), axis=0)


def decode_batch(packed: tf.Tensor, n_mels: int, frames: int) -> tf.Tensor:
    """uint8 [N, n_mels, frames] of string [N], within a graph."""
    differences = tf.io.decode_raw(tf.io.decode_compressed(packed, "ZLIB"), tf.uint8)
    return _summed(_summed(tf.reshape(differences, [-1, n_mels, frames]), axis=2), axis=1)


def _summed(values: tf.Tensor, axis: int) -> tf.Tensor:
    """By sums of 2, 4, 8, ... values: tf.cumsum, which goes from one to the next, takes longer."""
    step = 1
    while step < values.shape[axis]:
        first, later = tf.split(values, [step, -1], axis)
        earlier, _ = tf.split(values, [-1, step], axis)
        values = tf.concat([first, later + earlier], axis)
        step *= 2
    return values
