"""Runs a speech detector over a recording on disk in blocks, so that length costs little memory."""

import functools
from collections.abc import Iterator
from typing import IO, Final

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from components import frontend
from components.speech_detection import Speech, SpeechDetector

BLOCK_SECONDS: Final = 60

Samples = npt.NDArray[np.float32]


class BlockDetector:
    """Finds the same speech as a detector that is given the whole recording at once.

    Args:
        detector: decides what is speech.
    """

    def __init__(self, detector: SpeechDetector) -> None:
        self._rate = detector.sample_rate
        self._context = detector.context_samples
        self._block = detector.block_samples
        self._measured_full_scale = detector.measured_full_scale
        second = tf.TensorSpec([None, self._rate], tf.int16)
        scalar = tf.TensorSpec([], tf.float32)
        traced = functools.partial(tf.function, autograph=False)  # no Python loops
        self._filter = traced(detector.filter_blocks, [tf.TensorSpec([None], tf.float32)])
        self._energy = traced(detector.millisecond_energy, [second])
        self._detect = traced(
            detector.detect,
            [tf.TensorSpec([None], tf.int64), tf.TensorSpec([], tf.int64), scalar],
        )

    def filtered(self, waveform: Samples, file: IO[bytes]) -> Samples:
        """Applies the detector's `filter_blocks` to a recording.

        Args:
            waveform: float32 [samples], full scale 1; may be a memory map.
            file: an empty file, to which the filtered samples are written.

        Returns:
            float32 [samples], mapped from `file`; `waveform` itself if nothing is filtered.
        """
        if not self._context:
            return waveform
        size = BLOCK_SECONDS * self._rate // self._block * self._block
        for start in range(0, len(waveform), size):
            end = min(start + size, len(waveform))
            first, last = start - self._context, end + self._context
            around = np.array(waveform[max(0, first) : last])
            missing = -(end - start) % self._block
            behind = max(0, last - len(waveform)) + missing
            extended = np.pad(around, (max(0, -first), behind), mode="edge")
            file.write(self._filter(extended).numpy()[: end - start].tobytes())
        return mapped(file, np.float32)

    def detect(self, filtered: Samples) -> Speech:
        """Detects speech in what `filtered` returns, at least one sample."""
        peak = max(float(np.max(np.abs(block))) for block in self.blocks(filtered))
        measured = float(self._measured_full_scale(tf.constant(peak)))
        energies = [
            self._energy(self._in_seconds(_pcm16(block, measured))).numpy()
            for block in self.blocks(filtered)
        ]
        speech: Speech = self._detect(np.concatenate(energies), len(filtered), peak)
        return speech

    def blocks(self, samples: Samples) -> Iterator[Samples]:
        """The samples in blocks of BLOCK_SECONDS."""
        size = BLOCK_SECONDS * self._rate
        return (samples[start : start + size] for start in range(0, len(samples), size))

    def _in_seconds(self, samples: npt.NDArray[np.int16]) -> npt.NDArray[np.int16]:
        """The samples as [n, rate], the last second padded with zeros."""
        return np.pad(samples, (0, -len(samples) % self._rate)).reshape(-1, self._rate)


def _pcm16(samples: Samples, full_scale: float) -> npt.NDArray[np.int16]:
    pcm16: npt.NDArray[np.int16] = frontend.to_pcm16(tf.constant(samples), full_scale).numpy()
    return pcm16


def mapped(file: IO[bytes], dtype: type[np.generic]) -> np.ndarray:
    """Maps the whole file into memory as an array."""
    file.flush()
    if file.tell() == 0:
        return np.zeros(0, dtype)
    return np.memmap(file, dtype=dtype, mode="r")
