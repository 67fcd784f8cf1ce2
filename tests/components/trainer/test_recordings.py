"""The front end within the graph: the same bytes as Beam's, and a status for everything."""

import functools

import numpy as np
import pytest
import soundfile
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from components import audio, features, spectrogram_image
from components.settings import ServingSettings, SpectrogramSettings, SpeechSettings
from components.spectrogram_pair_gen.sampling import Placement, Voice
from components.spectrogram_pair_gen.windows import WindowCutter
from components.speech_example_gen.cleaning import Cleaner
from components.speech_example_gen.sources import Recording
from components.trainer import recordings
from components.trainer.recordings import FrontEnd, Recordings, window_starts
from pipeline.sample_speech import write_sample_speech
from tests.bad_recordings import encoded, speech_like

RATE = 16_000
FRONT_END = FrontEnd(
    SpeechSettings(), SpectrogramSettings(), ServingSettings(max_seconds=20.0, max_windows=6)
)


@functools.cache
def graph(front_end):
    spec = tf.TensorSpec([None], tf.string)
    return tf.function(Recordings(front_end).hear, input_signature=[spec])


def hear(wavs, front_end=FRONT_END):
    heard = graph(front_end)(tf.constant(wavs))
    return [row.numpy() for row in heard.windows], heard.speech_seconds.numpy(), heard.status


def as_wav(samples, subtype="PCM_16"):
    return encoded(samples, RATE, subtype=subtype)


def through_beam(path, folder, front_end):
    """The windows that the data components make of a recording, where the graph cuts them."""
    rate = front_end.speech.sample_rate
    told = Recording(str(path), "s", "unknown", "r", None, None, 0, None)
    with Cleaner(front_end.speech).clean(told) as cleaned:
        pcm16 = cleaned.read(0, cleaned.speech_samples)
    example = features.example(
        {
            features.PCM16: pcm16.astype("<i2").tobytes(),
            features.SPEAKER: b"s",
            features.GENDER: b"unknown",
            features.RECORDING: b"r",
            features.PIECE: 0,
            features.START_SECONDS: 0.0,
        }
    )
    file = str(folder / "speech.tfrecord")
    with tf.io.TFRecordWriter(file) as writer:
        writer.write(example.SerializeToString())
    starts = window_starts(
        tf.constant(len(pcm16), tf.int64),
        front_end.spectrogram.window_samples(rate),
        front_end.serving.max_windows,
    ).numpy()
    placements = [
        Placement(f"{i:04d}", 1, "a", Voice("s"), "r", 0, int(at)) for i, at in enumerate(starts)
    ]
    windows = WindowCutter(rate, front_end.spectrogram).cut(file, placements)
    made = [spectrogram_image.decode(window.spectrogram) for window in windows]
    return np.stack(made), len(pcm16) / rate


def check_same(paths, wavs, folder, front_end):
    """At least 99.99 % of the bytes are the same, none is off by more than 1."""
    windows, seconds, status = hear(wavs, front_end)
    assert set(status.numpy()) == {b"ok"}
    differences = []
    for path, served, speech_seconds in zip(paths, windows, seconds, strict=True):
        trained, trained_seconds = through_beam(path, folder, front_end)
        assert served.shape == trained.shape
        assert speech_seconds == pytest.approx(trained_seconds, abs=1e-4)
        differences.append(np.abs(served.astype(np.int16) - trained).ravel())
    off = np.concatenate(differences)
    assert off.max() <= 1
    assert np.mean(off == 0) >= 0.9999


def test_training_and_serving_see_the_same_bytes(tmp_path):
    write_sample_speech(tmp_path / "data", speakers=2, seconds=8.0)
    wavs = []
    for speaker in sorted(path for path in (tmp_path / "data").iterdir() if path.is_dir()):
        takes = [audio.decode(path, sample_rate=RATE) for path in sorted(speaker.iterdir())]
        wavs.append(as_wav(np.concatenate(takes)))
    rng = np.random.default_rng(0)
    pauses = np.concatenate([speech_like(1, RATE, 2.2), np.zeros(RATE), speech_like(2, RATE, 1.7)])
    stereo = np.stack([speech_like(3, RATE, 3.0), 0.3 * speech_like(4, RATE, 3.0)], axis=1)
    faint = 0.01 * speech_like(5, RATE, 30.0) + 1e-4 * rng.standard_normal(30 * RATE)
    wavs += [as_wav(samples) for samples in (pauses, stereo, faint)]
    paths = [tmp_path / f"{number}.wav" for number in range(len(wavs))]
    for path, wav in zip(paths, wavs, strict=True):
        path.write_bytes(wav)
    front_end = FrontEnd(SpeechSettings(), SpectrogramSettings(), ServingSettings(max_windows=12))
    check_same(paths, wavs, tmp_path, front_end)


def test_training_and_serving_see_the_same_bytes_of_real_speech(shared_speech, tmp_path):
    clips = sorted((shared_speech / "hyke").glob("*/*.flac"))[::60]
    assert len(clips) >= 5
    front_end = FrontEnd(
        SpeechSettings(sample_rate=8_000), SpectrogramSettings(n_fft=256), ServingSettings()
    )
    wavs = []
    for clip in clips:
        samples, rate = soundfile.read(clip, dtype="int16")
        assert rate == 8_000
        wavs.append(encoded(samples, rate, subtype="PCM_16"))
    check_same(clips, wavs, tmp_path, front_end)


SPEECH = speech_like(0, RATE, 5.0)


@pytest.mark.parametrize(
    ("wav", "status", "seconds"),
    [
        pytest.param(as_wav(SPEECH), recordings.OK, 5.0, id="ok"),
        pytest.param(as_wav(SPEECH[:24_320]), recordings.OK, 1.52, id="one-window"),
        pytest.param(as_wav(SPEECH[:24_319]), recordings.TOO_SHORT, 0.0, id="a-sample-short"),
        pytest.param(as_wav(np.zeros(0)), recordings.TOO_SHORT, 0.0, id="no-samples"),
        pytest.param(as_wav(np.zeros(5 * RATE)), recordings.NO_SPEECH, 0.0, id="digital-silence"),
        pytest.param(
            as_wav(np.r_[np.zeros(2 * RATE), SPEECH[:RATE], np.zeros(2 * RATE)]),
            recordings.NO_SPEECH,
            1.1,
            id="a-second-of-speech",
        ),
        pytest.param(as_wav(np.resize(SPEECH, 20 * RATE)), recordings.OK, 20.0, id="longest"),
        pytest.param(
            as_wav(np.resize(SPEECH, 20 * RATE + 1)), recordings.TOO_LONG, 0.0, id="too-long"
        ),
        pytest.param(encoded(SPEECH, 8_000), recordings.WRONG_SAMPLE_RATE, 0.0, id="rate"),
        pytest.param(
            encoded(np.zeros(0), 44_100), recordings.WRONG_SAMPLE_RATE, 0.0, id="empty-other-rate"
        ),
        pytest.param(as_wav(SPEECH, "PCM_24"), recordings.NOT_WAV, 0.0, id="24-bit"),
        pytest.param(b"not audio", recordings.NOT_WAV, 0.0, id="text"),
        pytest.param(b"", recordings.NOT_WAV, 0.0, id="empty"),
    ],
)
def test_every_recording_has_a_status(wav, status, seconds):
    (windows,), speech_seconds, told = hear([wav])
    assert told.numpy() == [status.encode()]
    assert speech_seconds[0] == pytest.approx(seconds, abs=0.05)
    assert (len(windows) > 0) == (status == recordings.OK)


def test_a_batch_gives_each_recording_what_it_gets_alone():
    batch = [as_wav(SPEECH), b"", as_wav(SPEECH[:RATE]), as_wav(SPEECH[RATE:]), as_wav(SPEECH)]
    windows, seconds, status = hear(batch)
    assert [len(item) for item in windows] == [4, 0, 0, 3, 4]
    for index, wav in enumerate(batch):
        (alone,), alone_seconds, alone_status = hear([wav])
        np.testing.assert_array_equal(windows[index], alone)
        assert (seconds[index], status[index]) == (alone_seconds[0], alone_status[0])


def test_an_empty_batch_is_no_error():
    windows, seconds, status = hear(tf.zeros([0], tf.string))
    assert (windows, len(seconds), len(status)) == ([], 0, 0)


def test_a_long_recording_has_no_more_windows_than_allowed():
    (windows,), _, _ = hear([as_wav(np.resize(SPEECH, 19 * RATE))])
    assert len(windows) == FRONT_END.serving.max_windows


@given(samples=st.integers(0, 10_000), window=st.integers(1, 2_000), max_windows=st.integers(1, 12))
def test_windows_are_even_and_reach_from_start_to_end(samples, window, max_windows):
    starts = window_starts(tf.constant(samples, tf.int64), window, max_windows).numpy()
    if samples < window:
        assert len(starts) == 0
        return
    assert 1 <= len(starts) <= max_windows
    steps = np.diff(starts)
    assert starts[0] == 0
    if len(starts) > 1:
        assert starts[-1] == samples - window
        assert steps.max() - steps.min() <= 1
    if len(starts) < max_windows:
        assert np.all(steps <= window)
        assert len(starts) == -(-samples // window)
