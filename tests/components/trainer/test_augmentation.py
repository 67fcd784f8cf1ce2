"""What is drawn on the device does to spectrograms what `components.degradation` does to sound."""

import numpy as np
import pytest
import tensorflow as tf

from components import degradation, frontend
from components.settings import LINES_AND_NOISE, AugmentationSettings, SpectrogramSettings
from components.trainer import augmentation
from components.trainer.augmentation import BatchAugmentation
from tests.bad_recordings import speech_like

RATE = 16_000
SPECTROGRAM = SpectrogramSettings()
DB_OF_A_STEP = SPECTROGRAM.top_db / 255.0


SETTINGS = {
    "reverberation": {"reverberation_seconds": (0.4, 0.4)},
    "noise": {"noise_snr_db": (10.0, 10.0)},
    "hum": {"hum_snr_db": (10.0, 10.0)},
    "tilt": {"tilt_db_per_octave": (4.0, 4.0)},
    "narrow_band": {"narrow_band_hertz": (4_000.0, 4_000.0)},
    "telephone": {},
}
# What the same does to sound; draws differ, what they are drawn from does not.
DEGRADED = {
    "reverberation": lambda sound, draw: degradation.reverberate(sound, RATE, 0.4, draw),
    "noise": lambda sound, draw: degradation.mix(
        sound, degradation.coloured_noise(len(sound), 0.0, draw), 10.0
    ),
    "hum": lambda sound, draw: degradation.hum(sound, RATE, 10.0, draw),
    "tilt": lambda sound, draw: degradation.tilt(sound, RATE, 4.0, 0.0, draw),
    "narrow_band": lambda sound, _draw: degradation.low_pass(sound, RATE, 4_000.0),
    "telephone": lambda sound, _draw: degradation.telephone(sound, RATE),
}


def spectrograms(waveforms):
    log_mel = frontend.LogMelSpectrogram.of(RATE, SPECTROGRAM)
    quantise = frontend.Quantise(SPECTROGRAM.top_db)
    return quantise(log_mel(tf.constant(np.stack(waveforms), tf.float32))).numpy()


def sounds():
    """Speech with pauses over a background that falls with frequency, as recordings have."""
    samples = SPECTROGRAM.window_samples(RATE)
    is_spoken = np.arange(samples) % (RATE // 2) < RATE // 4
    windows = []
    for seed in range(8):
        speech = (is_spoken * speech_like(seed, RATE)[:samples]).astype(np.float32)
        hiss = degradation.coloured_noise(samples, 1.0, np.random.default_rng(seed))
        windows.append(degradation.mix(speech, hiss, 40.0))
    return windows


def augmenting(**settings):
    return BatchAugmentation(AugmentationSettings(**settings), SPECTROGRAM, RATE)


@pytest.mark.parametrize("change", SETTINGS)
def test_a_change_of_a_spectrogram_is_that_of_its_sound(change, monkeypatch):
    # One colour, no babble, a straight slope: what the sound is given too.
    monkeypatch.setattr(augmentation, "NOISE_COLOURS", (0.0,))
    monkeypatch.setattr(augmentation, "MAINS_HERTZ", (50.0,))
    monkeypatch.setattr(augmentation, "RIPPLE_DB", 0.0)
    monkeypatch.setattr(augmentation, "_BABBLE_SHARE", 0.0)
    augment = augmenting(**{f"{change}_probability": 1.0}, **SETTINGS[change])
    clean, draw = sounds(), np.random.default_rng(5)
    expected = spectrograms([DEGRADED[change](sound, draw) for sound in clean]).astype(float)
    before = spectrograms(clean)
    after = augment(tf.constant(before), tf.constant(7)).numpy().astype(float)
    apart = np.abs(after.mean(axis=(0, 2)) - expected.mean(axis=(0, 2))).mean() * DB_OF_A_STEP
    changed = np.abs(before.mean(axis=(0, 2)) - expected.mean(axis=(0, 2))).mean() * DB_OF_A_STEP
    assert apart < min(0.5 + 0.15 * changed, 0.7 * changed), (apart, changed)
    assert after.std() == pytest.approx(expected.std(), rel=0.1)


def test_babble_is_the_speech_of_the_other_pairs():
    window = spectrograms(sounds()[:1])[0]
    batch = np.zeros((8, *window.shape), np.uint8)
    batch[:, 0, 0] = 255  # somebody who is next to silent
    batch[4:6] = window
    augment = augmenting(noise_probability=1.0, noise_snr_db=(0.0, 0.0))
    for seed in range(20):
        after = augment(tf.constant(batch), tf.constant(seed)).numpy()
        spoken = [np.corrcoef(one.ravel(), window.ravel())[0, 1] > 0.9 for one in after]
        if any(spoken[:4] + spoken[6:]):
            return
    raise AssertionError("nobody heard the two who speak")


def test_the_same_seed_draws_the_same_and_another_another():
    augment = BatchAugmentation(LINES_AND_NOISE, SPECTROGRAM, RATE)
    windows = tf.constant(spectrograms(sounds()))
    one, again, other = (augment(windows, tf.constant(seed)).numpy() for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, again)
    assert np.any(one != other)
    assert one.dtype == np.uint8 and one.shape == windows.shape
    assert np.all(one.max(axis=(1, 2)) == 255)


def test_nothing_happens_where_nothing_is_probable():
    windows = spectrograms(sounds())
    after = augmenting()(tf.constant(windows), tf.constant(1)).numpy()
    np.testing.assert_allclose(after.astype(int), windows.astype(int), atol=1)


def test_windows_of_any_length_and_silence_pass():
    augment = tf.function(
        BatchAugmentation(LINES_AND_NOISE, SPECTROGRAM, RATE),
        input_signature=[tf.TensorSpec([None, 64, None], tf.uint8), tf.TensorSpec([], tf.int64)],
    )
    for frames in (40, 96):
        after = augment(tf.zeros((6, 64, frames), tf.uint8), tf.constant(3, tf.int64)).numpy()
        assert after.shape == (6, 64, frames)
