"""The base model's error rates on pairs, and which slices count as worse than them."""

import math

import numpy as np
import pytest
import tensorflow as tf
from scipy.stats import binomtest
from sklearn.metrics import roc_curve

from components import features, spectrogram_codec
from components.conditions import CLEAN
from components.evaluator.base_comparison import (
    BaseErrorRate,
    base_error_rates,
    worse_than_base,
)
from components.evaluator.results import Slice
from tests.components.evaluator.support_base_model import (
    SIDE_A,
    SIDE_B,
    random_windows,
    release_small_base_model,
)

TELEPHONE = Slice("eval_conditions", condition="telephone")
ROOM = Slice("unseen_conditions", condition="room")
UNSEEN = Slice("unseen")


def write(path, trials):
    with tf.io.TFRecordWriter(str(path)) as writer:
        for part, label, first, second in trials:
            values = {
                features.SPLIT: part.split.encode(),
                features.CONDITION: (part.condition or CLEAN).encode(),
                features.LABEL: label,
                SIDE_A: spectrogram_codec.encode(first),
                SIDE_B: spectrogram_codec.encode(second),
            }
            writer.write(features.example(values).SerializeToString())
    return str(path)


def noisy(window, rng):
    return np.clip(window + rng.normal(0.0, 25.0, window.shape), 0, 255).astype(np.uint8)


def test_error_rates_agree_with_scikit_learn(tmp_path, monkeypatch):
    base = release_small_base_model(tmp_path / "base", monkeypatch)
    rng, windows = np.random.default_rng(0), list(random_windows(60))
    trials = []
    for index in range(300):
        label, first = index % 2, windows[index % 50]
        second = noisy(first, rng) if label else windows[(index + 7) % 50]
        trials.append((TELEPHONE if index % 3 else ROOM, label, first, second))
    files = [write(tmp_path / "b", trials[:200]), write(tmp_path / "a", trials[200:])]
    measured = base_error_rates(files)
    assert measured.keys() == {TELEPHONE, ROOM}
    for part, rate in measured.items():
        mine = [trial for trial in trials if trial[0] == part]
        sides = np.stack([side for _, _, *both in mine for side in both])
        embedding = base.tower().predict(sides, verbose=0)
        first = 2 * np.arange(len(mine))
        apart = base.distances(embedding, first, first + 1)
        accepted, correct, _ = roc_curve([label for _, label, _, _ in mine], -apart)
        at = np.argmin(np.abs(accepted - (1.0 - correct)))
        expected = (accepted[at] + 1.0 - correct[at]) / 2.0
        assert rate.eer == pytest.approx(expected, abs=0.03)
        assert 0.0 < rate.eer < rate.upper_end < 0.6


def test_the_interval_is_that_of_as_many_trials_as_the_rarer_class_has(tmp_path, monkeypatch):
    release_small_base_model(tmp_path / "base", monkeypatch)
    windows = list(random_windows(40))
    same = [(ROOM, 1, window, window) for window in windows[:8]]
    others = [(ROOM, 0, *windows[index : index + 2]) for index in range(30)]
    (rate,) = base_error_rates([write(tmp_path / "pairs", same + others)]).values()
    assert rate.eer == 0.0
    assert rate.upper_end == pytest.approx(binomtest(0, 8).proportion_ci(method="wilson").high)


def test_clean_pairs_of_unseen_speakers_are_a_slice_without_a_condition(tmp_path, monkeypatch):
    release_small_base_model(tmp_path / "base", monkeypatch)
    windows = list(random_windows(8))
    trials = [(UNSEEN, 1, window, window) for window in windows]
    trials += [(UNSEEN, 0, *windows[index : index + 2]) for index in range(7)]
    assert base_error_rates([write(tmp_path / "pairs", trials)]).keys() == {UNSEEN}
    found = worse_than_base({UNSEEN: {"eer": 0.3}}, {UNSEEN: BaseErrorRate(0.1, 0.2)}, 0.02)
    assert [key.column for key in found[0].slice_key.single_slice_keys] == ["split"]


def test_a_slice_of_one_class_says_nothing(tmp_path, monkeypatch):
    release_small_base_model(tmp_path / "base", monkeypatch)
    trials = [(ROOM, 1, window, window) for window in random_windows(3)]
    assert base_error_rates([write(tmp_path / "pairs", trials)]) == {}


@pytest.mark.parametrize(
    ("eer", "base", "is_worse"),
    [
        (0.05, BaseErrorRate(0.04, 0.045), False),  # by no more than is allowed
        (0.08, BaseErrorRate(0.04, 0.10), False),  # by more, but within the interval
        (0.08, BaseErrorRate(0.04, 0.07), True),
        (math.nan, BaseErrorRate(0.04, 0.07), True),
    ],
)
def test_worse_is_a_rise_beyond_what_is_allowed_and_beyond_the_interval(eer, base, is_worse):
    found = worse_than_base({TELEPHONE: {"eer": eer}}, {TELEPHONE: base}, 0.02)
    assert bool(found) == is_worse
    if is_worse:
        keys = found[0].slice_key.single_slice_keys
        assert {key.column: key.bytes_value for key in keys} == {
            "split": b"eval_conditions",
            "condition": b"telephone",
        }


def test_a_slice_that_the_model_was_not_measured_on_fails():
    assert len(worse_than_base({}, {TELEPHONE: BaseErrorRate(0.1, 0.2)}, 0.5)) == 1
