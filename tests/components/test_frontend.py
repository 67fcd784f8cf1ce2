"""The front end against its oracles: pydub for silence, librosa for log-mel."""

import itertools
import warnings

import librosa
import numpy as np
import pytest
import soundfile
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from components import frontend
from components.pcm16 import at_peak

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # pydub looks for an ffmpeg that it does not need here
    from pydub import AudioSegment
    from pydub.silence import split_on_silence


def pydub_speech(pcm16, rate, threshold_dbfs, min_silence_ms, keep_silence_ms):
    segment = AudioSegment(pcm16.tobytes(), frame_rate=rate, sample_width=2, channels=1)
    chunks = split_on_silence(segment, min_silence_ms, threshold_dbfs, keep_silence_ms)
    joined = [np.array(chunk.get_array_of_samples(), np.int16) for chunk in chunks]
    return np.concatenate([np.zeros(0, np.int16), *joined])


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
    detector = frontend.SilenceDetector(rate, -30.0, 400, 100)
    call = tf.function(detector.call, input_signature=[tf.TensorSpec([None], tf.int16)])
    rng = np.random.default_rng(rate)
    for _ in range(40):
        pcm16 = bursts(rng, rate, rng.uniform(0.01, 4.0))
        np.testing.assert_array_equal(
            call(pcm16).numpy(), pydub_speech(pcm16, rate, -30.0, 400, 100)
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
    told = (threshold_dbfs, min_silence_ms, keep_silence_ms)
    detector = frontend.SilenceDetector(8_000, *told)
    np.testing.assert_array_equal(detector(pcm16).numpy(), pydub_speech(pcm16, 8_000, *told))


def test_silence_removal_keeps_pydubs_samples_on_real_speech(shared_speech):
    clips = sorted((shared_speech / "hyke").glob("*/*.flac"))[::40]
    assert len(clips) >= 5
    detector = frontend.SilenceDetector(8_000, -30.0, 400, 100)
    for clip in clips:
        waveform, rate = soundfile.read(clip, dtype="float32")
        assert rate == 8_000
        pcm16 = frontend.to_pcm16(waveform, np.max(np.abs(waveform))).numpy()
        kept = detector(pcm16).numpy()
        assert 0 < len(kept) < len(pcm16)
        np.testing.assert_array_equal(kept, pydub_speech(pcm16, rate, -30.0, 400, 100))


def test_energy_may_be_summed_minute_by_minute():
    detector = frontend.SilenceDetector(22_050, -30.0, 400, 100)
    seconds = np.random.default_rng(0).integers(-32768, 32767, (7, 22_050)).astype(np.int16)
    whole = detector.millisecond_energy(seconds).numpy()
    parts = [detector.millisecond_energy(part).numpy() for part in (seconds[:3], seconds[3:])]
    np.testing.assert_array_equal(whole, np.concatenate(parts))
    assert whole.sum() == np.sum(seconds.astype(np.int64) ** 2)


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
        frontend.SilenceDetector(16_000, -30.0, 400, 100),
        frontend.LogMelSpectrogram(16_000, 512, 256, 64, 80.0),
        frontend.Quantise(60.0),
    ],
)
def test_layers_round_trip_through_their_config(layer):
    again = type(layer).from_config(layer.get_config())
    assert again.get_config() == layer.get_config()


@given(st.integers(0, 2**32 - 1), st.floats(1e-6, 3.0))
def test_clients_normalise_as_the_front_end_does(seed, peak):
    samples = np.random.default_rng(seed).uniform(-peak, peak, 500).astype(np.float32)
    expected = frontend.to_pcm16(tf.constant(samples), tf.reduce_max(tf.abs(samples))).numpy()
    np.testing.assert_array_equal(at_peak(samples), expected)


def test_silence_has_no_peak():
    np.testing.assert_array_equal(at_peak(np.zeros(3, np.float32)), np.zeros(3, np.int16))
    assert at_peak(np.zeros(0, np.float32)).size == 0
