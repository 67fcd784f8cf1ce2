"""A voice at another speed: higher or lower by as much, and no sample short."""

import librosa
import numpy as np
import pytest
import tensorflow as tf

from components import features, spectrogram_image
from components.settings import SpectrogramSettings
from components.spectrogram_pair_gen.sampling import Placement, Voice
from components.spectrogram_pair_gen.windows import Window, WindowCutter

RATE = 16_000
SETTINGS = SpectrogramSettings()
TONE_HZ = 1_000.0


@pytest.fixture(scope="module")
def tone(tmp_path_factory):
    samples = 0.5 * np.sin(2 * np.pi * TONE_HZ * np.arange(4 * RATE) / RATE)
    example = features.example(
        {
            features.PCM16: (samples * 32767).astype("<i2").tobytes(),
            features.SPEAKER: b"asha",
            features.GENDER: b"female",
            features.RECORDING: b"r",
            features.PIECE: 0,
            features.START_SECONDS: 0.0,
        }
    )
    path = str(tmp_path_factory.mktemp("speech") / "data")
    with tf.io.TFRecordWriter(path) as file:
        file.write(example.SerializeToString())
    return path


def window_at(file: str, speed: float, start: int) -> Window:
    placement = Placement("id", 1, "a", Voice("asha", speed), "r", 0, start)
    (window,) = WindowCutter(RATE, SETTINGS).cut(file, [placement])
    return window


@pytest.mark.parametrize("speed", [0.8, 0.9, 1.0, 1.1, 1.25])
def test_a_tone_rises_with_the_speed(tone, speed):
    window = window_at(tone, speed, 0)
    band = np.argmax(np.mean(spectrogram_image.decode(window.spectrogram), axis=1))
    centres = librosa.mel_frequencies(n_mels=SETTINGS.n_mels + 2, fmax=RATE / 2)[1:-1]
    assert abs(centres[band] - speed * TONE_HZ) < 60.0  # half a band
    assert window.speaker == ("asha" if speed == 1.0 else f"asha at speed {speed:g}")


@pytest.mark.parametrize("speed", [0.9, 1.1])
def test_a_window_at_the_very_end_is_full(tone, speed):
    length = Voice("asha", speed).samples(SETTINGS.window_samples(RATE))
    window = window_at(tone, speed, 4 * RATE - length)
    levels = spectrogram_image.decode(window.spectrogram).max(axis=0)
    assert levels.min() > 200  # the tone sounds in every frame
