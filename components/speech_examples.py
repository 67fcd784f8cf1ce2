"""Reads `speech` examples, one at a time."""

from collections.abc import Iterator

import tensorflow as tf


def read_examples(file: str) -> Iterator[tf.train.Example]:
    """The `speech` examples of one file, in order."""
    for record in tf.data.TFRecordDataset(file).as_numpy_iterator():
        yield tf.train.Example.FromString(record)


def text(example: tf.train.Example, key: str) -> str:
    """A feature that holds one string."""
    value: bytes = example.features.feature[key].bytes_list.value[0]
    return value.decode()
