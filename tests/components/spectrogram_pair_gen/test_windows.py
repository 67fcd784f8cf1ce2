"""A voice at another speed, no sample short; whose voices are heard behind it."""

import librosa
import numpy as np
import pytest
import tensorflow as tf

from components import features, spectrogram_codec
from components.settings import AugmentationSettings, SpectrogramSettings
from components.spectrogram_pair_gen.sampling import TrainSpeaker, WindowPosition
from components.spectrogram_pair_gen.windows import Babble, Window, WindowCutter
from tests.bad_recordings import speech_like

RATE = 16_000
SETTINGS = SpectrogramSettings()
TONE_HZ = 1_000.0


def speech_file(folder, *pieces):
    """A file of `speech`: a recording for each speaker and its int16 samples."""
    path = str(folder / "data")
    with tf.io.TFRecordWriter(path) as file:
        for number, (speaker, samples) in enumerate(pieces):
            example = features.example(
                {
                    features.PCM16: samples.astype("<i2").tobytes(),
                    features.SPEAKER: speaker.encode(),
                    features.GENDER: b"female",
                    features.RECORDING: b"r%d" % number,
                    features.PIECE: 0,
                    features.START_SECONDS: 0.0,
                }
            )
            file.write(example.SerializeToString())
    return path


@pytest.fixture(scope="module")
def tone(tmp_path_factory):
    samples = 0.5 * np.sin(2 * np.pi * TONE_HZ * np.arange(4 * RATE) / RATE)
    return speech_file(tmp_path_factory.mktemp("speech"), ("asha", samples * 32767))


def window_at(file: str, speed: float, start: int) -> Window:
    placement = WindowPosition("id", 1, "a", TrainSpeaker("asha", speed), "r0", 0, start)
    (window,) = WindowCutter(RATE, SETTINGS).cut(file, [placement])
    return window


@pytest.mark.parametrize("speed", [0.8, 0.9, 1.0, 1.1, 1.25])
def test_a_tone_rises_with_the_speed(tone, speed):
    window = window_at(tone, speed, 0)
    band = np.argmax(np.mean(spectrogram_codec.decode(window.spectrogram, SETTINGS.n_mels), axis=1))
    centres = librosa.mel_frequencies(n_mels=SETTINGS.n_mels + 2, fmax=RATE / 2)[1:-1]
    assert abs(centres[band] - speed * TONE_HZ) < 60.0  # half a band
    assert window.speaker == ("asha" if speed == 1.0 else f"asha at speed {speed:g}")


@pytest.mark.parametrize("speed", [0.9, 1.1])
def test_a_window_at_the_very_end_is_full(tone, speed):
    length = TrainSpeaker("asha", speed).samples(SETTINGS.window_samples(RATE))
    window = window_at(tone, speed, 4 * RATE - length)
    levels = spectrogram_codec.decode(window.spectrogram, SETTINGS.n_mels).max(axis=0)
    assert levels.min() > 200  # the tone sounds in every frame


def babbled(babble, speaker, seed):
    """20 samples."""
    drawn = babble.draw(speaker, 20, np.random.default_rng(seed))
    assert drawn.shape == (20,) and drawn.dtype == np.float32
    return drawn


def test_babble_is_a_stretch_each_of_three_others(tmp_path):
    # Speaker k says 10 ** k all the time: the digits of a sum tell how often who is heard.
    pieces = [(f"s{k}", np.full(100, 10**k)) for k in range(5) for _ in range(2)]
    babble = Babble(speech_file(tmp_path, *pieces, ("brief", np.full(19, 20_000))))
    for speaker in range(5):
        heard = set()
        for seed in range(50):
            (total,) = set(babbled(babble, f"s{speaker}", seed).tolist())
            digits = f"{total:05.0f}"[::-1]
            assert sorted(digits) == ["0", "0", "1", "1", "1"] and digits[speaker] == "0"
            heard.add(digits)
        assert len(heard) == 4  # any three of the four others


def test_where_others_are_few_they_babble_once_and_nobody_cannot(tmp_path):
    babble = Babble(speech_file(tmp_path, ("asha", np.zeros(90)), ("bina", np.arange(100))))
    starts = set()
    for seed in range(50):
        drawn, again = (babbled(babble, "asha", seed) for _ in range(2))
        np.testing.assert_array_equal(drawn, drawn[0] + np.arange(20))
        np.testing.assert_array_equal(drawn, again)
        starts.add(drawn[0])
    assert len(starts) > 25
    assert babble.draw("asha", 95, np.random.default_rng(0)) is not None
    assert babble.draw("bina", 95, np.random.default_rng(0)) is None
    assert babble.draw("asha", 101, np.random.default_rng(0)) is None


def test_what_is_heard_behind_a_window_depends_on_its_pair_alone(tmp_path):
    pieces = [(f"s{k}", 32767 * speech_like(k, RATE)) for k in range(5)]
    file = speech_file(tmp_path, *pieces)
    placements = [
        WindowPosition(f"pair{start}", 1, side, TrainSpeaker("s1"), "r1", 0, start)
        for start in (0, 9_000)
        for side in "ab"
    ]

    def cut(placed, seed=0, probability=1.0):
        noisy = AugmentationSettings(noise_probability=probability)
        return list(WindowCutter(RATE, SETTINGS, noisy, seed).cut(file, placed))

    together = cut(placements[::-1])
    assert together == [window for placed in placements for window in cut([placed])]
    for other in (cut(placements, seed=1), cut(placements, probability=0.0)):
        for one, another in zip(together, other, strict=True):
            assert one.spectrogram != another.spectrogram
    for a, b in (together[:2], together[2:]):
        assert a.spectrogram != b.spectrogram
