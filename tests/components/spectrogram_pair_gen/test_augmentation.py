"""Windows to train on: what they keep, and that seeds decide."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.settings import AugmentationSettings
from components.spectrogram_pair_gen.augmentation import augment
from tests.bad_recordings import speech_like

RATE = 16_000
CHANGES = tuple(AugmentationSettings().probabilities)
EVERYTHING = AugmentationSettings.model_validate({f"{name}_probability": 1.0 for name in CHANGES})


def generator(seed=0):
    return np.random.default_rng(seed)


def nobody():
    return None


def test_nothing_changes_by_default():
    speech = 20_000.0 * speech_like(0, RATE).astype(np.float32)
    assert augment(speech, RATE, AugmentationSettings(), nobody, generator()) is speech
    assert not AugmentationSettings().is_on


@pytest.mark.parametrize("name", CHANGES)
def test_each_change_happens_as_often_as_its_own_probability_says(name):
    speech = 20_000.0 * speech_like(0, RATE)[: RATE // 4].astype(np.float32)
    one = AugmentationSettings.model_validate({f"{name}_probability": 0.3})
    assert one.is_on
    changed = [
        augment(speech, RATE, one, nobody, generator(seed)) is not speech for seed in range(200)
    ]
    assert 0.2 < np.mean(changed) < 0.4


@settings(max_examples=30)
@given(seed=st.integers(0, 2**32), length=st.integers(800, 30_000), with_babble=st.booleans())
def test_any_window_keeps_its_length_and_peak_and_its_seed_decides(seed, length, with_babble):
    samples = (20_000 * generator(seed).standard_normal(length)).astype(np.float32)
    others = samples[::-1].copy() if with_babble else None
    one, again = (
        augment(samples, RATE, EVERYTHING, lambda: others, generator(seed)) for _ in range(2)
    )
    np.testing.assert_array_equal(one, again)
    assert one.shape == samples.shape and one.dtype == np.float32
    assert np.max(np.abs(one)) == pytest.approx(np.max(np.abs(samples)), rel=1e-4)
    assert not np.array_equal(one, samples)


def test_silence_stays_silence():
    silence = np.zeros(RATE, np.float32)
    assert not np.any(augment(silence, RATE, EVERYTHING, lambda: silence, generator()))
