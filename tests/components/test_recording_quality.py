import numpy as np
import pytest
import soxr

from components.degradation import coded, coloured_noise, low_pass, mix, telephone
from components.pcm16 import to_pcm16
from components.recording_quality import (
    LEAST_SAMPLE_RATE,
    LOWEST_HZ,
    MOST_SNR_DB,
    RecordingQuality,
    quality_of,
)

RATE = 16_000
SPOKEN, PAUSE = 0.6, 0.3  # seconds


def _speech(seconds: float = 9.0, rate: int = RATE, seed: int = 0) -> np.ndarray:
    """float32 [samples]: bursts of noise, most of it below 1 kHz, with silence between them.

    Like speech it is the more seldom the louder.
    """
    generator = np.random.default_rng(seed)
    size = round(seconds * rate)
    low = low_pass(generator.normal(size=size).astype(np.float32), rate, 1_000.0)
    noise = low + 0.01 * generator.normal(size=size)
    loudness = np.repeat(generator.gamma(2.0, size=size // 100 + 1), 100)[:size]
    is_spoken = np.arange(size) / rate % (SPOKEN + PAUSE) < SPOKEN
    return (0.02 * noise * loudness * is_spoken).astype(np.float32)


def _quality(samples: np.ndarray, rate: int = RATE) -> RecordingQuality:
    return quality_of(to_pcm16(samples), rate)


def _voice_band(samples: np.ndarray) -> np.ndarray:
    """Without what lies below LOWEST_HZ."""
    spectrum = np.fft.rfft(samples)
    spectrum[np.fft.rfftfreq(len(samples), 1.0 / RATE) < LOWEST_HZ] = 0.0
    return np.fft.irfft(spectrum, len(samples))


@pytest.mark.parametrize("colour", [0.0, 1.0])
@pytest.mark.parametrize("snr_db", [40.0, 25.0, 12.0])
def test_the_snr_is_that_of_the_mixture(snr_db: float, colour: float) -> None:
    speech = _speech()
    noisy = mix(speech, coloured_noise(len(speech), colour, np.random.default_rng(1)), snr_db)
    spoken, noise = _voice_band(speech)[speech != 0.0], _voice_band(noisy - speech)
    true_snr_db = 10.0 * np.log10(np.mean(np.square(spoken)) / np.mean(np.square(noise)))
    assert _quality(noisy).snr_db == pytest.approx(true_snr_db, abs=1.5)


def test_the_snr_falls_with_every_further_decibel_of_noise() -> None:
    speech = _speech()
    noise = coloured_noise(len(speech), 1.0, np.random.default_rng(1))
    measured = [_quality(mix(speech, noise, snr_db)).snr_db for snr_db in range(50, -10, -5)]
    assert measured == sorted(measured, reverse=True)
    assert measured[-1] < 8.0


def test_a_recording_without_noise_has_the_highest_snr_and_all_frequencies() -> None:
    for gain in (0.05, 1.0, 5.0):
        quality = _quality(gain * _speech())
        assert quality.snr_db == MOST_SNR_DB
        assert quality.bandwidth_hz == RATE / 2


def test_rumble_and_a_constant_voltage_are_no_noise() -> None:
    speech = _speech()
    rumble = 0.02 * np.sin(2.0 * np.pi * 25.0 * np.arange(len(speech)) / RATE) + 0.2
    quality = _quality((speech + rumble).astype(np.float32))
    assert quality.snr_db > 35.0
    assert quality.clipped_fraction == 0.0


@pytest.mark.parametrize("rate", [8_000, 16_000, 44_100])
@pytest.mark.parametrize("edge_hz", [2_000.0, 3_400.0, 6_000.0, 12_000.0])
def test_the_bandwidth_is_the_filters(edge_hz: float, rate: int) -> None:
    passed = min(edge_hz, rate / 2)
    quality = _quality(low_pass(_speech(rate=rate), rate, passed), rate)
    # The filter falls by 48 dB an octave: what it leaves is audible for another one.
    assert passed * 0.97 <= quality.bandwidth_hz <= min(2.3 * passed, rate / 2)


def test_a_telephone_line_is_narrow_whatever_is_said_over_it() -> None:
    speech = _speech()
    noisy = mix(speech, coloured_noise(len(speech), 1.0, np.random.default_rng(1)), 10.0)
    for samples in (speech, noisy, np.float32(0.1) * speech):
        assert 3_400 <= _quality(telephone(samples, RATE)).bandwidth_hz <= 4_000


@pytest.mark.parametrize("share", [0.005, 0.02, 0.1])
@pytest.mark.parametrize("path", ["as it is", "resampled", "one side"])
def test_the_clipped_share_is_what_was_clipped(share: float, path: str) -> None:
    speech = _speech(rate=44_100)
    level = np.quantile(np.abs(speech), 1.0 - share)
    low = -1.0 if path == "one side" else -level
    clipped = np.clip(speech, low, level)
    true_share = np.mean((speech >= level) | (speech <= low))
    if path == "resampled":
        clipped, rate = soxr.resample(clipped, 44_100, RATE), RATE
    else:
        rate = 44_100
    for gain in (1.0, 0.4):  # clipped before it was made quieter
        peak = np.max(np.abs(clipped))
        quality = _quality((gain / peak * clipped).astype(np.float32), rate)
        tolerance = 0.2 if path == "resampled" else 0.12
        assert quality.clipped_fraction == pytest.approx(true_share, rel=tolerance)


def test_what_is_not_clipped_is_not_called_so() -> None:
    speech = _speech()
    offset = (0.3 + speech).astype(np.float32)  # a constant voltage
    loud = (speech / np.max(np.abs(speech))).astype(np.float32)
    for samples in (speech, offset, loud, coded(loud, RATE, "mp3"), coded(loud, RATE, "opus")):
        assert _quality(samples).clipped_fraction == 0.0


@pytest.mark.parametrize("samples", [0, 1, 400, RATE])
def test_silence_and_nothing_have_no_quality(samples: int) -> None:
    nothing = quality_of(np.zeros(samples, np.int16), RATE, 0.0)
    assert nothing == RecordingQuality(0.0, 0.0, 0.0, 0.0)
    noise = np.random.default_rng(samples).integers(-(2**15), 2**15, samples).astype(np.int16)
    for rate in (LEAST_SAMPLE_RATE, 96_000):
        quality = quality_of(noise, rate)
        assert 0.0 <= quality.bandwidth_hz <= rate / 2
        assert 0.0 <= quality.clipped_fraction <= 1.0
        assert np.isfinite(quality.snr_db)


def test_steady_noise_has_no_speech_above_it() -> None:
    noise = coloured_noise(5 * RATE, 0.0, np.random.default_rng(0))
    assert _quality(0.1 * noise).snr_db == 0.0
