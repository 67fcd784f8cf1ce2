"""Spectrograms survive their PNG, one by one and in a graph."""

import io

import numpy as np
import tensorflow as tf
from PIL import Image

from components import spectrogram_image

WINDOWS = np.random.default_rng(0).integers(0, 256, (3, 5, 7)).astype(np.uint8)


def test_every_pixel_survives():
    png = [spectrogram_image.encode(window) for window in WINDOWS]
    np.testing.assert_array_equal([spectrogram_image.decode(one) for one in png], WINDOWS)
    in_graph = tf.function(spectrogram_image.decode_batch)(tf.constant(png), 5, 7)
    np.testing.assert_array_equal(in_graph, WINDOWS)
    assert in_graph.shape[1:] == (5, 7)


def test_other_programs_read_it():
    with Image.open(io.BytesIO(spectrogram_image.encode(WINDOWS[0]))) as image:
        assert image.mode == "L"
        np.testing.assert_array_equal(np.asarray(image), WINDOWS[0])
