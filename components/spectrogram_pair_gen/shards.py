"""Assigns pairs to the files of `pairs`, and writes them.

From where windows are cut to where pairs are written, they lie in temporary files, as runs.
"""

import hashlib
import itertools
import os
import pickle
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import apache_beam as beam
import tensorflow as tf
from tfx.dsl.io import fileio

from components import counters, features
from components.settings import SpectrogramSettings
from components.spectrogram_pair_gen.windows import Window

# A worker holds so many before it writes a file: 16 to 60 MB.
WINDOWS_PER_FILE: Final = 4096
MEGABYTE = 1_000_000
TARGET = 1
"""The label of two windows of one speaker."""


def same_speaker(split: str) -> str:
    """The name of the counter of a split's same-speaker pairs."""
    return f"{split}/same_speaker"


def pairs_per_shard(settings: SpectrogramSettings, sample_rate: int, shard_megabytes: float) -> int:
    """How many pairs of such windows make a file of `shard_megabytes`, uncompressed."""
    pair_bytes = 2 * settings.n_mels * settings.frames(sample_rate)
    return max(1, round(shard_megabytes * MEGABYTE / pair_bytes))


@dataclass(frozen=True)
class WindowRun:
    """Adjacent windows in a temporary file, all for one output file."""

    path: str
    offset: int  # bytes
    length: int  # bytes


def batches(windows: Iterable[Window]) -> Iterator[list[Window]]:
    """Lists of as many windows as go into one file, in their order."""
    iterator = iter(windows)
    while batch := list(itertools.islice(iterator, WINDOWS_PER_FILE)):
        yield batch


def write_runs(path: str, windows: Mapping[int, Sequence[Window]]) -> list[tuple[int, WindowRun]]:
    """Writes the windows of each output next to each other; returns (output, its run)."""
    written = []
    with fileio.open(path, "wb") as file:
        offset = 0
        for output, group in sorted(windows.items()):
            packed = pickle.dumps(group, pickle.HIGHEST_PROTOCOL)
            file.write(packed)
            written.append((output, WindowRun(path, offset, len(packed))))
            offset += len(packed)
    return written


def read_run(run: WindowRun) -> list[Window]:
    """The windows of a run."""
    with fileio.open(run.path, "rb") as file:
        file.seek(run.offset)
        windows: list[Window] = pickle.loads(file.read(run.length))
    return windows


class WriteShard(beam.DoFn):
    """((split, shard), its runs) -> one file of pairs, sorted by identity."""

    def __init__(self, folder: Mapping[str, str]) -> None:
        self._folder = folder

    def process(
        self, item: tuple[tuple[str, int], Iterable[WindowRun]], shards: Mapping[str, int]
    ) -> None:
        (split, shard), written = item
        windows = (window for run in written for window in read_run(run))
        ordered = sorted(windows, key=lambda window: (window.pair_id, window.side))
        name = f"data_tfrecord-{shard:05d}-of-{shards[split]:05d}"
        path = os.path.join(self._folder[split], name)
        with tf.io.TFRecordWriter(path) as file:
            for a, b in zip(ordered[::2], ordered[1::2], strict=True):
                file.write(_example(split, a, b).SerializeToString(deterministic=True))
                counters.count(counters.PAIRS, split)
                if a.label == TARGET:
                    counters.count(counters.PAIRS, same_speaker(split))


def shard_of(pair_id: str, shards: int) -> int:
    """Spreads pairs evenly by a hash: the identity's own digits order pairs within a shard."""
    digest = hashlib.sha256(pair_id.encode()).digest()
    return int.from_bytes(digest[:8], "big") % shards


def _example(split: str, a: Window, b: Window) -> tf.train.Example:
    if a.pair_id != b.pair_id:
        raise ValueError(f"pair {a.pair_id} has one side only")
    values: dict[str, bytes | int | float] = {
        features.LABEL: a.label,
        features.SPLIT: split.encode(),
        features.PAIR_ID: a.pair_id.encode(),
        features.CONDITION: a.condition.encode(),
        features.GENDER_PAIR: features.gender_pair(a.gender, b.gender).encode(),
    }
    for side, window in zip(features.SIDES, (a, b), strict=True):
        values |= {
            features.sided(features.SPECTROGRAM, side): window.spectrogram,
            features.sided(features.SPEAKER, side): window.speaker.encode(),
            features.sided(features.GENDER, side): window.gender.encode(),
            features.sided(features.RECORDING, side): window.recording.encode(),
            features.sided(features.START_SECONDS, side): window.start_seconds,
            features.sided(features.LEVEL_DBFS, side): window.level_dbfs,
        }
    return features.example(values)
