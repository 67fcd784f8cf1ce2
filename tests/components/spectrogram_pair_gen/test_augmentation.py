"""Rooms, noise and lines: what they do to a signal, measured on the signal."""

import io

import numpy as np
import pytest
import scipy.signal
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from components.settings import AugmentationSettings
from components.spectrogram_pair_gen.augmentation import (
    augment,
    coloured_noise,
    mix,
    reverberate,
    telephone,
)
from tests.bad_recordings import encoded, speech_like

RATE = 16_000
EVERYTHING = AugmentationSettings(
    reverberation_probability=1.0, noise_probability=1.0, telephone_probability=1.0
)


def generator(seed=0):
    return np.random.default_rng(seed)


def tone(hertz, seconds=1.0):
    return np.sin(2 * np.pi * hertz * np.arange(round(seconds * RATE)) / RATE).astype(np.float32)


def nobody():
    return None


def power_db(samples):
    return 10.0 * np.log10(np.mean(np.square(samples.astype(np.float64))))


def test_nothing_changes_by_default():
    speech = 20_000.0 * speech_like(0, RATE).astype(np.float32)
    assert augment(speech, RATE, AugmentationSettings(), nobody, generator()) is speech
    assert not AugmentationSettings().is_on


@settings(max_examples=30)
@given(seed=st.integers(0, 2**32), length=st.integers(800, 30_000), with_babble=st.booleans())
def test_any_window_keeps_its_length_and_peak_and_its_seed_decides(seed, length, with_babble):
    samples = (20_000 * generator(seed).standard_normal(length)).astype(np.float32)
    others = samples[::-1].copy() if with_babble else None
    one, again = (
        augment(samples, RATE, EVERYTHING, lambda: others, generator(seed)) for _ in range(2)
    )
    np.testing.assert_array_equal(one, again)
    assert one.shape == samples.shape and one.dtype == np.float32
    assert np.max(np.abs(one)) == pytest.approx(np.max(np.abs(samples)), rel=1e-4)
    assert not np.array_equal(one, samples)


def test_silence_stays_silence():
    silence = np.zeros(RATE, np.float32)
    assert not np.any(augment(silence, RATE, EVERYTHING, lambda: silence, generator()))


@pytest.mark.parametrize("snr_db", [0.0, 7.0, 20.0])
def test_noise_is_as_loud_as_asked(snr_db):
    speech, noise = tone(440), 30.0 * tone(3_000)
    added = mix(speech, noise, snr_db) - speech
    assert power_db(speech) - power_db(added) == pytest.approx(snr_db, abs=0.01)


@pytest.mark.parametrize("colour", [0.0, 1.0, 2.0])
def test_noise_falls_as_its_colour_says(colour):
    noise = coloured_noise(2**17, colour, generator())
    frequency, density = scipy.signal.welch(noise, RATE, nperseg=1024)
    band = (frequency > 200) & (frequency < 6_000)
    slope = np.polyfit(np.log(frequency[band]), np.log(density[band]), 1)[0]
    assert slope == pytest.approx(-colour, abs=0.15)


def test_a_rooms_answer_falls_by_60_db_in_the_time_asked():
    impulse = np.zeros(RATE, np.float32)
    impulse[0] = 1.0
    answer = reverberate(impulse, RATE, 0.5, generator())
    tail = answer[1:]
    # Schroeder's backward integral, between -5 and -35 dB, as rooms are measured.
    energy = np.cumsum(np.square(tail[: RATE // 2])[::-1])[::-1]
    level = 10.0 * np.log10(energy / energy[0])
    first, last = np.argmax(level < -5.0), np.argmax(level < -35.0)
    assert (last - first) / RATE * 2 == pytest.approx(0.5, rel=0.1)
    assert answer[0] == pytest.approx(1.0)
    assert np.sum(np.square(tail)) == pytest.approx(1.0, rel=1e-3)


def test_a_telephone_passes_its_band_only():
    passed = power_db(telephone(tone(1_000), RATE)[RATE // 4 : -RATE // 4])
    assert passed == pytest.approx(power_db(tone(1_000)), abs=0.5)
    for hertz in (60, 6_000):
        mixed = tone(1_000) + tone(hertz)
        spectrum = np.abs(np.fft.rfft(telephone(mixed, RATE)))
        assert 20 * np.log10(spectrum[hertz] / spectrum[1_000]) < -25.0


LINE_RATE = 8_000


def g711(samples):
    """What libsndfile's codec leaves of them."""
    return soundfile.read(io.BytesIO(encoded(samples, LINE_RATE, "WAV", "ULAW")))[0]


def distortion_db(coded, hertz):
    """The power of a tone above that of all that was added to it."""
    phase = 2 * np.pi * hertz * np.arange(len(coded)) / LINE_RATE
    waves = np.stack([np.sin(phase), np.cos(phase)], axis=1)
    heard = waves @ np.linalg.lstsq(waves, coded, rcond=None)[0]
    return power_db(heard) - power_db(coded - heard)


def test_a_telephone_has_as_many_levels_as_g711():
    rising = np.linspace(0.0, 1.0, 2**18)
    samples = (rising * np.sin(0.8225 * np.arange(2**18))).astype(np.float32)
    levels = len(np.unique(telephone(samples, LINE_RATE)))
    assert levels == len(np.unique(g711(samples))) == 255  # of 8 bits, 0 and -0 being one


@pytest.mark.parametrize("level_db", [0.0, -20.0, -40.0])
def test_a_telephone_distorts_the_quiet_as_little_as_g711_does(level_db):
    hertz, second = 1_047.2, LINE_RATE
    samples = np.sin(2 * np.pi * hertz * np.arange(2 * second) / LINE_RATE).astype(np.float32)
    samples[second:] *= 10.0 ** (level_db / 20.0)  # after a loud second that sets the peak
    ours, theirs = (
        distortion_db(codec[second + second // 4 :], hertz)
        for codec in (telephone(samples, LINE_RATE), g711(samples))
    )
    assert ours == pytest.approx(theirs, abs=2.0)
    assert 32.0 < ours < 40.0
