"""Half of the calibration speech is degraded, by recordings, and no sound is on both sides."""

import numpy as np

from components.settings import AugmentationSettings, SpectrogramSettings
from components.trainer.augmentation import BatchAugmentation
from components.trainer.data import Windows
from components.trainer.mixed_conditions import degraded, half_degraded

SPECTROGRAM = SpectrogramSettings(n_mels=32, window_seconds=0.5)
TILTED = BatchAugmentation(
    AugmentationSettings(tilt_probability=1.0, tilt_db_per_octave=(-6.0, 6.0)), SPECTROGRAM, 16_000
)


def windows():
    """Anna has three recordings of two windows, Bela one of four."""
    spectrogram = np.random.default_rng(0).integers(0, 256, (1, 32, 32)).astype(np.uint8)
    return Windows(
        np.array([b"anna"] * 6 + [b"bela"] * 4),
        np.array([b"a1", b"a1", b"a2", b"a2", b"a3", b"a3", b"b", b"b", b"b", b"b"]),
        np.array([0, 1, 0, 1, 0, 1, 0, 1, 2, 3], np.float32),
        np.repeat(spectrogram, 10, axis=0),
    )


def test_every_second_recording_and_the_later_half_of_a_single_one_are_degraded():
    before = windows()
    after = half_degraded(before, TILTED, seed=1)
    changed = [
        bool(np.any(one != other))
        for one, other in zip(before.spectrogram, after.spectrogram, strict=True)
    ]
    assert changed == [False, False, True, True, False, False, False, False, True, True]
    assert after.recording.tolist() == [
        b"a1", b"a1", b"a2 degraded", b"a2 degraded", b"a3", b"a3",
        b"b", b"b", b"b degraded", b"b degraded",
    ]  # fmt: skip
    np.testing.assert_array_equal(after.speaker, before.speaker)
    np.testing.assert_array_equal(after.start_seconds, before.start_seconds)


def test_a_recording_is_on_one_line_and_the_seed_says_on_which():
    one, again, other = (half_degraded(windows(), TILTED, seed).spectrogram for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, again)
    assert np.any(one != other)
    np.testing.assert_array_equal(one[2], one[3])
    np.testing.assert_array_equal(one[8], one[9])
    assert np.any(one[2] != one[8])


def test_all_of_it_can_be_degraded_recording_by_recording():
    before = windows()
    after = degraded(before, TILTED, seed=1)
    assert np.all(np.any(before.spectrogram != after.spectrogram, axis=(1, 2)))
    np.testing.assert_array_equal(after.spectrogram[0], after.spectrogram[1])
    assert np.any(after.spectrogram[0] != after.spectrogram[2])
    np.testing.assert_array_equal(after.recording, before.recording)
