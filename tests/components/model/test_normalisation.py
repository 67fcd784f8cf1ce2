"""Adaptive score normalisation against a plain loop."""

import numpy as np
import pytest

from components.errors import SwarError
from components.model.normalisation import (
    CohortNormalisation,
    distances,
    made_speakers,
    speaker_means,
)


def unit(rng, *shape):
    drawn = rng.normal(size=shape)
    return (drawn / np.linalg.norm(drawn, axis=-1, keepdims=True)).astype(np.float32)


def moments(vector, cohort, nearest):
    near = sorted(np.linalg.norm(vector - voice) for voice in cohort)[:nearest]
    return np.mean(near), np.std(near)


def test_distances_are_told_relative_to_the_nearest_of_the_cohort():
    rng = np.random.default_rng(0)
    cohort, embedding, nearest = unit(rng, 20, 6), unit(rng, 7, 6), 5
    first, second = np.array([0, 1, 5]), np.array([2, 6, 3])
    own = [
        moments(voice, np.delete(cohort, at, axis=0), nearest) for at, voice in enumerate(cohort)
    ]
    mean, deviation = np.mean(own, axis=0)
    expected = []
    for a, b in zip(first, second, strict=True):
        distance = np.linalg.norm(embedding[a] - embedding[b])
        sides = [moments(embedding[side], cohort, nearest) for side in (a, b)]
        expected.append(mean + deviation * np.mean([(distance - m) / s for m, s in sides]))
    normalisation = CohortNormalisation(cohort, nearest)
    result = distances(embedding, first, second, normalisation).numpy()
    np.testing.assert_allclose(result, np.maximum(expected, 0.0), rtol=1e-4)
    swapped = distances(embedding, second, first, normalisation).numpy()
    np.testing.assert_allclose(swapped, result, rtol=1e-6)
    plain = distances(embedding, first, second, None).numpy()
    np.testing.assert_allclose(
        plain, np.linalg.norm(embedding[first] - embedding[second], axis=1), rtol=1e-5
    )


def test_a_crowded_place_makes_the_same_distance_larger():
    rng = np.random.default_rng(1)
    crowd = unit(rng, 1, 8) + 0.1 * rng.normal(size=(15, 8))
    cohort = np.concatenate([crowd, 3.0 * rng.normal(size=(15, 8))]).astype(np.float32)
    cohort /= np.linalg.norm(cohort, axis=1, keepdims=True)
    step = 0.05 * unit(rng, 8)
    lonely = unit(rng, 8)
    embedding = np.stack([cohort[0], cohort[0] + step, lonely, lonely + step])
    result = distances(embedding, [0, 2], [1, 3], CohortNormalisation(cohort, 10)).numpy()
    assert result[0] > result[1]


def test_identical_voices_have_no_spread_and_give_a_number_still():
    cohort = np.tile(unit(np.random.default_rng(2), 1, 4), (6, 1))
    result = distances(cohort, [0], [1], CohortNormalisation(cohort, 100)).numpy()
    assert np.all(np.isfinite(result)) and np.all(result >= 0.0)


@pytest.mark.parametrize("unit_norm", [True, False])
def test_a_voice_is_the_mean_of_its_windows(unit_norm):
    rng = np.random.default_rng(3)
    embedding = rng.normal(size=(9, 4)).astype(np.float32)
    speaker = np.array([b"b", b"a", b"c"] * 3)
    result = speaker_means(embedding, speaker, unit_norm=unit_norm)
    for row, name in zip(result, (b"a", b"b", b"c"), strict=True):
        mean = embedding[speaker == name].mean(axis=0)
        expected = mean / np.linalg.norm(mean) if unit_norm else mean
        np.testing.assert_allclose(row, expected, rtol=1e-5)


def nearest(made, speakers):
    return np.linalg.norm(made[:, np.newaxis] - speakers[np.newaxis], axis=2).min(axis=1)


def test_made_speakers_are_as_far_from_who_was_heard_as_from_who_was_not():
    """Which a mean of speakers is not: half of them are the speaker that it is compared with."""
    rng = np.random.default_rng(3)
    mixing = rng.normal(size=(32, 32)) * np.linspace(2.0, 0.1, 32)
    everybody = (rng.normal(size=(1_400, 32)) @ mixing + 1.0).astype(np.float32)
    everybody /= np.linalg.norm(everybody, axis=1, keepdims=True)
    heard, unheard = everybody[:700], everybody[700:]
    made = made_speakers(heard, 200, unit_norm=True)
    np.testing.assert_allclose(np.linalg.norm(made, axis=1), 1.0, rtol=1e-5)
    np.testing.assert_array_equal(made, made_speakers(heard, 200, unit_norm=True))
    nearer = np.mean(nearest(made, heard) < nearest(made, unheard))
    assert 0.4 < nearer < 0.6  # chance, of 200
    means = (heard[:200] + heard[200:400]) / 2.0
    assert np.mean(nearest(means, heard) < nearest(means, unheard)) > 0.6
    # They stand for those speakers: as far from each other, and from people.
    others = np.linalg.norm(unheard[:200, np.newaxis] - heard[np.newaxis], axis=2)
    from_made = np.linalg.norm(unheard[:200, np.newaxis] - made[np.newaxis], axis=2)
    assert from_made.mean() == pytest.approx(others.mean(), rel=0.03)
    assert from_made.std() == pytest.approx(others.std(), rel=0.1)


def test_made_speakers_stand_for_each_kind_of_people():
    """Of two kinds that lie apart, each has others nearby, and between them there are none."""
    rng = np.random.default_rng(1)
    kinds = unit(rng, 2, 16)
    places = np.repeat(kinds, [600, 200], axis=0)
    people = (places + 0.1 * rng.normal(size=(800, 16))).astype(np.float32)
    people /= np.linalg.norm(people, axis=1, keepdims=True)
    made = made_speakers(people, 400, unit_norm=True)
    kind = np.argmin(np.linalg.norm(made[:, np.newaxis] - kinds, axis=2), axis=1)
    assert np.mean(kind == 0) == pytest.approx(0.75, abs=0.08)
    for number, own in enumerate((people[:600], people[600:])):
        apart = np.median(nearest(own[:100], own[100:]))
        assert np.median(nearest(own[:100], made[kind == number])) < 1.3 * apart


def test_too_few_voices_make_none():
    few = unit(np.random.default_rng(0), 40, 8)
    with pytest.raises(SwarError, match="40 training speakers are too few to make speakers by"):
        made_speakers(few, 200, unit_norm=True)
