"""The cohort is made of speakers as they are, and half of it as the augmentation leaves them."""

import numpy as np
import pytest

from components.errors import SwarError
from components.settings import AugmentationSettings, SpectrogramSettings, TrainerSettings
from components.trainer.augmentation import BatchAugmentation
from components.trainer.data import Windows
from components.trainer.decisions import learn_normalisation

SPECTROGRAM = SpectrogramSettings(n_mels=32, window_seconds=0.5)
ON_THE_TELEPHONE = BatchAugmentation(
    AugmentationSettings(telephone_probability=1.0), SPECTROGRAM, 16_000
)


def high_bands(spectrogram):
    """In the place of a tower: how loud the bands are, of which a telephone keeps the middle."""
    return spectrogram.reshape(len(spectrogram), 8, 4, -1).mean(axis=(2, 3), dtype=np.float32)


def windows(speakers):
    rng = np.random.default_rng(0)
    names = np.array([f"{number:04d}".encode() for number in range(speakers)])
    loud = rng.integers(150, 256, (speakers, 32, 32)).astype(np.uint8)
    return Windows(names, names, np.zeros(speakers, np.float32), loud)


def settings(**changed):
    return TrainerSettings(normalisation_nearest=5, loss="listed", **changed)


def test_half_of_the_made_speakers_are_made_under_the_augmentation():
    made = settings(normalisation_made_speakers=101)
    cohort = learn_normalisation(windows(600), high_bands, made, ON_THE_TELEPHONE).cohort.numpy()
    assert cohort.shape == (101, 8)
    clean, telephone = cohort[:51, -1], cohort[51:, -1]
    assert clean.min() > telephone.max()
    undegraded = learn_normalisation(windows(600), high_bands, made, None).cohort.numpy()
    assert undegraded.shape == (101, 8) and undegraded[:, -1].min() > telephone.max()


def test_real_speakers_are_in_it_once_and_as_they_are():
    """Else the nearest to each of them would be the same person over a telephone."""
    given = windows(7)
    cohort = learn_normalisation(given, high_bands, settings(), ON_THE_TELEPHONE).cohort.numpy()
    own = high_bands(given.spectrogram)
    np.testing.assert_allclose(cohort, own / np.linalg.norm(own, axis=1, keepdims=True), rtol=1e-5)


def test_two_speakers_are_no_cohort():
    with pytest.raises(SwarError, match="2 training speakers are too few to normalise by"):
        learn_normalisation(windows(2), high_bands, settings(), None)
