"""The front end within the graph: windows of what is good, and a status for everything."""

import dataclasses
import functools

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from components.model import recordings
from components.model.recordings import FrontEnd, Recordings, window_starts
from components.settings import ServingSettings, SpectrogramSettings, SpeechSettings
from tests.bad_recordings import encoded, speech_like

RATE = 16_000
FRONT_END = FrontEnd(
    SpeechSettings(require_voice=False),
    SpectrogramSettings(),
    ServingSettings(max_seconds=20.0, max_windows=6),
)


@functools.cache
def graph(front_end):
    spec = tf.TensorSpec([None], tf.string)
    return tf.function(Recordings(front_end).extract_windows, input_signature=[spec])


def hear(wavs, front_end=FRONT_END):
    heard = graph(front_end)(tf.constant(wavs))
    return [row.numpy() for row in heard.windows], heard.speech_seconds.numpy(), heard.status


def as_wav(samples, subtype="PCM_16"):
    return encoded(samples, RATE, subtype=subtype)


SPEECH = speech_like(0, RATE, 5.0)
NOISE = 0.1 * np.random.default_rng(0).standard_normal(5 * RATE)


@pytest.mark.parametrize(
    ("wav", "status", "seconds"),
    [
        pytest.param(as_wav(SPEECH), recordings.OK, 5.0, id="ok"),
        pytest.param(as_wav(SPEECH[:24_320]), recordings.OK, 1.52, id="one-window"),
        pytest.param(as_wav(SPEECH[:4_800]), recordings.OK, 0.3, id="shortest"),
        pytest.param(as_wav(SPEECH[:4_799]), recordings.TOO_SHORT, 0.0, id="a-sample-short"),
        pytest.param(as_wav(np.zeros(0)), recordings.TOO_SHORT, 0.0, id="no-samples"),
        pytest.param(as_wav(np.zeros(5 * RATE)), recordings.SILENT, 0.0, id="digital-silence"),
        pytest.param(as_wav(NOISE), recordings.NO_SPEECH, 0.0, id="steady-noise"),
        pytest.param(
            as_wav(np.r_[np.zeros(2 * RATE), SPEECH[:RATE], np.zeros(2 * RATE)]),
            recordings.OK,
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
    (windows,), speech_seconds, statuses = hear([wav])
    assert statuses.numpy() == [status.encode()]
    assert speech_seconds[0] == pytest.approx(seconds, abs=0.05)
    assert (len(windows) > 0) == (status == recordings.OK)


def test_a_batch_gives_each_recording_what_it_gets_alone():
    batch = [as_wav(SPEECH), b"", as_wav(SPEECH[:RATE]), as_wav(SPEECH[RATE:]), as_wav(SPEECH)]
    windows, seconds, status = hear(batch)
    assert [len(item) for item in windows] == [4, 0, 1, 3, 4]
    for index, wav in enumerate(batch):
        (alone,), alone_seconds, alone_status = hear([wav])
        np.testing.assert_array_equal(windows[index], alone)
        assert (seconds[index], status[index]) == (alone_seconds[0], alone_status[0])


def test_a_word_is_repeated_to_a_window():
    word = SPEECH[:8_000]
    (windows,), seconds, status = hear([as_wav(word)])
    assert (len(windows), seconds[0], status[0]) == (1, 0.5, b"ok")
    (repeated,), _, _ = hear([as_wav(np.resize(word, 24_320))])
    assert np.mean(np.abs(windows[0].astype(int) - repeated[0])) < 5.0


def test_a_voice_may_be_required():
    front_end = dataclasses.replace(FRONT_END, speech=SpeechSettings())
    beeps = 0.3 * np.sin(2 * np.pi * 440 * np.arange(5 * RATE) / RATE)
    beeps *= np.arange(5 * RATE) % RATE < RATE // 2
    windows, _, status = hear([as_wav(beeps)], front_end)
    assert (len(windows[0]), status[0]) == (0, b"no_speech")
    _, _, status = hear([as_wav(beeps)])
    assert status[0] == b"ok"


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
