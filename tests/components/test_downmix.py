"""Dead and cancelling channels: in files, and in the graph of the served model alike."""

import numpy as np
import pytest
import soundfile

from components import audio, wav
from components.downmix import MOST_CHANNELS, used_channels
from tests.bad_recordings import by_ffmpeg, encoded, speech_like

RATE = 16_000
LEFT, RIGHT = (0.3 * speech_like(seed, RATE, 2.0) for seed in (1, 2))
HISS = np.random.default_rng(0).standard_normal(len(LEFT))
HUM = 0.2 * np.sin(2.0 * np.pi * 50.0 / RATE * np.arange(len(LEFT)))

CHANNELS = {
    "two voices": ([LEFT, RIGHT], [True, True]),
    "the same": ([LEFT, LEFT], [True, True]),
    "opposite": ([LEFT, -LEFT], [True, False]),
    "opposite and louder": ([LEFT, -1.1 * LEFT], [False, True]),
    "dead": ([0.0 * LEFT, LEFT], [False, True]),
    "dead with a constant voltage": ([0.5 + 0.0 * LEFT, LEFT], [False, True]),
    "dead with hiss": ([LEFT, 0.05 * LEFT.std() * HISS], [True, False]),
    "an open line 20 dB louder": ([LEFT, 10.0 * LEFT.std() * HISS.clip(-3, 3)], [True, False]),
    "an open line with hum": ([HUM, LEFT], [False, True]),
    "speech in noise": ([LEFT + LEFT.std() * HISS, LEFT], [True, True]),
    "opposite and faint in part": ([LEFT, -LEFT + 0.7 * RIGHT], [False, True]),
    "two voices in part opposite": ([LEFT, RIGHT - 0.3 * LEFT], [True, True]),
    "a voice on each of many": (
        [0.3 * speech_like(seed, RATE, 2.0) for seed in range(10, 10 + MOST_CHANNELS)],
        [True] * MOST_CHANNELS,
    ),
    "half as loud": ([LEFT, 0.5 * LEFT], [True, True]),
    "dead beside two that cancel": ([LEFT, 0.0 * LEFT, -LEFT], [True, False, False]),
    "silence": ([0.0 * LEFT, 0.0 * LEFT], [True, True]),
    "more than anybody has": ([LEFT] * (MOST_CHANNELS + 1), None),
}


@pytest.mark.parametrize("name", CHANNELS)
def test_a_file_and_the_served_model_hear_the_same(tmp_path, caplog, name):
    channels, heard = CHANNELS[name]
    samples = np.stack(channels, axis=1)
    content = encoded(samples, RATE, subtype="PCM_16")
    (tmp_path / "sound.wav").write_bytes(content)
    in_file = audio.decode(tmp_path / "sound.wav", sample_rate=RATE)
    in_graph = wav.read_mono(content, wav.read_header(content)).numpy()
    chosen = samples if heard is None else samples[:, heard]
    np.testing.assert_allclose(in_file, chosen.mean(axis=1), atol=1e-4)
    np.testing.assert_allclose(in_graph, in_file, atol=1e-6)
    assert bool(caplog.records) == (heard is not None and not all(heard))
    if caplog.records:
        assert "sound.wav" in caplog.text and "dead, noise, or cancel" in caplog.text


@pytest.mark.parametrize(
    ("container", "subtype"),
    [("FLAC", "PCM_24"), ("OGG", "VORBIS"), ("AIFF", "PCM_16"), ("CAF", "ALAC_16"), ("MP3", None)],
)
@pytest.mark.parametrize("gain", [-1.0, -0.98])
def test_what_cancels_is_heard_on_one_side_in_any_container(tmp_path, container, subtype, gain):
    samples = np.stack([LEFT, gain * LEFT], axis=1)
    (tmp_path / "sound").write_bytes(encoded(samples, RATE, container, subtype))
    heard = audio.decode(tmp_path / "sound", sample_rate=RATE)[: len(LEFT)]
    assert np.corrcoef(heard, LEFT[: len(heard)])[0, 1] > 0.9


def test_a_little_of_the_other_phase_does_not_cancel():
    covariance, steadiness = np.array([[1.0, -0.45], [-0.45, 1.0]]), np.array([0.4, 0.4])
    assert used_channels(covariance, steadiness).all()
    covariance = np.array([[1.0, -0.55], [-0.55, 1.0]])
    assert list(used_channels(covariance, steadiness)) == [True, False]


@pytest.mark.parametrize("quality", ["2", "3"])
def test_opposite_phase_is_heard_through_a_codec_that_couples_channels(
    tmp_path, shared_speech, quality
):
    clip = sorted((shared_speech / "librispeech_1utt").glob("*/*.*"))[0]
    opposite = ("-af", "pan=stereo|c0=c0|c1=-1*c0", "-c:a", "libvorbis", "-q:a", quality)
    alone = audio.decode(clip, sample_rate=RATE)
    (tmp_path / "sound.ogg").write_bytes(by_ffmpeg(encoded(alone, RATE), "ogg", *opposite))
    heard = audio.decode(tmp_path / "sound.ogg", sample_rate=RATE)[: len(alone)]
    assert np.linalg.norm(heard) > 0.8 * np.linalg.norm(alone)
    both, rate = soundfile.read(tmp_path / "sound.ogg", dtype="int16")
    content = encoded(both, rate)
    in_graph = wav.read_mono(content, wav.read_header(content)).numpy()
    assert np.linalg.norm(in_graph) > 0.8 * np.linalg.norm(alone)
