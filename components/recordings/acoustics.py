"""Statistics of how a recording's speech sounds, by which drift is measured."""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from components.block_detection import BLOCK_SECONDS
from components.recordings.cleaning import CleanedRecording

FRAME_SECONDS: Final = 0.032
TELEPHONE_HZ: Final = 3_400
"""Upper limit of a telephone line."""
BACKGROUND_PERCENTILE: Final = 10
FLOOR_DB: Final = -96.0
"""Lowest level, that of 16-bit silence."""


@dataclass(frozen=True)
class AcousticStatistics:
    """Statistics of one recording at its normalised level, without silence."""

    speech_seconds: float
    kept_fraction: float
    """Share of the recording that is speech."""
    level_dbfs: float
    """RMS. With the article's rule the peak is 0: the nearer to 0 the more compressed or noisy."""
    background_dbfs: float
    """Level below which a tenth of the 32 ms frames lies: the background between sounds."""
    treble_db: float
    """Power above 3,400 Hz relative to the total; low for a telephone."""


def acoustics_of(cleaned: CleanedRecording, sample_rate: int) -> AcousticStatistics:
    """Measures a recording block by block, in memory independent of its length."""
    size = round(FRAME_SECONDS * sample_rate)
    window = np.hanning(size).astype(np.float32)
    is_treble = np.fft.rfftfreq(size, 1 / sample_rate) > TELEPHONE_HZ
    levels: list[npt.NDArray[np.float64]] = []
    power = np.zeros(len(is_treble))
    for start in range(0, cleaned.speech_samples, BLOCK_SECONDS * sample_rate):
        pcm16 = cleaned.read(start, start + BLOCK_SECONDS * sample_rate)
        samples = np.pad(pcm16, (0, -len(pcm16) % size)).astype(np.float32) / 2**15
        frames = samples.reshape(-1, size)
        levels.append(np.mean(np.square(frames, dtype=np.float64), axis=1))
        power += np.sum(np.square(np.abs(np.fft.rfft(frames * window)), dtype=np.float64), axis=0)
    mean_squares = np.concatenate(levels)
    energy = float(np.sum(mean_squares)) * size
    return AcousticStatistics(
        speech_seconds=cleaned.speech_samples / sample_rate,
        kept_fraction=cleaned.kept_fraction,
        level_dbfs=_decibels(energy / cleaned.speech_samples),
        background_dbfs=_decibels(float(np.percentile(mean_squares, BACKGROUND_PERCENTILE))),
        treble_db=_decibels(float(np.sum(power[is_treble]) / np.sum(power))),
    )


def _decibels(power: float) -> float:
    return max(FLOOR_DB, float(10 * np.log10(max(power, 1e-12))))
