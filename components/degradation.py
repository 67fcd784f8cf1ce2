"""Effects of rooms, noise, lines and codecs on a waveform: pure functions."""

import io
import math
from typing import Final, Literal

import numpy as np
import numpy.typing as npt
import scipy.signal
import soundfile
import soxr
from scipy.interpolate import CubicSpline

Samples = npt.NDArray[np.float32]

TELEPHONE_RATE: Final = 8_000
TELEPHONE_BAND_HZ: Final = (300.0, 3_400.0)
_FILTER_ORDER: Final = 4
_MU: Final = 255.0  # ITU-T G.711
_MU_STEPS: Final = 127.0  # of each sign: with 0, which G.711 has twice, they fill 8 bits
DECAY_DB: Final = 60.0
"""Decay of a room's response within its reverberation time."""
NOISE_COLOURS: Final = (0.0, 1.0, 2.0)
"""White, pink and brown: power is proportional to 1 / frequency ** colour."""
MAINS_HERTZ: Final = (50.0, 60.0)
RIPPLE_DB: Final = 3.0
"""Standard deviation of a microphone's gains, drawn an octave apart."""
LOWEST_HZ: Final = 50.0
"""The gain of `tilt` is constant below it."""
_CODEC_RATES: Final = {
    "mp3": (8_000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000),
    "opus": (8_000, 12_000, 16_000, 24_000, 48_000),
}
# libsndfile's compression levels: at 16 kHz about 32 kb/s for MP3 and 20 kb/s for Opus.
_CODECS: Final = {
    "mp3": {
        "format": "MP3",
        "subtype": "MPEG_LAYER_III",
        "bitrate_mode": "AVERAGE",
        "compression_level": 0.85,
    },
    "opus": {"format": "OGG", "subtype": "OPUS", "compression_level": 0.95},
}


def reverberate(
    samples: Samples, sample_rate: int, seconds: float, generator: np.random.Generator
) -> Samples:
    """Adds a noise tail of the direct sound's energy that falls by 60 dB in `seconds`.

    Source: Polack's statistical model of a room response; Lebart, Boucher and Denbigh, "A new
    method based on spectral subtraction for speech dereverberation", 2001, equation 1.
    """
    length = math.ceil(seconds * sample_rate)
    decay = 10.0 ** (-DECAY_DB / 20.0 * np.arange(length) / length)
    tail = generator.standard_normal(length) * decay
    response = np.concatenate([[1.0], tail / np.linalg.norm(tail)])
    reverberant: Samples = scipy.signal.fftconvolve(samples, response).astype(np.float32)
    return reverberant[: len(samples)]


def in_room(samples: Samples, response: Samples, direct: int) -> Samples:
    """Applies a room's impulse response, without delay or change of power.

    Args:
        samples: [n].
        response: [m], not all 0, any scale, at the samples' rate.
        direct: index of the direct sound in the response.

    Returns:
        [n], with the power of the samples; silence stays silence.
    """
    returned = scipy.signal.fftconvolve(samples, response)[direct : direct + len(samples)]
    power = np.mean(np.square(returned))
    gain = np.sqrt(np.mean(np.square(samples)) / power) if power > 0.0 else 1.0
    reverberant: Samples = (gain * returned).astype(np.float32)
    return reverberant


def coloured_noise(length: int, colour: float, generator: np.random.Generator) -> Samples:
    """Gaussian noise whose power is proportional to 1 / frequency ** colour."""
    spectrum = np.fft.rfft(generator.standard_normal(length))
    frequency = np.arange(len(spectrum), dtype=np.float64)
    frequency[0] = 1.0
    noise = np.fft.irfft(spectrum * frequency ** (-colour / 2.0), length)
    return noise.astype(np.float32)


def mix(samples: Samples, noise: Samples, snr_db: float) -> Samples:
    """Adds noise `snr_db` below the samples' power; silence stays as it is."""
    power, noise_power = np.mean(np.square(samples)), np.mean(np.square(noise))
    if power == 0.0 or noise_power == 0.0:
        return samples
    gain = np.sqrt(power / noise_power) * 10.0 ** (-snr_db / 20.0)
    mixed: Samples = (samples + gain * noise).astype(np.float32)
    return mixed


def telephone(samples: Samples, sample_rate: int) -> Samples:
    """Passes 300 to 3,400 Hz at 8 kHz through the 8-bit mu-law codec (ITU-T G.711)."""
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
    """Cuts or zero-pads the samples, as resampling may round a few away."""
    fitting = np.zeros(length, np.float32)
    fitting[: len(samples)] = samples[:length]
    return fitting


def hum(
    samples: Samples,
    sample_rate: int,
    snr_db: float,
    generator: np.random.Generator,
    mains_hertz: float = 50.0,
) -> Samples:
    """Adds mains hum, and its third harmonic 10 dB below, `snr_db` below the samples' power."""
    time_seconds = np.arange(len(samples)) / sample_rate
    tones = [
        gain * np.sin(2.0 * np.pi * hertz * time_seconds + generator.uniform(0.0, 2.0 * np.pi))
        for hertz, gain in ((mains_hertz, 1.0), (3.0 * mains_hertz, 10.0**-0.5))
    ]
    return mix(samples, np.sum(tones, axis=0).astype(np.float32), snr_db)


def tilt(
    samples: Samples,
    sample_rate: int,
    db_per_octave: float,
    ripple_db: float,
    generator: np.random.Generator,
) -> Samples:
    """Simulates another microphone: a slope over the octaves and a smooth curve on it.

    Args:
        samples: [n].
        sample_rate: Hz.
        db_per_octave: the slope, with a gain of 0 dB at 1 kHz.
        ripple_db: standard deviation of the curve's gains, which are drawn an octave apart.
        generator: draws the curve.

    Returns:
        [n], without delay.
    """
    octave = np.log2(np.fft.rfftfreq(len(samples), 1.0 / sample_rate).clip(LOWEST_HZ) / 1_000.0)
    nodes = np.arange(math.floor(octave[0]), math.ceil(octave[-1]) + 1)
    ripple = CubicSpline(nodes, ripple_db * generator.standard_normal(len(nodes)))
    gain = 10.0 ** ((db_per_octave * octave + ripple(octave)) / 20.0)
    tilted: Samples = np.fft.irfft(np.fft.rfft(samples) * gain, len(samples)).astype(np.float32)
    return tilted


def low_pass(samples: Samples, sample_rate: int, hertz: float) -> Samples:
    """Removes what lies above `hertz`; does nothing if that is half the rate or more."""
    if hertz >= sample_rate / 2:
        return samples
    band = scipy.signal.butter(2 * _FILTER_ORDER, hertz, fs=sample_rate, output="sos")
    narrow: Samples = scipy.signal.sosfilt(band, samples).astype(np.float32)
    return narrow


def coded(samples: Samples, sample_rate: int, codec: Literal["mp3", "opus"]) -> Samples:
    """Encodes the samples at the low bit rate of a voice message, and decodes them.

    Args:
        samples: [n], full scale 1.
        sample_rate: Hz; the codec uses its next higher rate, or its highest.
        codec: Opus has 8, 12, 16, 24, 48 kHz, MP3 also 11.025, 22.05, 32, 44.1 kHz.

    Returns:
        [n], without the codec's delay.
    """
    rates = _CODEC_RATES[codec]
    rate = next((each for each in rates if each >= sample_rate), rates[-1])
    file = io.BytesIO()
    soundfile.write(file, soxr.resample(samples, sample_rate, rate), rate, **_CODECS[codec])
    file.seek(0)
    decoded, _ = soundfile.read(file, dtype="float32")
    return _of_length(soxr.resample(decoded, rate, sample_rate), len(samples))
