"""Cleans a recording, from file to 16-bit speech, in memory independent of its length."""

import errno
import hashlib
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, Final, NoReturn

import numpy as np
import tensorflow as tf

from components import audio, frontend
from components.block_detection import BlockDetector, mapped
from components.errors import SwarError
from components.recordings.files import open_locally
from components.recordings.sources import Recording
from components.settings import SpeechSettings
from components.speech_detection import detector_of
from components.speech_gate import SpeechGate

TELEPHONE: Final = "telephone"
WIDEBAND: Final = "wideband"
UNKNOWN: Final = "unknown"
CHANNELS: Final = (TELEPHONE, WIDEBAND, UNKNOWN)
TELEPHONE_RATE_HZ: Final = 8_000


def channel_of(path: str | os.PathLike[str]) -> str:
    """The channel of a file by its own rate: up to 8 kHz it is a telephone's.

    Returns:
        One of CHANNELS; "unknown" if libsndfile cannot read the file.
    """
    sample_rate = audio.own_sample_rate(path)
    if sample_rate is None:
        return UNKNOWN
    return TELEPHONE if sample_rate <= TELEPHONE_RATE_HZ else WIDEBAND


class UnusableRecording(Exception):
    """A recording has no usable speech: `reason` is a short code, the message says more."""

    def __init__(self, reason: str, message: str, seconds: float | None = None) -> None:
        super().__init__(message)
        self.reason = reason
        self.seconds = seconds


@dataclass(frozen=True)
class CleanedRecording:
    """Samples on disk at the detector's level, and the ranges of them that are speech."""

    pcm16: np.ndarray  # int16 [samples], a memory map
    ranges: np.ndarray  # int64 [n, 2], samples
    channel: str  # one of CHANNELS

    @property
    def speech_samples(self) -> int:
        """Number of samples of the joined speech."""
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
            # The last range may end half a millisecond beyond the recording.
            parts.append(np.pad(part, (0, last - first - len(part))))
        return np.concatenate(parts) if parts else np.zeros(0, np.int16)

    def digest(self, block_samples: int) -> str:
        """sha256 of the joined speech."""
        sha = hashlib.sha256()
        for start in range(0, self.speech_samples, block_samples):
            sha.update(self.read(start, start + block_samples).tobytes())
        return sha.hexdigest()


class Cleaner:
    """Decodes and trims recordings, normalises the level and removes silence."""

    def __init__(self, settings: SpeechSettings) -> None:
        self._settings = settings
        self._rate = settings.sample_rate
        self._detector = BlockDetector(detector_of(settings))
        self._gate = _Gate(self._rate) if settings.require_voice else None

    @contextmanager
    def clean(self, recording: Recording) -> Iterator[CleanedRecording]:
        """Yields the cleaned recording; its temporary files are deleted with the context.

        Raises:
            UnusableRecording: it has no audio, too much of it, or too little speech.
            SwarError: the disk is full.
        """
        with tempfile.TemporaryFile() as waveform_file, tempfile.TemporaryFile() as pcm_file:
            try:
                channel, waveform = self._decoded(recording, waveform_file)
                cleaned = self._without_silence(self._trimmed(waveform), channel, pcm_file)
            except OSError as error:
                if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                    raise
                raise SwarError(
                    f"no space is left in {tempfile.gettempdir()} for the temporary files of "
                    f"{recording.recording!r}, 10 bytes a sample: free some, set TMPDIR, or lower "
                    "speech.max_recording_seconds"
                ) from error
            yield cleaned

    def _decoded(self, recording: Recording, file: IO[bytes]) -> tuple[str, np.ndarray]:
        """The file's channel, and float32 [samples] at the settings' rate, mapped from `file`."""
        try:
            max_bytes = round(1e6 * self._settings.max_recording_megabytes)
            with open_locally(recording.path, max_bytes) as path:
                for block in audio.decode_blocks(
                    path,
                    sample_rate=self._rate,
                    start_seconds=recording.start_seconds,
                    end_seconds=recording.end_seconds,
                    max_seconds=self._settings.max_recording_seconds,
                ):
                    file.write(block.tobytes())
                return channel_of(path), mapped(file, np.float32)
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
        self, waveform: np.ndarray, channel: str, file: IO[bytes]
    ) -> CleanedRecording:
        seconds = len(waveform) / self._rate
        if seconds < self._settings.min_speech_seconds:
            self._refuse_short(0.0, seconds)
        with tempfile.TemporaryFile() as filtered_file:
            filtered = self._detector.filtered(waveform, filtered_file)
            speech = self._detector.detect(filtered)
            if bool(speech.is_silent):
                raise UnusableRecording("silent", "nothing is to be heard in it", seconds)
            for block in self._detector.blocks(filtered):
                file.write(
                    frontend.to_pcm16(tf.constant(block), speech.full_scale).numpy().tobytes()
                )
        cleaned = CleanedRecording(mapped(file, np.int16), speech.ranges.numpy(), channel)
        self._check_speech(cleaned, seconds)
        return cleaned

    def _check_speech(self, cleaned: CleanedRecording, seconds: float) -> None:
        """Raises UnusableRecording unless there is enough speech, and the gate accepts it."""
        speech_seconds = cleaned.speech_samples / self._rate
        if not speech_seconds:
            raise UnusableRecording(
                "no_speech", "what is to be heard is as steady as noise", seconds
            )
        if speech_seconds < self._settings.min_speech_seconds:
            self._refuse_short(speech_seconds, seconds)
        if self._gate is not None and not self._gate.passes(cleaned):
            raise UnusableRecording(
                "no_speech", "nobody speaks in it: noise, tones or music", seconds
            )

    def _refuse_short(self, speech_seconds: float, seconds: float) -> NoReturn:
        least = self._settings.min_speech_seconds
        message = (
            f"{speech_seconds:.2f} s of speech in {seconds:.2f} s, at least {least:g} s are needed"
        )
        raise UnusableRecording("too_short", message, seconds)


class _Gate:
    """Applies the speech gate to a recording on disk, reading only the seconds it classifies."""

    def __init__(self, sample_rate: int) -> None:
        self._gate = SpeechGate(sample_rate)
        self._is_speech = tf.function(
            self._gate.is_speech,
            [tf.TensorSpec([None, sample_rate], tf.int16)],
            autograph=False,
        )

    def passes(self, cleaned: CleanedRecording) -> bool:
        """Whether the gate finds a voice."""
        samples, rate = cleaned.speech_samples, self._gate.sample_rate
        if samples < rate:
            seconds = self._gate.seconds(cleaned.read(0, samples))
        else:
            starts = self._gate.starts(tf.constant(samples, tf.int64)).numpy()
            seconds = np.stack([cleaned.read(start, start + rate) for start in starts])
        return bool(self._is_speech(seconds))
