"""Windows to train on: what they keep, and that seeds decide."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.degradation import in_room
from components.settings import AugmentationSettings
from components.spectrogram_pair_gen.augmentation import augment
from components.spectrogram_pair_gen.recorded_sounds import RecordedSounds, Room
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


def test_recorded_noise_is_heard_in_place_of_the_coloured_one_beside_babble():
    speech = 20_000.0 * speech_like(0, RATE).astype(np.float32)
    recording, others = (
        generator(seed).standard_normal(len(speech)).astype(np.float32) for seed in (1, 2)
    )
    recorded = RecordedSounds(noises=(recording,))
    noisy = AugmentationSettings(noise_probability=1.0, noise_snr_db=(6.0, 6.0))
    heard = {"recording": 0, "babble": 0}
    for seed in range(100):
        changed = augment(speech, RATE, noisy, lambda: others, generator(seed), recorded)
        # Fits of the two that can be heard: one of them explains all that was added.
        sounds = np.stack([speech, recording, others], axis=1)
        weights, *_ = np.linalg.lstsq(sounds, changed, rcond=None)
        np.testing.assert_allclose(sounds @ weights, changed, atol=1.0)
        kind = "recording" if weights[1] > 100 * abs(weights[2]) else "babble"
        sound = {"recording": weights[1] * recording, "babble": weights[2] * others}[kind]
        ratio = np.mean(np.square(weights[0] * speech)) / np.mean(np.square(sound))
        assert 10 * np.log10(ratio) == pytest.approx(6.0, abs=0.05)
        heard[kind] += 1
    assert min(heard.values()) > 30
    alone = augment(speech, RATE, noisy, nobody, generator(), recorded)
    weights, *_ = np.linalg.lstsq(np.stack([speech, recording], axis=1), alone, rcond=None)
    assert weights[1] > 100.0


def test_recorded_rooms_are_heard_in_place_of_made_ones():
    speech = 20_000.0 * speech_like(0, RATE).astype(np.float32)
    rooms = tuple(
        Room(generator(seed).standard_normal(500).astype(np.float32), 100 * seed)
        for seed in range(3)
    )
    reverberant = AugmentationSettings(reverberation_probability=1.0)
    expected = [in_room(speech, room.response, room.direct) for room in rooms]
    expected = [each * (np.max(np.abs(speech)) / np.max(np.abs(each))) for each in expected]
    drawn = set()
    for seed in range(40):
        recorded = RecordedSounds(rooms=rooms)
        changed = augment(speech, RATE, reverberant, nobody, generator(seed), recorded)
        distances = [np.max(np.abs(changed - each)) for each in expected]
        assert min(distances) < 0.1
        drawn.add(int(np.argmin(distances)))
    assert drawn == {0, 1, 2}
