"""Pairs from disk to the device: tf.data streams of windows."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from components import features
from components.errors import SwarError
from components.read_pairs import parse_pairs
from components.settings import SpectrogramSettings, TrainerSettings
from components.trainer.teacher import Teacher
from components.trainer.utterances import WindowOrigins

SHUFFLE_PAIRS = 4096
PARALLEL_READS = 4
SPEAKER_HASHES = 2**62
_Targets = Any  # a tensor, or one for each loss
_Change = Callable[[tf.Tensor, _Targets], tuple[tf.Tensor, _Targets]]


class TrainShape(NamedTuple):
    """Shape of the training windows."""

    n_mels: int
    frames: int
    """Length of the stored windows."""
    shortest_frames: int
    """Every batch is cut to a length from this one to `frames`."""

    @classmethod
    def of(cls, settings: SpectrogramSettings, sample_rate: int) -> "TrainShape":
        """The shape that SpectrogramPairGen makes by the settings."""
        frames = settings.of_train().frames(sample_rate)
        return cls(settings.n_mels, frames, settings.frames(sample_rate))

    @property
    def only_frames(self) -> int | None:
        """The length of every batch; None where lengths differ."""
        return self.frames if self.shortest_frames == self.frames else None


@dataclass(frozen=True)
class Windows(WindowOrigins):
    """Windows in memory, and where they are from."""

    spectrogram: np.ndarray  # uint8 [N, n_mels, frames]


def pair_records(patterns: Sequence[str]) -> tf.data.Dataset:
    """Serialised pairs of all files, in a fixed order.

    Raises:
        SwarError: there are none.
    """
    files = sorted(file for pattern in patterns for file in tf.io.gfile.glob(pattern))
    if not files:
        raise SwarError(f"no pairs in {', '.join(patterns)}: the split has too little speech")
    return tf.data.TFRecordDataset(files, num_parallel_reads=min(PARALLEL_READS, len(files)))


def load_windows(patterns: Sequence[str], n_mels: int, frames: int, pairs: int) -> Windows:
    """Windows of a split's first pairs, a and b in turn; pairs are in order of their hashes."""
    records = list(pair_records(patterns).take(pairs).as_numpy_iterator())
    parsed = {key: value.numpy() for key, value in parse_pairs(records, n_mels, frames).items()}
    del parsed[features.LABEL]
    return Windows(**parsed)


def training_batches(
    patterns: Sequence[str],
    settings: TrainerSettings,
    shape: TrainShape,
    pairs: int,
    *,
    skipped: int = 0,
) -> tf.data.Dataset:
    """Endless batches of pairs in a shuffled order, which depends on the seed alone.

    Memory holds the pairs that are shuffled and a few batches, however many pairs there are.

    Args:
        patterns: files of pairs; for all losses but `listed` each pair is of one speaker.
        settings: loss, masks and seed.
        shape: of the windows.
        pairs: P, in a batch.
        skipped: batches that a resumed training has had already. Crops and masks are drawn anew.

    Yields:
        (uint8 [2P, n_mels, frames], int64 [2P]): windows a and b of each pair in turn, and their
        targets: for the loss `listed` the pair's label, else the hash of the window's speaker.
        With a teacher, a target is (int64 [2P], float32 [2P, D]): also the teacher's embedding of
        the recording.

    Raises:
        SwarError: the teacher's file is not usable, or there are no pairs.
    """
    teacher = Teacher(settings) if settings.teacher is not None else None

    def parse(records: tf.Tensor) -> tuple[tf.Tensor, _Targets]:
        parsed = parse_pairs(records, shape.n_mels, shape.frames)
        if settings.reads_dissimilar:
            target = tf.repeat(parsed[features.LABEL], 2)
        else:
            target = tf.strings.to_hash_bucket_fast(parsed[features.SPEAKER], SPEAKER_HASHES)
        if teacher is None:
            return parsed[features.SPECTROGRAM], target
        taught = teacher(parsed[features.SPEAKER], parsed[features.RECORDING])
        return parsed[features.SPECTROGRAM], (target, taught)

    batches = (
        pair_records(patterns)
        .shuffle(SHUFFLE_PAIRS, settings.seed)
        .repeat()
        .batch(pairs, drop_remainder=True)
        .skip(skipped)
        .map(parse, num_parallel_calls=tf.data.AUTOTUNE)
    )
    return _varied(batches, settings, shape)


def _varied(
    batches: tf.data.Dataset, settings: TrainerSettings, shape: TrainShape
) -> tf.data.Dataset:
    """Batches cut and masked as the settings ask for, ahead of the device."""
    if shape.shortest_frames < shape.frames:
        batches = batches.map(_cropping(shape))
    if settings.time_mask_frames or settings.frequency_mask_mels:
        batches = batches.map(_masking(settings))
    return batches.prefetch(tf.data.AUTOTUNE)


def relative_to_peak(spectrograms: tf.Tensor) -> tf.Tensor:
    """Raises cut parts of longer windows to their own peak, as the front end would have.

    Values at the floor of the longer window are raised as well: how far below it they were is
    unknown.

    Args:
        spectrograms: uint8 [N, n_mels, frames].

    Returns:
        uint8 [N, n_mels, frames], the highest of each being 255.
    """
    return spectrograms + (spectrograms.dtype.max - tf.reduce_max(spectrograms, [1, 2], True))


def _cropping(shape: TrainShape) -> _Change:
    """Cuts the same part, of random length, from all windows of a batch."""

    def crop(spectrograms: tf.Tensor, target: _Targets) -> tuple[tf.Tensor, _Targets]:
        length = tf.random.uniform([], shape.shortest_frames, shape.frames + 1, tf.int32)
        start = tf.random.uniform([], 0, shape.frames - length + 1, tf.int32)
        return relative_to_peak(spectrograms[:, :, start : start + length]), target

    return crop


def _masking(settings: TrainerSettings) -> _Change:
    """SpecAugment's time and frequency masks on every window."""
    from tensorflow_io.python.ops import audio_ops  # slow, and warns of its missing plugins

    def mask(spectrogram: tf.Tensor) -> tf.Tensor:
        # tensorflow-io masks [time, frequency]; a window is [n_mels, frames].
        window = tf.transpose(spectrogram)
        if settings.time_mask_frames:
            window = audio_ops.time_mask(window, settings.time_mask_frames)
        if settings.frequency_mask_mels:
            window = audio_ops.freq_mask(window, settings.frequency_mask_mels)
        return tf.transpose(window)

    return lambda spectrograms, target: (tf.map_fn(mask, spectrograms), target)
