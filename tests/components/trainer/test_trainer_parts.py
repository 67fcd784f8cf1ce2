"""Schedule, tower, streams and monitor, each on its own."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from sklearn.metrics import roc_auc_score

from components.errors import SwarError
from components.frontend import LogMelSpectrogram, Quantise
from components.model.tower import build_tower
from components.settings import SpectrogramSettings, TrainerSettings
from components.trainer import data
from components.trainer import monitor as monitor_module
from components.trainer.monitor import TrialMonitor, WindowEmbedder, all_trials
from components.trainer.optimizer import WarmupPolynomialDecay
from components.verification.error_rates import area_under_roc
from tests.components.trainer.support_windows import windows_of
from tests.support_pairs import FRAMES, MELS, write_pairs

SMALL = TrainerSettings(blocks=(1, 1, 1, 1), embedding_size=8, pairs_per_batch=6)


SHAPE = data.TrainShape(MELS, FRAMES, FRAMES)


def test_warm_up_rises_and_decay_ends_at_the_end_rate():
    rate = WarmupPolynomialDecay(peak=1e-3, end=1e-5, warmup_steps=10, total_steps=110, power=1.0)
    rates = [float(rate(step)) for step in range(111)]
    assert rates[0] == pytest.approx(1e-4)
    assert rates[9] == rates[10] == pytest.approx(1e-3)
    assert rates[60] == pytest.approx((1e-3 + 1e-5) / 2, rel=1e-3)
    assert rates[110] == pytest.approx(1e-5)
    assert np.all(np.diff(rates[10:]) < 0)


@pytest.mark.parametrize(("head", "size"), [("pooled", 8), ("flatten", None)])
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


def batches(patterns, settings=SMALL, shape=SHAPE):
    return data.training_batches(patterns, settings, shape, settings.pairs_per_batch)


def test_batches_hold_pairs_of_one_speaker_with_their_hash(tmp_path):
    stream = batches(write_pairs(tmp_path / "train", dissimilar=False))
    seen = set()
    for windows, speaker in stream.take(10):
        assert windows.dtype == tf.uint8 and windows.shape == (12, MELS, FRAMES)
        assert speaker.dtype == tf.int64
        np.testing.assert_array_equal(speaker.numpy()[::2], speaker.numpy()[1::2])
        # A window and the hash beside it belong together.
        by_hash = dict(zip(speaker.numpy().tolist(), windows.numpy()[:, 0, 0], strict=True))
        assert all(
            by_hash[s] == w for s, w in zip(speaker.numpy(), windows.numpy()[:, 0, 0], strict=True)
        )
        seen |= set(speaker.numpy().tolist())
    assert len(seen) == 6


def test_listed_batches_have_labels(tmp_path):
    settings = SMALL.model_copy(update={"pairs_per_batch": 8, "loss": "listed"})
    for windows, label in batches(write_pairs(tmp_path / "train"), settings).take(5):
        assert windows.shape == (16, MELS, FRAMES)
        same = windows.numpy()[::2, 0, 0] == windows.numpy()[1::2, 0, 0]
        np.testing.assert_array_equal(label.numpy()[::2] == 1, same)
        np.testing.assert_array_equal(label.numpy()[::2], label.numpy()[1::2])


def test_an_epoch_reads_every_pair_once(tmp_path):
    patterns = write_pairs(tmp_path / "train", pairs=36, noisy=True, dissimilar=False)
    stored = data.load_windows(patterns, MELS, FRAMES, pairs=36).spectrogram
    (epoch,) = batches(patterns, SMALL.model_copy(update={"pairs_per_batch": 36})).take(1)
    read = epoch[0].numpy()
    assert {window.tobytes() for window in read} == {window.tobytes() for window in stored}
    assert not np.array_equal(read, stored)


def test_a_stream_continues_behind_the_batches_that_were_had(tmp_path):
    patterns = write_pairs(tmp_path / "train", pairs=36, noisy=True, dissimilar=False)
    settings = SMALL.model_copy(update={"pairs_per_batch": 8})
    whole = list(batches(patterns, settings).take(12))  # more than two passes
    rest = data.training_batches(patterns, settings, SHAPE, 8, skipped=5).take(7)
    for (windows, _), (expected, _) in zip(rest, whole[5:], strict=True):
        np.testing.assert_array_equal(windows, expected)


def test_streams_repeat_with_their_seed(tmp_path):
    patterns = write_pairs(tmp_path / "train", noisy=True)

    def first(seed):
        stream = batches(patterns, SMALL.model_copy(update={"seed": seed}))
        return np.concatenate([windows.numpy() for windows, _ in stream.take(9)])

    np.testing.assert_array_equal(first(0), first(0))
    assert not np.array_equal(first(0), first(1))


def test_batches_are_cut_to_lengths_between_the_two(tmp_path):
    shape = data.TrainShape(MELS, FRAMES, FRAMES - 5)
    assert shape.only_frames is None
    patterns = write_pairs(tmp_path / "train", noisy=True)
    stored = data.load_windows(patterns, MELS, FRAMES, pairs=40).spectrogram
    assert stored.max(axis=(1, 2)).min() < 255, "a cut must have something to raise"
    lengths = set()
    for windows, _ in batches(patterns, SMALL, shape).take(40):
        length = windows.shape[2]
        lengths.add(length)
        # Neighbouring frames of a stored window, and their peak is 255.
        below_peak = windows[0].numpy().max() - windows[0].numpy()
        cuts = (stored[:, :, at : at + length] for at in range(FRAMES - length + 1))
        assert any(
            np.all(cut.max(axis=(1, 2), keepdims=True) - cut == below_peak, axis=(1, 2)).any()
            for cut in cuts
        )
        assert np.all(windows.numpy().max(axis=(1, 2)) == 255)
    assert lengths == set(range(FRAMES - 5, FRAMES + 1))


def test_a_stretch_of_a_longer_window_is_what_the_front_end_makes_of_it():
    spectrogram = LogMelSpectrogram.of(16_000, SpectrogramSettings())
    quantise = Quantise(spectrogram.top_db)
    hop = spectrogram.hop_samples
    noise = np.random.default_rng(0).normal(0, 0.01, 200 * hop).astype(np.float32)
    noise[150 * hop :] *= 10.0  # the longer window's peak is 20 dB above the stretch's
    whole = quantise(spectrogram(noise[None]))
    stretch = quantise(spectrogram(noise[None, 40 * hop : 136 * hop])).numpy()
    cut = data.relative_to_peak(whole[:, :, 40:137]).numpy()
    assert whole.numpy()[:, :, 40:137].max() < 200
    # At its edges the stretch hears zeros where the longer window hears what is beside it.
    inner = (slice(None), slice(None), slice(1, -1))
    np.testing.assert_allclose(cut[inner].astype(int), stretch[inner].astype(int), atol=2)


def test_masks_blank_bands_of_the_training_stream(tmp_path):
    patterns = write_pairs(tmp_path / "train")
    settings = SMALL.model_copy(update={"time_mask_frames": 10, "frequency_mask_mels": 8})
    windows, _speaker = next(iter(batches(patterns, settings)))
    plain, _ = next(iter(batches(patterns)))
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


def test_an_epoch_that_diverged_does_not_take_the_place_of_the_best(monkeypatch):
    eers = iter([np.nan, np.nan, 0.2, 0.2, 0.1, 0.1, np.nan, np.nan, 0.1, 0.1, 0.3, 0.3])
    monkeypatch.setattr(monitor_module, "equal_error_rate", lambda _: next(eers))
    windows = windows_of((b"a", b"a/1", 0.0), (b"a", b"a/2", 0.0), (b"b", b"b/1", 0.0))
    watched = {"calibration": windows, "eval": windows}
    tower = build_tower(SMALL, MELS, FRAMES)
    monitor = TrialMonitor(watched, WindowEmbedder(tower), 1.0, epochs=6)
    monitor.set_model(tower)
    best = []
    for epoch in range(6):
        monitor.on_epoch_end(epoch, {"loss": 0.0})
        assert monitor.best is not None
        best.append(monitor.best.epoch)
    assert best == [0, 1, 2, 2, 4, 4]
