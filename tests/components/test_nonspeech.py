"""Sounds without speech: two different takes of every kind, decided by their seed."""

import numpy as np
import pytest

from components.nonspeech import NONSPEECH, PEAK, TAKES, nonspeech

RATE, SECONDS = 8_000, 2.0


@pytest.fixture(scope="module")
def sounds():
    return list(nonspeech(RATE, SECONDS, seed=0))


def test_every_kind_has_its_takes(sounds):
    expected = [(kind, take) for kind in NONSPEECH for take in range(TAKES)]
    assert [(each.kind, each.take) for each in sounds] == expected
    assert len({each.samples.tobytes() for each in sounds}) == len(sounds)


def test_all_are_as_long_and_as_loud(sounds):
    for each in sounds:
        assert each.samples.shape == (RATE * SECONDS,) and each.samples.dtype == np.float32
        peak = 2.0**-15 if each.kind == "dither" else PEAK
        assert np.abs(each.samples).max() == pytest.approx(peak)


def test_the_same_seed_gives_the_same_sounds(sounds):
    again, other = (list(nonspeech(RATE, SECONDS, seed)) for seed in (0, 1))
    for one, same, another in zip(sounds, again, other, strict=True):
        np.testing.assert_array_equal(one.samples, same.samples)
        assert not np.array_equal(one.samples, another.samples)


@pytest.mark.parametrize(("kind", "lines"), [("tone", 1), ("dtmf", None), ("hum", 5)])
def test_what_hums_has_few_lines(sounds, kind, lines):
    (sound, *_) = (each.samples for each in sounds if each.kind == kind)
    power = np.abs(np.fft.rfft(sound * np.hanning(len(sound)))) ** 2
    lines = lines or 7  # DTMF's seven frequencies
    strongest = np.sort(power)[::-1]
    assert strongest[: 20 * lines].sum() > 0.8 * power.sum()


@pytest.mark.parametrize(
    ("kind", "slope"), [("white_noise", 0.0), ("pink_noise", -1.0), ("brown_noise", -2.0)]
)
def test_noise_has_its_colour(kind, slope):
    (sound, *_) = (each.samples for each in nonspeech(RATE, 8.0, 0) if each.kind == kind)
    power = np.abs(np.fft.rfft(sound)) ** 2
    hertz = np.fft.rfftfreq(len(sound), 1 / RATE)
    bands = [(50, 100), (1_600, 3_200)]
    low, high = (power[(hertz >= a) & (hertz < b)].mean() for a, b in bands)
    assert np.log2(high / low) / np.log2(1_600 / 50) == pytest.approx(slope, abs=0.15)
