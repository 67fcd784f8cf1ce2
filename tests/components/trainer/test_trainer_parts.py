"""Schedule, calibration, tower, streams and monitor, each on its own."""

import collections
import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf
from scipy.stats import norm
from sklearn.metrics import roc_auc_score

from components.errors import SwarError
from components.settings import TrainerSettings
from components.trainer import data
from components.trainer.calibration import (
    CalibrationTrials,
    calibrate,
    calibration_trials,
    promise,
)
from components.trainer.monitor import all_trials
from components.trainer.schedule import WarmupPolynomialDecay
from components.trainer.tower import build_tower
from components.trials import area_under_roc
from tests.support_pairs import FRAMES, MELS, write_pairs

SMALL = TrainerSettings(
    blocks=(1, 1, 1, 1), embedding_size=8, speakers_per_batch=3, windows_per_speaker=4
)


SHAPE = data.TrainShape(MELS, FRAMES, FRAMES)


def test_warm_up_rises_and_decay_ends_at_the_end_rate():
    rate = WarmupPolynomialDecay(peak=1e-3, end=1e-5, warmup_steps=10, total_steps=110, power=1.0)
    rates = [float(rate(step)) for step in range(111)]
    assert rates[0] == pytest.approx(1e-4)
    assert rates[9] == rates[10] == pytest.approx(1e-3)
    assert rates[60] == pytest.approx((1e-3 + 1e-5) / 2, rel=1e-3)
    assert rates[110] == pytest.approx(1e-5)
    assert np.all(np.diff(rates[10:]) < 0)
    assert WarmupPolynomialDecay(**rate.get_config()).get_config() == rate.get_config()


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
    promised = promise(trials, calibration, window_seconds=1.5)
    assert [part["seconds"] for part in promised["by_length"]] == [1.5, 3.0]
    assert [part["similar"] for part in promised["by_length"]] == [10_000, 10_000]
    assert [part["dissimilar"] for part in promised["by_length"]] == [0, 2_000]
    rejected = distance[10_000:20_000] > calibration.threshold
    assert promised["by_length"][1]["false_reject_rate"] == pytest.approx(rejected.mean(), rel=1e-6)
    assert (promised["similar"], promised["dissimilar"]) == (20_000, 2_000)
    # A threshold two standard deviations away from both means.
    assert promised["eer"] == pytest.approx(norm.cdf(-2.0), rel=0.3)
    assert promised["false_accept_rate"] == pytest.approx(norm.cdf(-2.0), rel=0.3)
    assert promised["false_reject_rate"] == pytest.approx(norm.cdf(-2.0), rel=0.3)


def test_a_model_that_learnt_nothing_is_refused():
    label = np.array([1, 0] * 50)
    with pytest.raises(SwarError, match="learnt nothing"):
        distance = np.where(label == 1, 1.0, 0.5).astype(np.float32)
        calibrate(CalibrationTrials(distance, label, np.ones(100), np.ones(100, np.int64)))
    with pytest.raises(SwarError, match="one kind only"):
        ones = np.ones(4, np.int64)
        calibrate(CalibrationTrials(ones.astype(np.float32), ones, np.ones(4), ones))


def windows_of(*rows):
    """Windows of (speaker, recording, start)."""
    speaker, recording, start = zip(*rows, strict=True)
    return data.Windows(
        spectrogram=np.zeros((len(rows), MELS, FRAMES), np.uint8),
        label=np.zeros(len(rows) // 2, np.int64),
        speaker=np.array(speaker, object),
        recording=np.array(recording, object),
        start_seconds=np.array(start, np.float32),
    )


def test_calibration_compares_utterances_that_share_no_sound():
    # A second each: a's second window overlaps the first, and c has one recording only.
    windows = windows_of(
        (b"a", b"a/1", 0.0), (b"a", b"a/1", 0.5), (b"a", b"a/1", 1.0), (b"a", b"a/2", 4.0),
        (b"a", b"a/2", 5.0), (b"c", b"c/1", 2.0), (b"c", b"c/1", 0.0),
    )  # fmt: skip
    embedding = np.eye(7, dtype=np.float32)
    trials = calibration_trials(embedding, windows, 1.0, unit_norm=False, nearest_fraction=1.0)
    # One window each: a has 2 of each recording, c has 2. Two: a has 2, c has 1. Four: nobody.
    assert int(np.sum(trials.label == 1)) == (2 * 2 + 1) + 1
    assert int(np.sum(trials.label == 0)) == 4 * 2 + 2
    single, double = np.sqrt(2.0), np.sqrt(4 * 0.5**2)
    assert sorted(set(np.round(trials.distance, 4))) == np.round([double, single], 4).tolist()
    by_length = [trials.distance > 1.2, trials.distance < 1.2]
    assert all(
        np.sum(trials.weight[part & (trials.label == label)]) == pytest.approx(4.0)
        for part in by_length
        for label in (0, 1)
    )


def test_calibration_compares_the_nearest_strangers():
    names = [b"a", b"b", b"far", b"farther"]
    windows = windows_of(*((name, name, float(start)) for name in names for start in (0, 1)))
    place = {b"a": 0.0, b"b": 1.0, b"far": 10.0, b"farther": 100.0}
    embedding = np.array([[place[name]] for name in windows.speaker], np.float32)
    near, some, everybody = (
        calibration_trials(embedding, windows, 1.0, unit_norm=False, nearest_fraction=fraction)
        for fraction in (0.1, 0.6, 1.0)
    )
    # The nearest: a and b of each other, b of far, far of farther; the two nearest: a of far, b
    # of farther too. Two windows each make 4 trials of single windows; utterances of two windows
    # are left out, because nobody has two of them.
    for trials, pairs in ((near, 3), (some, 5), (everybody, 6)):
        assert np.sum(trials.label == 0) == pairs * 4
        assert np.sum(trials.label == 1) == 4


def test_calibration_keeps_utterances_on_the_sphere():
    windows = windows_of(*((b"a", b"a/1", float(start)) for start in range(8)))
    embedding = np.random.default_rng(0).normal(size=(8, 3)).astype(np.float32)
    embedding /= np.linalg.norm(embedding, axis=1, keepdims=True)
    trials = calibration_trials(embedding, windows, 1.0, unit_norm=True, nearest_fraction=1.0)
    pairs = list(itertools.combinations(embedding, 2))
    expected = [np.linalg.norm(one - other) for one, other in pairs]
    np.testing.assert_allclose(np.sort(trials.distance), np.sort(expected), rtol=1e-5)


@pytest.mark.parametrize(("head", "size"), [("pooled", 8), ("statistics", 8), ("flatten", None)])
def test_tower_embeds_uint8_windows(head, size):
    tower = build_tower(SMALL.model_copy(update={"head": head}), MELS, FRAMES)
    embedding = tower(np.random.default_rng(0).integers(0, 255, (3, MELS, FRAMES)).astype(np.uint8))
    assert embedding.dtype == tf.float32
    if size:
        assert embedding.shape == (3, size)
        np.testing.assert_allclose(np.linalg.norm(embedding, axis=1), 1.0, rtol=1e-5)
    momenta = {
        layer.momentum
        for layer in tower._flatten_layers()
        if isinstance(layer, keras.layers.BatchNormalization)
    }
    assert momenta == {SMALL.batch_norm_momentum}


def test_default_tower_is_densenet121():
    tower = build_tower(TrainerSettings(), 64, 96)
    ours = next(
        layer for layer in tower.layers if isinstance(layer, keras.Model) and len(layer.layers) > 9
    )
    theirs = keras.applications.DenseNet121(
        include_top=False, weights=None, input_shape=(64, 96, 3)
    )
    assert [weight.shape for weight in ours.weights] == [weight.shape for weight in theirs.weights]


@pytest.mark.parametrize(
    ("update", "message"),
    [
        ({"weights": "imagenet"}, "imagenet but trainer.blocks"),
        ({"weights": "missing.weights.h5"}, "neither imagenet, none nor a file"),
    ],
)
def test_unusable_weights_are_named(update, message):
    with pytest.raises(SwarError, match=message):
        build_tower(SMALL.model_copy(update=update), MELS, FRAMES)


def test_weights_file_is_loaded_and_a_wrong_one_refused(tmp_path):
    path = tmp_path / "dense.weights.h5"
    first = build_tower(SMALL, MELS, FRAMES)
    dense = next(layer for layer in first.layers if len(getattr(layer, "layers", [])) > 9)
    dense.save_weights(path)
    again = build_tower(SMALL.model_copy(update={"weights": str(path)}), MELS, FRAMES)
    loaded = next(layer for layer in again.layers if len(getattr(layer, "layers", [])) > 9)
    np.testing.assert_array_equal(dense.get_weights()[0], loaded.get_weights()[0])
    path.write_bytes(b"not weights")
    with pytest.raises(SwarError, match="cannot be used"):
        build_tower(SMALL.model_copy(update={"weights": str(path)}), MELS, FRAMES)


def test_balanced_batches_have_equal_numbers_of_each_speaker(tmp_path):
    stream = data.balanced_windows(write_pairs(tmp_path / "train"), SMALL, SHAPE)
    seen = set()
    for windows, speaker in stream.take(10):
        assert windows.shape == (12, MELS, FRAMES)
        counts = collections.Counter(speaker.numpy().tolist())
        assert all(count % SMALL.windows_per_speaker == 0 for count in counts.values())
        # A window and the hash beside it belong together.
        by_hash = dict(zip(speaker.numpy().tolist(), windows.numpy()[:, 0, 0], strict=True))
        assert all(
            by_hash[s] == w for s, w in zip(speaker.numpy(), windows.numpy()[:, 0, 0], strict=True)
        )
        seen |= set(counts)
    assert len(seen) == 6


def test_listed_batches_keep_pairs_together(tmp_path):
    stream = data.listed_pairs(
        write_pairs(tmp_path / "train"),
        SMALL.model_copy(update={"pairs_per_batch": 8}),
        SHAPE,
    )
    for windows, label in stream.take(5):
        assert windows.shape == (16, MELS, FRAMES)
        same = windows.numpy()[::2, 0, 0] == windows.numpy()[1::2, 0, 0]
        np.testing.assert_array_equal(label.numpy()[::2] == 1, same)
        np.testing.assert_array_equal(label.numpy()[::2], label.numpy()[1::2])


def test_streams_repeat_with_their_seed(tmp_path):
    patterns = write_pairs(tmp_path / "train")

    def first_batch(seed):
        settings = SMALL.model_copy(update={"seed": seed})
        return next(iter(data.balanced_windows(patterns, settings, SHAPE)))[1].numpy()

    np.testing.assert_array_equal(first_batch(0), first_batch(0))
    assert not np.array_equal(first_batch(0), first_batch(1))


def test_batches_are_cut_to_lengths_between_the_two(tmp_path):
    shape = data.TrainShape(MELS, FRAMES, FRAMES - 5)
    assert shape.only_frames is None
    patterns = write_pairs(tmp_path / "train", noisy=True)
    stored = data.load_windows(patterns, MELS, FRAMES, pairs=40).spectrogram
    lengths = set()
    for windows, _ in data.balanced_windows(patterns, SMALL, shape).take(40):
        length = windows.shape[2]
        lengths.add(length)
        # Neighbouring frames of a stored window.
        assert any(
            np.all(stored[:, :, at : at + length] == windows[0], axis=(1, 2)).any()
            for at in range(FRAMES - length + 1)
        )
    assert lengths == set(range(FRAMES - 5, FRAMES + 1))


def test_masks_blank_bands_of_the_training_stream(tmp_path):
    patterns = write_pairs(tmp_path / "train")
    settings = SMALL.model_copy(update={"time_mask_frames": 10, "frequency_mask_mels": 8})
    windows, _speaker = next(iter(data.balanced_windows(patterns, settings, SHAPE)))
    plain, _ = next(iter(data.balanced_windows(patterns, SMALL, SHAPE)))
    assert windows.dtype == tf.uint8
    masked = (windows.numpy() == 0) & (plain.numpy() > 0)
    assert 0 < masked.mean() < 0.6
    columns, lines = masked.all(axis=1), masked.all(axis=2)
    explained = columns[:, None, :] | lines[:, :, None]
    np.testing.assert_array_equal(masked, explained & (plain.numpy() > 0))


def test_no_pairs_is_an_error_that_names_the_files(tmp_path):
    with pytest.raises(SwarError, match="no pairs in"):
        data.pair_records([str(tmp_path / "Split-train" / "*")])


def test_monitored_trials_leave_out_windows_that_share_samples():
    rng = np.random.default_rng(0)
    speaker = np.array([b"a", b"a", b"a", b"b", b"b", b"b"])
    windows = data.Windows(
        spectrogram=np.zeros((6, 1, 1), np.uint8),
        label=np.ones(3, np.int64),
        speaker=speaker,
        recording=np.array([b"a1", b"a1", b"a2", b"b1", b"b1", b"b1"]),
        start_seconds=np.array([0.0, 1.0, 1.0, 0.0, 2.0, 4.0], np.float32),
    )
    embedding = rng.normal(size=(6, 3)).astype(np.float32)
    trials = all_trials(embedding, windows, window_seconds=1.5)
    assert trials.counts[1].sum() == 2 + 3  # a1@0 and a1@1 overlap
    assert trials.counts[0].sum() == 9
    first, second = np.triu_indices(6, k=1)
    used = ~((first == 0) & (second == 1))
    distance = np.linalg.norm(embedding[first] - embedding[second], axis=1)[used]
    label = (speaker[first] == speaker[second])[used]
    assert area_under_roc(trials) == pytest.approx(roc_auc_score(label, -distance), abs=1e-3)
