"""Reads `speech` examples, one at a time."""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from components import features


def read_examples(file: str) -> Iterator[tf.train.Example]:
    """The `speech` examples of one file, in order."""
    for record in tf.data.TFRecordDataset(file).as_numpy_iterator():
        yield tf.train.Example.FromString(record)


def text(example: tf.train.Example, key: str) -> str:
    """A feature that holds one string."""
    value: bytes = example.features.feature[key].bytes_list.value[0]
    return value.decode()


def samples_of(example: tf.train.Example) -> npt.NDArray[np.int16]:
    """The samples of a `speech` example, int16 [samples]."""
    pcm16: bytes = example.features.feature[features.PCM16].bytes_list.value[0]
    return np.frombuffer(pcm16, "<i2")
