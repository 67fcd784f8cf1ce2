"""Windows survive their packing, one by one and in a graph."""

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from components import spectrogram_codec

SHAPES = arrays.array_shapes(min_dims=2, max_dims=2, max_side=70)


@given(st.data(), SHAPES)
def test_every_pixel_survives(data, shape):
    windows = data.draw(arrays.arrays(np.uint8, (2, *shape)))
    packed = [spectrogram_codec.encode(window) for window in windows]
    found = [spectrogram_codec.decode(one, shape[0]) for one in packed]
    np.testing.assert_array_equal(found, windows)
    np.testing.assert_array_equal(spectrogram_codec.decode_batch(packed, *shape), windows)


def test_a_graph_knows_the_shape_and_takes_any_number():
    packed = [spectrogram_codec.encode(np.full((5, 7), value, np.uint8)) for value in (0, 255)]
    decode = tf.function(
        lambda strings: spectrogram_codec.decode_batch(strings, 5, 7),
        [tf.TensorSpec([None], tf.string)],
    )
    assert decode(packed).shape == (2, 5, 7)
    assert decode(packed[:0]).shape == (0, 5, 7)


def test_what_is_no_window_of_that_shape_is_an_error():
    packed = spectrogram_codec.encode(np.zeros((5, 7), np.uint8))
    with pytest.raises(tf.errors.InvalidArgumentError):
        spectrogram_codec.decode_batch([packed], 5, 8)
    with pytest.raises(tf.errors.OpError):
        spectrogram_codec.decode_batch([b"nothing packed"], 5, 7)
