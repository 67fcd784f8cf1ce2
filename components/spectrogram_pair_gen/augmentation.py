"""Other rooms, lines and surroundings for windows to train on: pure functions of keyed seeds.

A change of level is none of them: every spectrogram is relative to its window's own peak.
"""

import math
from collections.abc import Callable
from typing import Final

import numpy as np
import numpy.typing as npt
import scipy.signal
import soxr

from components.settings import AugmentationSettings

Samples = npt.NDArray[np.float32]

TELEPHONE_RATE: Final = 8_000
TELEPHONE_BAND_HZ: Final = (300.0, 3_400.0)
_FILTER_ORDER: Final = 4
_MU: Final = 255.0  # ITU-T G.711
_MU_STEPS: Final = 127.0  # of either sign: with 0, which G.711 has twice, they fill 8 bits
_NOISE_COLOURS: Final = (0.0, 1.0, 2.0)  # white, pink, brown: power falls with frequency ** colour
_DECAY_DB: Final = 60.0


def augment(
    samples: Samples,
    sample_rate: int,
    settings: AugmentationSettings,
    babble: Callable[[], Samples | None],
    generator: np.random.Generator,
) -> Samples:
    """A window as another room, line or company would have left it.

    Each change happens with its own probability, in the order in which sound meets them: the
    room, other sounds in it, the line.

    Args:
        samples: [n], any scale.
        sample_rate: Hz.
        settings: probabilities and ranges.
        babble: gives [n] of other people's speech; None where there is none: then it is noise.
        generator: draws everything.

    Returns:
        [n], the peak as before, so that nothing is clipped.
    """
    chances = generator.random(3)
    changed = samples
    if chances[0] < settings.reverberation_probability:
        seconds = generator.uniform(*settings.reverberation_seconds)
        changed = reverberate(changed, sample_rate, seconds, generator)
    if chances[1] < settings.noise_probability:
        noise = babble() if generator.random() < 0.5 else None
        if noise is None:
            noise = coloured_noise(len(samples), generator.choice(_NOISE_COLOURS), generator)
        changed = mix(changed, noise, generator.uniform(*settings.noise_snr_db))
    if chances[2] < settings.telephone_probability:
        changed = telephone(changed, sample_rate)
    if changed is samples:
        return samples
    return _with_peak(changed, float(np.max(np.abs(samples))))


def reverberate(
    samples: Samples, sample_rate: int, seconds: float, generator: np.random.Generator
) -> Samples:
    """The direct sound, then a tail of noise that falls by 60 dB in so many seconds, as loud.

    Source: Polack's statistical model of a room response; Lebart, Boucher and Denbigh, "A new
    method based on spectral subtraction for speech dereverberation", 2001, equation 1.
    """
    length = math.ceil(seconds * sample_rate)
    decay = 10.0 ** (-_DECAY_DB / 20.0 * np.arange(length) / length)
    tail = generator.standard_normal(length) * decay
    response = np.concatenate([[1.0], tail / np.linalg.norm(tail)])
    reverberant: Samples = scipy.signal.fftconvolve(samples, response).astype(np.float32)
    return reverberant[: len(samples)]


def coloured_noise(length: int, colour: float, generator: np.random.Generator) -> Samples:
    """Gaussian noise whose power falls with the frequency to the power of `colour`."""
    spectrum = np.fft.rfft(generator.standard_normal(length))
    frequency = np.arange(len(spectrum), dtype=np.float64)
    frequency[0] = 1.0
    noise = np.fft.irfft(spectrum * frequency ** (-colour / 2.0), length)
    return noise.astype(np.float32)


def mix(samples: Samples, noise: Samples, snr_db: float) -> Samples:
    """The sum, the noise so much below the samples in power; silence stays as it is."""
    power, noise_power = np.mean(np.square(samples)), np.mean(np.square(noise))
    if power == 0.0 or noise_power == 0.0:
        return samples
    gain = np.sqrt(power / noise_power) * 10.0 ** (-snr_db / 20.0)
    mixed: Samples = (samples + gain * noise).astype(np.float32)
    return mixed


def telephone(samples: Samples, sample_rate: int) -> Samples:
    """300 to 3,400 Hz at 8 kHz, through the 8-bit mu-law codec (ITU-T G.711)."""
    band = scipy.signal.butter(
        _FILTER_ORDER, TELEPHONE_BAND_HZ, "bandpass", fs=TELEPHONE_RATE, output="sos"
    )
    narrow = scipy.signal.sosfilt(band, soxr.resample(samples, sample_rate, TELEPHONE_RATE))
    peak = np.max(np.abs(narrow)) or 1.0
    compressed = np.sign(narrow) * np.log1p(_MU * np.abs(narrow / peak)) / np.log1p(_MU)
    coded = np.round(compressed * _MU_STEPS) / _MU_STEPS
    decoded = np.sign(coded) * np.expm1(np.abs(coded) * np.log1p(_MU)) / _MU * peak
    wide = soxr.resample(decoded.astype(np.float32), TELEPHONE_RATE, sample_rate)
    return _of_length(wide, len(samples))


def _of_length(samples: Samples, length: int) -> Samples:
    """Cut or padded with zeros: resampling may round a few samples away."""
    fitting = np.zeros(length, np.float32)
    fitting[: len(samples)] = samples[:length]
    return fitting


def _with_peak(samples: Samples, peak: float) -> Samples:
    found = float(np.max(np.abs(samples)))
    return samples if found == 0.0 else (samples * (peak / found)).astype(np.float32)
