"""The spectrogram against its oracle, librosa, and what brings samples to it."""

import librosa
import numpy as np
import pytest
import tensorflow as tf

from components import frontend


@pytest.mark.parametrize(
    ("rate", "n_fft", "hop", "mels", "seconds"),
    [(16_000, 512, 256, 64, 1.52), (22_050, 512, 512, 64, 5.0), (8_000, 400, 160, 40, 2.0)],
)
def test_log_mel_equals_librosa(rate, n_fft, hop, mels, seconds):
    rng = np.random.default_rng(0)
    time = np.arange(int(rate * seconds)) / rate
    tone = np.sin(2 * np.pi * 200 * time) * np.sin(2 * np.pi * 3 * time)
    windows = np.stack([rng.normal(size=len(time)) * 0.1, tone + 1e-2 * rng.normal(size=len(time))])
    ours = frontend.LogMelSpectrogram(rate, n_fft, hop, mels, 80.0)(
        tf.constant(windows, tf.float32)
    ).numpy()
    for window, spectrogram in zip(windows.astype(np.float32), ours, strict=True):
        power = librosa.feature.melspectrogram(
            y=window, sr=rate, n_fft=n_fft, hop_length=hop, n_mels=mels
        )
        theirs = librosa.power_to_db(power, ref=np.max, top_db=80.0)
        assert spectrogram.shape == theirs.shape
        audible = theirs > -75.0
        assert audible.mean() > 0.5
        assert np.max(np.abs(spectrogram - theirs)[audible]) < 0.05


def test_quantisation_spans_the_range_and_rounds():
    decibels = tf.constant([-80.0, -79.9, -40.0, -0.2, 0.0])
    np.testing.assert_array_equal(frontend.Quantise(80.0)(decibels), [0, 0, 128, 254, 255])


def test_to_pcm16_truncates_towards_zero():
    waveform = tf.constant([0.5, -0.5, 0.25, -0.1])
    np.testing.assert_array_equal(
        frontend.to_pcm16(waveform, tf.constant(0.5)), [32767, -32767, 16383, -6553]
    )


def test_level_of_a_full_scale_sine_is_minus_3_dbfs():
    sine = (32767 * np.sin(2 * np.pi * np.arange(16_000) / 16)).astype(np.int16)
    assert frontend.rms_dbfs(sine) == pytest.approx(-3.01, abs=0.01)
    assert frontend.rms_dbfs(np.zeros(4, np.int16)) == -np.inf


@pytest.mark.parametrize(
    "layer",
    [
        frontend.LogMelSpectrogram(16_000, 512, 256, 64, 80.0),
        frontend.Quantise(60.0),
    ],
)
def test_layers_round_trip_through_their_config(layer):
    again = type(layer).from_config(layer.get_config())
    assert again.get_config() == layer.get_config()
