"""Reads pairs: one by one for notebooks and other trainers, or a batch of them in a graph."""

import os
from pathlib import Path
from typing import Final

import tensorflow as tf

from components import features, spectrogram_codec
from components.errors import SwarError
from components.model.files import is_version_name

Parsed = dict[str, tf.Tensor]
_TEXTS: Final = (features.SPLIT, features.CONDITION, features.GENDER_PAIR, features.PAIR_ID)
_SIDED_TEXTS: Final = (features.SPEAKER, features.GENDER, features.RECORDING)
_SIDED_NUMBERS: Final = (features.START_SECONDS, features.LEVEL_DBFS)


def read_pairs(
    folder: str | os.PathLike[str], split: str | None = None, *, n_mels: int = 64
) -> "tf.data.Dataset":
    """The pairs of a run, in the order of their files.

    Args:
        folder: a `pairs` artifact, or an output folder of `swar run`, whose newest pairs are read.
        split: "train", "calibration", "eval", "unseen", "eval_conditions" or "unseen_conditions";
            None for all that exist.
        n_mels: number of mels, `spectrogram.n_mels` of the run.

    Returns:
        A tf.data.Dataset of dicts, named as in `components.features`: `spectrogram_a` and
        `spectrogram_b` uint8 [n_mels, frames] (0 is -top_db, 255 the window's peak), `label` int64
        (1 same speaker, 0 different); `speaker_a`, `recording_a` and the other features of the
        schema are string or float32 scalars.

    Raises:
        SwarError: the folder has no such pairs.
    """
    files = _files(Path(folder), split)
    return tf.data.TFRecordDataset(files).map(
        lambda record: _parse(record, n_mels), num_parallel_calls=tf.data.AUTOTUNE
    )


def parse_pairs(records: tf.Tensor, n_mels: int, frames: int) -> Parsed:
    """Parses serialised pairs [N] to tensors with interleaved windows: a0, b0, a1, b1, ...

    Returns:
        `spectrogram` uint8 [2N, n_mels, frames], `speaker` and `recording` string [2N],
        `start_seconds` float32 [2N], `label` int64 [N].
    """
    spec = {features.LABEL: tf.io.FixedLenFeature([], tf.int64)}
    kinds = {
        features.SPECTROGRAM: tf.string,
        features.SPEAKER: tf.string,
        features.RECORDING: tf.string,
        features.START_SECONDS: tf.float32,
    }
    for key, dtype in kinds.items():
        for side in features.SIDES:
            spec[features.sided(key, side)] = tf.io.FixedLenFeature([], dtype)
    parsed = tf.io.parse_example(records, spec)
    windows = {
        key: tf.reshape(
            tf.stack([parsed[features.sided(key, side)] for side in features.SIDES], axis=1), [-1]
        )
        for key in kinds
    }
    windows[features.SPECTROGRAM] = spectrogram_codec.decode_batch(
        windows[features.SPECTROGRAM], n_mels, frames
    )
    return windows | {features.LABEL: parsed[features.LABEL]}


def _files(folder: Path, split: str | None) -> list[str]:
    artifacts = folder / "artifacts" / "SpectrogramPairGen" / "pairs"
    if artifacts.is_dir():
        versions = [each for each in artifacts.iterdir() if is_version_name(each.name)]
        folder = max(versions, key=lambda each: int(each.name), default=folder)
    files = sorted(map(str, folder.glob(f"Split-{split or '*'}/*")))
    if not files:
        what = f"pairs of the split {split!r}" if split else "pairs"
        raise SwarError(
            f"{folder} has no {what}: name an output folder of `swar run`, or a `pairs` artifact "
            "in it"
        )
    return files


def _parse(record: tf.Tensor, n_mels: int) -> Parsed:
    kinds = dict.fromkeys(_TEXTS, tf.string) | {features.LABEL: tf.int64}
    for side in features.SIDES:
        for key in (*_SIDED_TEXTS, features.SPECTROGRAM):
            kinds[features.sided(key, side)] = tf.string
        for key in _SIDED_NUMBERS:
            kinds[features.sided(key, side)] = tf.float32
    parsed: Parsed = tf.io.parse_single_example(
        record, {key: tf.io.FixedLenFeature([], kind) for key, kind in kinds.items()}
    )
    for side in features.SIDES:
        key = features.sided(features.SPECTROGRAM, side)
        parsed[key] = spectrogram_codec.decode_in_graph(parsed[key], n_mels)
    return parsed
