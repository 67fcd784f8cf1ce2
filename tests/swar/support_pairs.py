"""A file with one pair of windows, with every feature that the schema has."""

from pathlib import Path

import numpy as np
import tensorflow as tf

from components import features, spectrogram_codec

MELS, FRAMES = 16, 12


def write_pair(file: Path, split: str, index: int, n_mels: int = MELS) -> np.ndarray:
    """One pair, of the same speaker where the index is odd; its windows [2, n_mels, FRAMES]."""
    windows = np.random.default_rng(index).integers(0, 256, (2, n_mels, FRAMES), np.uint8)
    values: dict[str, bytes | int | float] = {
        features.SPLIT: split.encode(),
        features.CONDITION: b"clean",
        features.GENDER_PAIR: b"unknown",
        features.PAIR_ID: b"%d" % index,
        features.LABEL: index % 2,
    }
    for side, window in zip(features.SIDES, windows, strict=True):
        values |= {
            features.sided(features.SPECTROGRAM, side): spectrogram_codec.encode(window),
            features.sided(features.SPEAKER, side): b"Sita",
            features.sided(features.GENDER, side): b"female",
            features.sided(features.RECORDING, side): b"Sita/1.wav",
            features.sided(features.START_SECONDS, side): 0.5 * index,
            features.sided(features.LEVEL_DBFS, side): -20.0,
        }
    file.parent.mkdir(parents=True, exist_ok=True)
    with tf.io.TFRecordWriter(str(file)) as writer:
        writer.write(features.example(values).SerializeToString())
    return windows
