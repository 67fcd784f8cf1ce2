"""Pairs made by hand, for tests of the trainer."""

import numpy as np
import tensorflow as tf

from components import features, spectrogram_codec

MELS, FRAMES = 32, 40


def write_pairs(folder, speakers=6, pairs=40, seed=0, noisy=False, frames=FRAMES, dissimilar=True):
    """A split of pairs: each speaker's windows hold the speaker's number, or noise around it.

    Every second pair is of two speakers, unless `dissimilar` is false.
    """
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True)
    with tf.io.TFRecordWriter(str(folder / "data_tfrecord-00000-of-00001")) as file:
        for index in range(pairs):
            a = index % speakers
            b = a
            if dissimilar and index % 2:
                b = (a + 1 + int(rng.integers(speakers - 1))) % speakers
            values: dict[str, bytes | int | float] = {features.LABEL: int(a == b)}
            for side, speaker in zip(features.SIDES, (a, b), strict=True):
                window = np.full((MELS, frames), speaker, np.uint8)
                if noisy:
                    window = (40 * window + rng.integers(0, 9, window.shape)).astype(np.uint8)
                values |= {
                    features.sided(features.SPECTROGRAM, side): spectrogram_codec.encode(window),
                    features.sided(features.SPEAKER, side): b"s%d" % speaker,
                    features.sided(features.RECORDING, side): b"r%d" % speaker,
                    features.sided(features.START_SECONDS, side): float(index),
                }
            file.write(features.example(values).SerializeToString())
    return [str(folder / "*")]
