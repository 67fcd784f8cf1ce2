"""Measures the quality of a recording: noise, bandwidth and clipping."""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

LEAST_SAMPLE_RATE: Final = 1_000
FRAME_SECONDS: Final = 0.032
BAND_HZ: Final = 250.0
"""Width of the bands by which the upper edge of the speech is found."""
LOWEST_HZ: Final = 80.0
"""The SNR leaves out what is below: rumble, and no voice."""
MOST_SNR_DB: Final = 60.0
"""Limit of the SNR, reached if the pauses are nearly empty: 16 bits tell little beyond."""
_FLOOR_PERCENT: Final = 10
_LOUD_PERCENT: Final = 95
_ABOVE_FLOOR_DB: Final = 6.0
_BELOW_LOUDEST_DB: Final = 30.0
_LEAST_POWER: Final = 2.0**-30  # one step of 16 bits: less is digital silence
_TINY: Final = 1e-12
# A fricative at 7 kHz is about 40 dB below the vowels, a window's leakage more than 60 dB; one
# frame in fifty may hold a fricative.
_BAND_BELOW_LOUDEST_DB: Final = 55.0
_BAND_PERCENT: Final = 98
# Clipped samples pile up at the largest magnitudes, rare in other speech. Resampling and codecs
# smear the pile over a few of the bins between silence and the peak.
_BINS: Final = 50
_FIRST_BIN: Final = 15
_BINS_BEFORE: Final = 6
_PILE_RATIO: Final = 1.5
_LEAST_PILE: Final = 2e-4  # of all samples
_LEAST_PEAK: Final = 1_000  # of 32,767: below it a bin holds so few values that some stand out

Pcm16 = npt.NDArray[np.int16]


@dataclass(frozen=True)
class RecordingQuality:
    """Quality of one unchanged recording, with its pauses."""

    speech_seconds: float | None
    """Seconds of speech that the model finds; None if it does not tell."""
    snr_db: float
    """Power of the frames with speech over the background's, at most MOST_SNR_DB; seldom below 6,
    since these frames stand out from the background, and 0 if none does."""
    bandwidth_hz: float
    """Upper edge of the bands within 55 dB of the loudest one; 0 for silence."""
    clipped_fraction: float
    """Share of the samples that were clipped at the largest magnitudes."""


def quality_of(
    pcm16: Pcm16, sample_rate: int, speech_seconds: float | None = None
) -> RecordingQuality:
    """Measures a recording.

    The background is the power that a tenth of the 32 ms frames do not exceed. Frames with speech
    are 6 dB above it, and at most 30 dB below the loudest twentieth. If a noise gate or a codec
    emptied the pauses, the SNR is MOST_SNR_DB, whatever noise is under the speech.

    Args:
        pcm16: int16 [samples], with the pauses.
        sample_rate: Hz, LEAST_SAMPLE_RATE or more.
        speech_seconds: the model's value, returned as it is.
    """
    size = round(FRAME_SECONDS * sample_rate)
    samples = pcm16.astype(np.float32) / np.float32(2**15)
    samples -= np.mean(samples) if len(samples) else np.float32(0.0)
    frames = samples[: len(samples) // size * size].reshape(-1, size)
    clipped = _clipped_fraction(pcm16)
    if not np.any(np.mean(np.square(frames), axis=1) > _LEAST_POWER):
        return RecordingQuality(speech_seconds, 0.0, 0.0, clipped)
    spectrum = np.fft.rfft(frames * np.hanning(size).astype(np.float32))
    power = np.square(np.abs(spectrum), dtype=np.float64)
    hertz = np.fft.rfftfreq(size, 1.0 / sample_rate)
    return RecordingQuality(
        speech_seconds,
        _snr_db(np.sum(power[:, hertz >= LOWEST_HZ], axis=1)),
        _bandwidth_hz(power, hertz[1]),
        clipped,
    )


def _snr_db(power: npt.NDArray[np.float64]) -> float:
    """The SNR from the frames' powers [n]; 0 if no frame stands out."""
    floor, loud = np.percentile(power, [_FLOOR_PERCENT, _LOUD_PERCENT])
    least = max(_times_db(floor, _ABOVE_FLOOR_DB), _times_db(loud, -_BELOW_LOUDEST_DB))
    speech = power[power > least]
    if not len(speech):
        return 0.0
    return min(MOST_SNR_DB, float(10.0 * np.log10(np.mean(speech) / max(floor, _TINY) - 1.0)))


def _bandwidth_hz(power: npt.NDArray[np.float64], step_hz: float) -> float:
    """Upper edge of the highest band that is not nearly empty in power spectra [frames, bins].

    A band full of noise counts, since it may hide speech.
    """
    width = round(BAND_HZ / step_hz)
    count = (power.shape[1] - 1) // width
    bands = power[:, 1 : 1 + count * width].reshape(len(power), count, width).mean(axis=2)
    loud = np.percentile(bands, _BAND_PERCENT, axis=0)
    filled = np.flatnonzero(loud > _times_db(np.max(loud), -_BAND_BELOW_LOUDEST_DB))
    return float((filled[-1] + 1) * width * step_hz)


def _clipped_fraction(pcm16: Pcm16) -> float:
    """Share of clipped samples; each polarity has its own clipping level."""
    if not len(pcm16):
        return 0.0
    magnitudes = pcm16.astype(np.int32) - round(float(np.mean(pcm16)))
    return sum(_pile(part[part > 0], len(part)) for part in (magnitudes, -magnitudes))


def _pile(magnitudes: npt.NDArray[np.int32], samples: int) -> float:
    """Share of the samples in and above a pile of magnitudes; 0 if there is none."""
    peak = int(np.max(magnitudes, initial=0))
    if peak < _LEAST_PEAK:
        return 0.0
    counts, _ = np.histogram(magnitudes, bins=_BINS, range=(0, peak))
    for first in range(_FIRST_BIN, _BINS):
        before = max(1.0, float(np.mean(counts[first - _BINS_BEFORE : first])))
        if counts[first] > max(_PILE_RATIO * before, _LEAST_PILE * samples):
            return float(np.sum(counts[first:]) / samples)
    return 0.0


def _times_db(power: npt.ArrayLike, decibels: float) -> npt.NDArray[np.float64]:
    times: npt.NDArray[np.float64] = np.asarray(power, np.float64) * 10.0 ** (decibels / 10.0)
    return times
