"""Rooms, noise, lines and codecs: what they do to a signal, measured on the signal."""

import io

import numpy as np
import pytest
import scipy.signal
import soundfile

from components.degradation import (
    coded,
    coloured_noise,
    hum,
    in_room,
    low_pass,
    mix,
    reverberate,
    telephone,
    tilt,
)
from tests.bad_recordings import encoded, speech_like

RATE = 16_000


def generator(seed=0):
    return np.random.default_rng(seed)


def tone(hertz, seconds=1.0):
    return np.sin(2 * np.pi * hertz * np.arange(round(seconds * RATE)) / RATE).astype(np.float32)


def power_db(samples):
    return 10.0 * np.log10(np.mean(np.square(samples.astype(np.float64))))


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


@pytest.mark.parametrize("direct", [0, 40, 799])
def test_a_recorded_room_convolves_without_delay_and_as_loud(direct):
    speech = speech_like(0, RATE).astype(np.float32)
    response = (generator().standard_normal(800) * 0.99 ** np.arange(800)).astype(np.float32)
    reverberant = in_room(speech, response, direct)
    expected = np.convolve(speech.astype(np.float64), response)[direct : direct + len(speech)]
    expected *= np.sqrt(np.mean(np.square(speech)) / np.mean(np.square(expected)))
    assert reverberant.dtype == np.float32
    np.testing.assert_allclose(reverberant, expected, atol=1e-4)
    assert power_db(reverberant) == pytest.approx(power_db(speech), abs=0.01)


def test_a_room_that_answers_nothing_leaves_the_sound_and_silence_stays():
    speech = speech_like(0, RATE).astype(np.float32)
    response = np.zeros(50, np.float32)
    response[30] = -0.2
    np.testing.assert_allclose(in_room(speech, response, 30), -speech, atol=1e-5)
    assert not np.any(in_room(np.zeros(RATE, np.float32), response, 30))


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


def test_hum_is_the_mains_and_as_loud_as_asked():
    speech = tone(1_000)
    added = hum(speech, RATE, 10.0, generator()) - speech
    assert power_db(speech) - power_db(added) == pytest.approx(10.0, abs=0.01)
    spectrum = np.abs(np.fft.rfft(added))
    assert sorted(np.argsort(spectrum)[-2:]) == [50, 150]
    assert 20 * np.log10(spectrum[50] / spectrum[150]) == pytest.approx(10.0, abs=0.1)


def test_hum_is_of_the_mains_asked_for():
    added = hum(tone(1_000), RATE, 10.0, generator(), mains_hertz=60.0) - tone(1_000)
    assert sorted(np.argsort(np.abs(np.fft.rfft(added)))[-2:]) == [60, 180]


@pytest.mark.parametrize("db_per_octave", [-6.0, 0.0, 6.0])
def test_a_tilt_is_a_slope_around_1_khz(db_per_octave):
    impulse = np.zeros(RATE, np.float32)
    impulse[RATE // 2] = 1.0
    answer = tilt(impulse, RATE, db_per_octave, 0.0, generator())
    gain_db = 20 * np.log10(np.abs(np.fft.rfft(answer)))
    for octave, hertz in enumerate((1_000, 2_000, 4_000, 8_000)):
        assert gain_db[hertz] == pytest.approx(octave * db_per_octave, abs=0.01)
    assert gain_db[125] == pytest.approx(-3 * db_per_octave, abs=0.01)
    assert gain_db[10] == gain_db[50]  # no rumble is raised without end


def test_the_curve_of_a_tilt_is_smooth_and_as_high_as_asked():
    impulse = np.zeros(RATE, np.float32)
    impulse[RATE // 2] = 1.0
    curves = [
        20 * np.log10(np.abs(np.fft.rfft(tilt(impulse, RATE, 0.0, 3.0, generator(seed)))))
        for seed in range(200)
    ]
    at_an_octave = [curve[2_000] for curve in curves]
    assert np.std(at_an_octave) == pytest.approx(3.0, rel=0.2)
    # From one hertz to the next above 200 Hz: hundredths of a decibel.
    assert max(np.max(np.abs(np.diff(curve[200:]))) for curve in curves) < 0.3


@pytest.mark.parametrize("hertz", [3_000.0, 7_000.0])
def test_a_low_pass_takes_away_what_lies_above(hertz):
    noise = coloured_noise(4 * RATE, 0.0, generator())
    frequency, density = scipy.signal.welch(low_pass(noise, RATE, hertz), RATE, nperseg=1024)
    kept = 10 * np.log10(density / scipy.signal.welch(noise, RATE, nperseg=1024)[1])
    assert np.abs(kept[(frequency > 100) & (frequency < 0.8 * hertz)]).max() < 0.5
    assert kept[(frequency > 1.3 * hertz) & (frequency < 7_900)].max(initial=-99.0) < -18.0


def test_a_low_pass_above_all_that_is_there_changes_nothing():
    assert low_pass(samples := tone(440), 8_000, 4_000.0) is samples


@pytest.mark.parametrize("codec", ["mp3", "opus"])
@pytest.mark.parametrize("rate", [8_000, 16_000, 22_050, 24_000])
def test_a_codec_loses_a_little_and_moves_nothing(codec, rate):
    speech = 0.5 * speech_like(0, 2 * rate).astype(np.float32)
    heard = coded(speech, rate, codec)
    assert heard.shape == speech.shape and heard.dtype == np.float32
    assert 0.9 < np.corrcoef(speech, heard)[0, 1] < 0.99999
