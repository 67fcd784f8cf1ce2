"""Speech and its level: the article's rule against pydub, the adaptive one against made pauses."""

import itertools
import warnings
from collections.abc import Callable

import numpy as np
import pytest
import soundfile
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from components.frontend import to_pcm16
from components.speech_detection import AdaptiveDetector, ArticleDetector

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # pydub looks for an ffmpeg that it does not need here
    from pydub import AudioSegment
    from pydub.silence import split_on_silence


def pydub_speech(pcm16, rate, threshold_dbfs, min_silence_ms, keep_silence_ms):
    segment = AudioSegment(pcm16.tobytes(), frame_rate=rate, sample_width=2, channels=1)
    chunks = split_on_silence(segment, min_silence_ms, threshold_dbfs, keep_silence_ms)
    joined = [np.array(chunk.get_array_of_samples(), np.int16) for chunk in chunks]
    return np.concatenate([np.zeros(0, np.int16), *joined])


def kept_by(detector, pcm16):
    """The samples that a detector keeps of 16-bit samples as they are."""
    rate = detector.sample_rate
    padded = np.pad(pcm16, (0, -len(pcm16) % rate))
    energy = detector.millisecond_energy(padded.reshape(-1, rate))
    speech = detector.detect(energy, tf.constant(len(pcm16), tf.int64), tf.constant(1.0))
    parts = [padded[start:end] for start, end in speech.ranges.numpy()]
    return np.concatenate([np.zeros(0, np.int16), *parts])


def bursts(rng, rate, seconds):
    """Noise that switches between loud, faint and nothing at random moments."""
    samples = int(rate * seconds)
    signal = rng.normal(size=samples)
    borders = np.sort(rng.integers(0, samples, size=rng.integers(0, 12)))
    for start, end in itertools.pairwise([0, *borders, samples]):
        signal[start:end] *= rng.choice([0.0, 0.003, 0.03, 0.05, 1.0])
    peak = max(np.max(np.abs(signal)), 1e-9)
    return (signal / peak * 32767).astype(np.int16)


@pytest.mark.parametrize("rate", [8_000, 11_025, 16_000, 22_050, 44_100])
def test_silence_removal_keeps_pydubs_samples_on_random_signals(rate):
    detector = ArticleDetector(rate, -30.0, 400, 100)
    rng = np.random.default_rng(rate)
    for _ in range(40):
        pcm16 = bursts(rng, rate, rng.uniform(0.01, 4.0))
        np.testing.assert_array_equal(
            kept_by(detector, pcm16), pydub_speech(pcm16, rate, -30.0, 400, 100)
        )


@settings(max_examples=60)
@given(
    seed=st.integers(0, 2**32 - 1),
    threshold_dbfs=st.floats(-60.0, -5.0),
    min_silence_ms=st.integers(1, 700),
    keep_silence_ms=st.integers(0, 500),
)
def test_silence_removal_follows_pydub_for_any_settings(
    seed, threshold_dbfs, min_silence_ms, keep_silence_ms
):
    pcm16 = bursts(np.random.default_rng(seed), 8_000, 2.0)
    rule = (threshold_dbfs, min_silence_ms, keep_silence_ms)
    detector = ArticleDetector(8_000, *rule)
    np.testing.assert_array_equal(kept_by(detector, pcm16), pydub_speech(pcm16, 8_000, *rule))


def test_silence_removal_keeps_pydubs_samples_on_real_speech(shared_speech):
    clips = sorted((shared_speech / "hyke").glob("*/*.flac"))[::40]
    assert len(clips) >= 5
    detector = ArticleDetector(8_000, -30.0, 400, 100)
    for clip in clips:
        waveform, rate = soundfile.read(clip, dtype="float32")
        assert rate == 8_000
        pcm16 = to_pcm16(waveform, np.max(np.abs(waveform))).numpy()
        kept, is_silent = detector(waveform)
        assert not is_silent
        assert 0 < len(kept) < len(pcm16)
        np.testing.assert_array_equal(kept, pydub_speech(pcm16, rate, -30.0, 400, 100))


def test_energy_may_be_summed_minute_by_minute():
    detector = ArticleDetector(22_050, -30.0, 400, 100)
    seconds = np.random.default_rng(0).integers(-32768, 32767, (7, 22_050)).astype(np.int16)
    whole = detector.millisecond_energy(seconds).numpy()
    parts = [detector.millisecond_energy(part).numpy() for part in (seconds[:3], seconds[3:])]
    np.testing.assert_array_equal(whole, np.concatenate(parts))
    assert whole.sum() == np.sum(seconds.astype(np.int64) ** 2)


RATE = 16_000
PAUSE_SECONDS = 1.0
CALL: dict[str, Callable[[np.ndarray], tuple[tf.Tensor, tf.Tensor]]] = {}


def heard(waveform):
    """What the adaptive detector keeps: samples from -1 to 1, and whether nothing is heard."""
    if not CALL:
        detector = AdaptiveDetector(RATE, 400, 80)
        CALL["call"] = tf.function(detector.call, [tf.TensorSpec([None], tf.float32)])
    kept, is_silent = CALL["call"](waveform.astype(np.float32))
    return kept.numpy() / 32767.0, bool(is_silent)


@pytest.fixture(scope="module")
def talk(shared_speech):
    """Speech without pauses, in stretches with a second of a quiet room behind each; its mask."""
    rng = np.random.default_rng(0)
    clips = sorted((shared_speech / "librispeech").glob("*/*.flac"))[:6]
    parts, spoken = [], []
    for clip in clips:
        waveform, rate = soundfile.read(clip, dtype="float32", frames=20 * RATE)
        assert rate == RATE
        speech, _ = heard(waveform)
        for start in range(0, len(speech) - 2 * RATE, 3 * RATE):
            stretch = speech[start : start + 3 * RATE]
            parts += [stretch, np.zeros(round(PAUSE_SECONDS * RATE))]
            spoken += [np.ones(len(stretch), bool), np.zeros(round(PAUSE_SECONDS * RATE), bool)]
    waveform = 0.15 * np.concatenate(parts)
    return waveform + 3e-5 * rng.standard_normal(len(waveform)), np.concatenate(spoken)


def shares(talk, waveform):
    """How much of the speech and how much of the pauses is kept."""
    _, spoken = talk
    detector = AdaptiveDetector(RATE, 400, 80)
    filtered = detector.filter_blocks(detector._with_context(waveform.astype(np.float32)))
    samples = len(waveform)
    filtered = filtered.numpy()[:samples]
    padded = np.pad(filtered, (0, -samples % RATE)).reshape(-1, RATE)
    peak = np.float32(np.max(np.abs(filtered)))
    measured = to_pcm16(padded, detector.measured_full_scale(peak))
    energy = detector.millisecond_energy(measured)
    ranges = detector.detect(energy, tf.constant(samples, tf.int64), peak).ranges.numpy()
    kept = np.zeros(samples, bool)
    for start, end in ranges:
        kept[start:end] = True
    return kept[spoken].mean(), kept[~spoken].mean()


def with_noise(talk, snr_db):
    waveform, spoken = talk
    rms = np.sqrt(np.mean(waveform[spoken] ** 2))
    noise = np.random.default_rng(1).standard_normal(len(waveform))
    return waveform + rms * 10 ** (-snr_db / 20) * noise


def with_click(talk, samples):
    waveform = talk[0].copy()
    waveform[len(waveform) // 3 :][:samples] += 1.0
    return waveform


def with_tone(talk, hertz, level):
    return talk[0] + level * np.sin(2 * np.pi * hertz * np.arange(len(talk[0])) / RATE)


def with_slam(talk):
    """A door, 0.3 s, louder than the speech."""
    waveform = talk[0].copy()
    seconds = np.arange(RATE * 3 // 10) / RATE
    noise = np.random.default_rng(2).standard_normal(len(seconds))
    waveform[5 * RATE :][: len(seconds)] += 0.8 * noise * np.exp(-seconds / 0.08)
    return waveform


CHANGES = {
    "nothing": lambda talk: talk[0],
    "a click": lambda talk: with_click(talk, 1),
    "a plop of 50 ms": lambda talk: with_click(talk, 800),
    "a constant voltage": lambda talk: talk[0] + 0.05,
    "hum of 50 Hz": lambda talk: with_tone(talk, 50, 0.05),
    "hum of 60 Hz": lambda talk: with_tone(talk, 60, 0.05),
    "a voltage that wanders": lambda talk: with_tone(talk, 0.3, 0.1),
    "a voltage from the middle on": lambda talk: (
        talk[0] + 0.1 * (np.arange(len(talk[0])) > len(talk[0]) / 2)
    ),
    "a door that slams": with_slam,
    "a click at its end": lambda talk: np.append(talk[0][:-1], 1.0),
    "packets that were lost": lambda talk: np.where(
        np.arange(len(talk[0])) // 320 % 25, talk[0], 0.0
    ),
    "eight bits": lambda talk: np.rint(128 * talk[0]) / 128,
    "-40 dBFS": lambda talk: np.rint(talk[0] / 0.15 * 327) / 32768,
}


@pytest.mark.parametrize("change", CHANGES)
def test_speech_is_kept_and_pauses_go_whatever_happened_to_the_recording(talk, change):
    clean = shares(talk, talk[0])
    assert clean[0] > 0.97 and clean[1] < 0.1
    speech, pauses = shares(talk, CHANGES[change](talk).astype(np.float32))
    assert speech == pytest.approx(clean[0], abs=0.02)
    assert pauses == pytest.approx(clean[1], abs=0.02)


@pytest.mark.parametrize("snr_db", [20.0, 10.0, 5.0])
def test_noise_hides_few_words_and_no_pauses(talk, snr_db):
    speech, pauses = shares(talk, with_noise(talk, snr_db))
    assert speech >= 0.9
    assert pauses <= 0.1


def test_what_was_cleaned_stays_as_it_is(talk):
    once, _ = heard(talk[0])
    twice, _ = heard(once)
    assert len(twice) > 0.97 * len(once)
    assert np.sqrt(np.mean(twice**2)) == pytest.approx(np.sqrt(np.mean(once**2)), rel=0.05)


def test_level_is_the_speechs_and_not_the_clicks(talk):
    clean, _ = heard(talk[0])
    clicked, _ = heard(with_click(talk, 1))
    assert np.std(clicked) == pytest.approx(np.std(clean), rel=0.05)
    assert np.mean(np.abs(clean) >= 1.0) < 1e-3


@pytest.mark.parametrize("seconds", [0.0, 0.001, 0.1, 3.0])
def test_rounding_noise_is_silence(seconds):
    rng = np.random.default_rng(0)
    noise = rng.integers(-2, 3, round(seconds * RATE)) / 32768
    kept, is_silent = heard(noise)
    assert is_silent and not len(kept)


def test_steady_noise_is_heard_and_is_no_speech():
    kept, is_silent = heard(0.1 * np.random.default_rng(0).standard_normal(5 * RATE))
    assert not is_silent and not len(kept)


@pytest.mark.parametrize(
    "layer", [ArticleDetector(16_000, -30.0, 400, 100), AdaptiveDetector(16_000, 400, 80)]
)
def test_detectors_round_trip_through_their_config(layer):
    again = type(layer).from_config(layer.get_config())
    assert again.get_config() == layer.get_config()
