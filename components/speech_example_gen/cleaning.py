"""One recording, from file to cleaned 16-bit speech, in memory that its length does not change."""

import hashlib
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO

import numpy as np
import tensorflow as tf

from components import audio, frontend
from components.channels import channel_of
from components.settings import SpeechSettings
from components.speech_example_gen.sources import Recording, open_locally

BLOCK_SECONDS = 60


class UnusableRecording(Exception):
    """A recording that gives no speech: `reason` is a short code, the message says more."""

    def __init__(self, reason: str, message: str, seconds: float | None = None) -> None:
        super().__init__(message)
        self.reason = reason
        self.seconds = seconds


@dataclass(frozen=True)
class CleanedRecording:
    """Peak-normalised samples on disk and the ranges of them that hold speech."""

    pcm16: np.ndarray  # int16 [samples], a memory map
    ranges: np.ndarray  # int64 [n, 2], samples
    channel: str  # one of channels.CHANNELS

    @property
    def speech_samples(self) -> int:
        """Samples that are left when the kept ranges are joined."""
        return int(np.sum(self.ranges[:, 1] - self.ranges[:, 0]))

    @property
    def kept_fraction(self) -> float:
        """Share of the trimmed recording that is speech."""
        return min(1.0, self.speech_samples / len(self.pcm16))

    def read(self, start: int, end: int) -> np.ndarray:
        """int16 samples `start:end` of the joined speech."""
        lengths = self.ranges[:, 1] - self.ranges[:, 0]
        joined_ends = np.cumsum(lengths)
        joined_starts = joined_ends - lengths
        parts = []
        for index in np.flatnonzero((joined_ends > start) & (joined_starts < end)):
            offset = self.ranges[index, 0] - joined_starts[index]
            first = max(start, joined_starts[index]) + offset
            last = min(end, joined_ends[index]) + offset
            part = self.pcm16[first:last]
            # The last range may end half a millisecond behind the recording.
            parts.append(np.pad(part, (0, last - first - len(part))))
        return np.concatenate(parts) if parts else np.zeros(0, np.int16)

    def digest(self, block_samples: int) -> str:
        """sha256 of the joined speech."""
        sha = hashlib.sha256()
        for start in range(0, self.speech_samples, block_samples):
            sha.update(self.read(start, start + block_samples).tobytes())
        return sha.hexdigest()


class Cleaner:
    """Decodes, trims, peak-normalises and removes silence."""

    def __init__(self, settings: SpeechSettings) -> None:
        self._settings = settings
        self._rate = settings.sample_rate
        self._detector = frontend.SilenceDetector.of(settings)
        self._energy = tf.function(
            self._detector.millisecond_energy,
            input_signature=[tf.TensorSpec([None, self._rate], tf.int16)],
        )
        self._ranges = tf.function(
            self._detector.kept_ranges,
            input_signature=[tf.TensorSpec([None], tf.int64), tf.TensorSpec([], tf.int64)],
        )

    @contextmanager
    def clean(self, recording: Recording) -> Iterator[CleanedRecording]:
        """Yields the cleaned recording; its temporary files go when the context ends.

        Raises:
            UnusableRecording: there is no audio, or too little speech in it.
        """
        with tempfile.TemporaryFile() as waveform_file, tempfile.TemporaryFile() as pcm_file:
            channel, waveform = self._decoded(recording, waveform_file)
            yield self._without_silence(self._trimmed(waveform), channel, pcm_file)

    def _decoded(self, recording: Recording, file: IO[bytes]) -> tuple[str, np.ndarray]:
        """The file's channel, and float32 [samples] at the settings' rate, mapped from `file`."""
        try:
            with open_locally(recording.path) as path:
                for block in audio.decode_blocks(
                    path,
                    sample_rate=self._rate,
                    start_seconds=recording.start_seconds,
                    end_seconds=recording.end_seconds,
                ):
                    file.write(block.tobytes())
                return channel_of(path), _mapped(file, np.float32)
        except audio.AudioError as error:
            raise UnusableRecording(error.reason, str(error)) from error

    def _trimmed(self, waveform: np.ndarray) -> np.ndarray:
        head = round(self._settings.trim_head_seconds * self._rate)
        tail = round(self._settings.trim_tail_seconds * self._rate)
        trimmed = waveform[head : max(head, len(waveform) - tail)]
        if not len(trimmed):
            seconds = len(waveform) / self._rate
            raise UnusableRecording(
                "too_short", f"nothing is left of {seconds:.3f} s after trimming", seconds
            )
        return trimmed

    def _without_silence(
        self, waveform: np.ndarray, channel: str, pcm_file: IO[bytes]
    ) -> CleanedRecording:
        seconds = len(waveform) / self._rate
        peak = max(float(np.max(np.abs(block))) for block in self._blocks(waveform))
        if peak == 0.0:
            raise UnusableRecording("silent", "every sample is zero", seconds)
        energies = []
        for block in self._blocks(waveform):
            pcm16 = frontend.to_pcm16(tf.constant(block), tf.constant(peak)).numpy()
            pcm_file.write(pcm16.tobytes())
            padded = np.pad(pcm16, (0, -len(pcm16) % self._rate))
            energies.append(self._energy(padded.reshape(-1, self._rate)).numpy())
        ranges = self._ranges(np.concatenate(energies), len(waveform)).numpy()
        cleaned = CleanedRecording(_mapped(pcm_file, np.int16), ranges, channel)
        speech_seconds = cleaned.speech_samples / self._rate
        if speech_seconds < self._settings.min_speech_seconds:
            too_short = speech_seconds or seconds < self._settings.min_speech_seconds
            reason = "too_short" if too_short else "silent"
            raise UnusableRecording(
                reason,
                f"{speech_seconds:.2f} s of speech in {seconds:.2f} s, "
                f"at least {self._settings.min_speech_seconds:g} s are needed",
                seconds,
            )
        return cleaned

    def _blocks(self, samples: np.ndarray) -> Iterator[np.ndarray]:
        size = BLOCK_SECONDS * self._rate
        return (samples[start : start + size] for start in range(0, len(samples), size))


def _mapped(file: IO[bytes], dtype: type[np.generic]) -> np.ndarray:
    """The whole file as an array that the operating system pages in and out."""
    file.flush()
    if file.tell() == 0:
        return np.zeros(0, dtype)
    return np.memmap(file, dtype=dtype, mode="r")
