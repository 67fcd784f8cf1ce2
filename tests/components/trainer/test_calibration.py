"""Threshold and slope, and the trials that they are learnt from."""

import itertools

import numpy as np
import pytest

from components.errors import SwarError
from components.trainer.calibration import (
    CalibrationTrials,
    calibrate,
    calibration_trials,
)
from components.trainer.utterances import DEGRADED, EmbeddedWindows
from tests.components.trainer.support_windows import windows_of


def test_calibration_gives_honest_probabilities_whatever_the_class_sizes():
    rng = np.random.default_rng(0)
    similar, dissimilar = rng.normal(1.4, 0.1, 20_000), rng.normal(1.8, 0.1, 2_000)
    label = np.r_[np.ones(20_000), np.zeros(2_000)].astype(np.int64)
    weight = np.where(label == 1, 11 / 20, 11 / 2)
    windows = np.r_[np.ones(10_000), np.full(12_000, 2)].astype(np.int64)
    distance = np.r_[similar, dissimilar].astype(np.float32)
    trials = CalibrationTrials(distance, label, weight, windows)
    calibration = calibrate(trials)
    # Two normal distributions of variance v: the log odds have slope 0.4 / v.
    assert calibration.threshold == pytest.approx(1.6, abs=0.01)
    assert calibration.slope == pytest.approx(40.0, rel=0.1)


def test_a_model_that_learnt_nothing_is_refused():
    label = np.array([1, 0] * 50)
    with pytest.raises(SwarError, match="learnt nothing"):
        distance = np.where(label == 1, 1.0, 0.5).astype(np.float32)
        calibrate(CalibrationTrials(distance, label, np.ones(100), np.ones(100, np.int64)))
    with pytest.raises(SwarError, match="one kind only"):
        ones = np.ones(4, np.int64)
        calibrate(CalibrationTrials(ones.astype(np.float32), ones, np.ones(4), ones))


def test_calibration_compares_utterances_that_share_no_sound():
    # A second each: a's second window overlaps the first, and c has one recording only.
    windows = windows_of(
        (b"a", b"a/1", 0.0), (b"a", b"a/1", 0.5), (b"a", b"a/1", 1.0), (b"a", b"a/2", 4.0),
        (b"a", b"a/2", 5.0), (b"c", b"c/1", 2.0), (b"c", b"c/1", 0.0),
    )  # fmt: skip
    embedding = np.eye(7, dtype=np.float32)
    trials = calibration_trials(EmbeddedWindows(embedding, windows, 1.0, unit_norm=False), 1.0)
    # Of two windows, a has one utterance of each recording and c has one; of four, nobody has.
    assert (np.sum(trials.label == 1), np.sum(trials.label == 0)) == (1, 2)
    np.testing.assert_allclose(trials.distance, np.sqrt(4 * 0.5**2), rtol=1e-6)
    assert set(trials.windows) == {2}
    for label in (0, 1):
        assert np.sum(trials.weight[trials.label == label]) == pytest.approx(1.5)


def test_windows_end_to_end_are_all_used_whatever_their_length_rounds_to():
    # float32(10 * 1.52) is before the end of the window that begins at 9 * 1.52.
    rows = [(b"a", b"a/1", at * 1.52) for at in range(40)]
    embedded = EmbeddedWindows(np.eye(40, dtype=np.float32), windows_of(*rows), 1.52, False)
    assert len(embedded.utterances(1, 1.52).start_seconds) == 40
    assert len(embedded.utterances(2, 2 * 1.52).start_seconds) == 20


def test_no_sound_is_compared_with_itself_degraded():
    rows = [(b"a", b"a/1", 0.0), (b"a", b"a/1", 4.0), (b"a", b"a/1" + DEGRADED, 4.5)]
    rows += [(b"b", b"b/1", 0.0), (b"b", b"b/2", 0.0)]
    embedded = EmbeddedWindows(np.eye(5, dtype=np.float32), windows_of(*rows), 1.0, False)
    # The first of a with what was degraded, but not the second, whose sound that is; one of b.
    assert np.sum(calibration_trials(embedded, 1.0).label == 1) == 2


def test_calibration_compares_overlapping_utterances_with_others_only():
    # Six seconds of each: of two windows, an utterance from every second on; of four, two.
    windows = windows_of(*((name, name, float(at)) for name in (b"a", b"b") for at in range(6)))
    embedding = np.eye(12, dtype=np.float32)
    trials = calibration_trials(EmbeddedWindows(embedding, windows, 1.0, unit_norm=False), 1.0)
    # Of one speaker those that begin two seconds apart or more: 3 + 2 + 1. None of four windows,
    # where that leaves one class alone.
    assert (np.sum(trials.label == 1), np.sum(trials.label == 0)) == (2 * 6, 5 * 5)
    assert set(trials.windows) == {2}
    # One window in common would bring them nearer.
    np.testing.assert_allclose(trials.distance, 1.0, rtol=1e-6)


def test_calibration_takes_any_number_of_trials(monkeypatch):
    rng = np.random.default_rng(0)
    names = [b"a", b"b", b"c"]
    windows = windows_of(*((name, name, float(at)) for name in names for at in range(12)))
    embedding = rng.normal(size=(36, 3)).astype(np.float32)

    def trials():
        return calibration_trials(EmbeddedWindows(embedding, windows, 1.0, unit_norm=False), 1.0)

    at_once = trials()
    monkeypatch.setattr("components.trainer.utterances.BLOCK", 7)
    for one, other in zip(at_once, trials(), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-6)


def test_calibration_weighs_utterances_of_every_length_alike():
    rows = [(name, name + take, float(at)) for name in (b"a", b"b") for take in (b"/1", b"/2")
            for at in range(4)]  # fmt: skip
    embedding = np.eye(16, dtype=np.float32)
    trials = calibration_trials(
        EmbeddedWindows(embedding, windows_of(*rows), 1.0, unit_norm=False), 1.0
    )
    # Two windows: three utterances of each recording, from every second on. Four: one.
    for windows, similar, dissimilar in ((2, 2 * 3 * 3, 6 * 6), (4, 2, 4)):
        of_length = trials.windows == windows
        np.testing.assert_allclose(trials.distance[of_length], np.sqrt(2 / windows), rtol=1e-5)
        for label, count in ((0, dissimilar), (1, similar)):
            part = of_length & (trials.label == label)
            assert np.sum(part) == count
            assert np.sum(trials.weight[part]) == pytest.approx(len(trials.label) / 4)


def test_calibration_compares_the_nearest_nontargets():
    names = [b"a", b"b", b"far", b"farther"]
    windows = windows_of(*((name, name, float(start)) for name in names for start in (0, 1)))
    place = {b"a": 0.0, b"b": 1.0, b"far": 10.0, b"farther": 100.0}
    embedding = np.array([[place[name]] for name in windows.speaker], np.float32)
    near, some, everybody = (
        calibration_trials(EmbeddedWindows(embedding, windows, 1.0, unit_norm=False), fraction)
        for fraction in (0.1, 0.6, 1.0)
    )
    # The nearest: a and b of each other, b of far, far of farther; the two nearest: a of far, b
    # of farther too. Two windows each make 4 trials of single windows, which count because nobody
    # has two utterances of two.
    for trials, pairs in ((near, 3), (some, 5), (everybody, 6)):
        assert np.sum(trials.label == 0) == pairs * 4
        assert np.sum(trials.label == 1) == 4


def test_calibration_keeps_utterances_on_the_sphere():
    windows = windows_of(*((b"a", b"a/1", float(start)) for start in range(8)))
    embedding = np.random.default_rng(0).normal(size=(8, 3)).astype(np.float32)
    embedding /= np.linalg.norm(embedding, axis=1, keepdims=True)
    trials = calibration_trials(EmbeddedWindows(embedding, windows, 1.0, unit_norm=True), 1.0)
    pairs = list(itertools.combinations(embedding, 2))
    expected = [np.linalg.norm(one - other) for one, other in pairs]
    np.testing.assert_allclose(np.sort(trials.distance), np.sort(expected), rtol=1e-5)


def test_calibration_counts_pairs_of_speakers_alike_however_much_they_speak():
    # Utterances of two windows: a has three recordings of one, b two, c one of two.
    starts = {b"a/1": 2, b"a/2": 2, b"a/3": 2, b"b/1": 2, b"b/2": 2, b"c/1": 4}
    rows = [(take[:1], take, float(at)) for take, count in starts.items() for at in range(count)]
    embedding = np.random.default_rng(0).normal(size=(len(rows), 3)).astype(np.float32)
    trials = calibration_trials(
        EmbeddedWindows(embedding, windows_of(*rows), 1.0, unit_norm=False), 1.0
    )
    # a 3, b 1, c 1 of its three, which overlap; a with b 3 x 2, a with c 3 x 3, b with c 2 x 3.
    similar, dissimilar = (trials.weight[trials.label == label] for label in (1, 0))
    assert sorted(similar / similar.sum()) == pytest.approx(sorted([1 / 9] * 3 + [1 / 3] * 2))
    assert sorted(dissimilar / dissimilar.sum()) == pytest.approx([1 / 27] * 9 + [1 / 18] * 12)
    assert similar.sum() == pytest.approx(dissimilar.sum())
    assert trials.weight.mean() == pytest.approx(1.0)


def test_calibration_tells_pairs_of_speakers_apart_in_any_order_of_recordings():
    # In the order of recordings the last speakers come first; near are a and d, b and c.
    takes = {b"d": (b"1",), b"c": (b"2",), b"a": (b"3", b"4"), b"b": (b"5", b"6", b"7")}
    rows = [(who, take, float(at)) for who in takes for take in takes[who] for at in range(2)]
    place = {b"a": 0.0, b"d": 1.0, b"b": 100.0, b"c": 101.0}
    embedding = np.array([[place[who]] for who, _, _ in rows], np.float32)
    trials = calibration_trials(
        EmbeddedWindows(embedding, windows_of(*rows), 1.0, unit_norm=False), 0.1
    )
    # a 1, b 3; d with a 2, c with b 3.
    similar, dissimilar = (trials.weight[trials.label == label] for label in (1, 0))
    assert sorted(similar / similar.sum()) == pytest.approx([1 / 6] * 3 + [1 / 2])
    assert sorted(dissimilar / dissimilar.sum()) == pytest.approx([1 / 6] * 3 + [1 / 4] * 2)
