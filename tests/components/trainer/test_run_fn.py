"""One whole training, small: what it leaves behind, and that it resumes."""

import json
import re
from pathlib import Path
from types import SimpleNamespace

import keras
import numpy as np
import pytest
import tensorflow as tf
from scipy.special import expit

from components import spectrogram_codec
from components.errors import SwarError
from components.model.files import TOWER_WEIGHTS
from components.model.normalisation import CohortNormalisation, distances, speaker_means
from components.model.tower import build_tower
from components.settings import (
    AugmentationSettings,
    ServingSettings,
    SpectrogramSettings,
    SpeechSettings,
    TrainerSettings,
)
from components.trainer import data, decisions, mixed_conditions
from components.trainer.run_fn import run_fn
from tests.bad_recordings import encoded, speech_like
from tests.support_pairs import FRAMES, MELS, write_pairs

SPEECH = SpeechSettings(sample_rate=8_000, require_voice=False)
# 1 + 4992 // 128 = 40 frames.
SPECTROGRAM = SpectrogramSettings(window_seconds=0.624, n_fft=256, hop_samples=128, n_mels=32)
SMALL = TrainerSettings(
    weights="none",
    learning_rate=1e-3,
    augmentation=AugmentationSettings(),  # the speakers of support_pairs differ in level alone
    blocks=(1, 1, 1, 1),
    embedding_size=8,
    pairs_per_batch=8,
    epochs=2,
    steps_per_epoch=4,
    warmup_steps=1,
    monitor_windows=40,
    normalisation_nearest=0,
)


def arguments(folder, settings, spectrogram=SPECTROGRAM):
    for number, split in enumerate(("train", "calibration", "eval")):
        if not (folder / f"Split-{split}").exists():
            dissimilar = settings.reads_dissimilar or split != "train"
            write_pairs(folder / f"Split-{split}", seed=number, noisy=True, dissimilar=dissimilar)
    return SimpleNamespace(
        custom_config={
            "trainer": settings.model_dump_json(),
            "speech": SPEECH.model_dump_json(),
            "spectrogram": spectrogram.model_dump_json(),
            "serving": ServingSettings(max_windows=3).model_dump_json(),
            "provenance": {"config_digest": "c", "data_digest": "d", "code_digest": "e"},
            "checkpoints": str(folder / "checkpoints"),
            "gpus": 0,
        },
        train_files=[str(folder / "Split-train" / "*")],
        eval_files=[str(folder / "Split-calibration" / "*"), str(folder / "Split-eval" / "*")],
        hyperparameters=None,
        model_run_dir=str(folder / "model_run"),
        serving_model_dir=str(folder / "model"),
    )


def progress_lines(caplog):
    return [record.getMessage() for record in caplog.records if record.name == "swar.progress"]


def test_a_training_that_was_given_a_gpu_does_not_begin_without_one(tmp_path, monkeypatch):
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: [])
    fn_args = arguments(tmp_path, SMALL)
    fn_args.custom_config["gpus"] = 1
    with pytest.raises(SwarError, match=r"asks for 1 and TensorFlow sees 0"):
        run_fn(fn_args)
    assert not (tmp_path / "checkpoints").exists()


def test_where_batches_are_degraded_so_is_half_of_the_calibration_speech(tmp_path, monkeypatch):
    asked = []

    def watch(windows, augmentation, seed):
        degraded = mixed_conditions.half_degraded(windows, augmentation, seed)
        asked.append(np.mean(np.any(degraded.spectrogram != windows.spectrogram, axis=(1, 2))))
        return windows  # these know speakers by their level, which is what is lost

    monkeypatch.setattr(decisions, "half_degraded", watch)
    tilted = AugmentationSettings(tilt_probability=1.0)
    run_fn(arguments(tmp_path, SMALL.model_copy(update={"augmentation": tilted})))
    assert len(asked) == 1 and 0.2 < asked[0] < 0.8
    run_fn(arguments(tmp_path, SMALL))
    assert len(asked) == 1


@pytest.mark.parametrize(
    "update",
    [
        {},
        {"loss": "listed", "head": "flatten", "margin": 3.0},
        {"precision": "mixed_float16", "time_mask_frames": 4, "frequency_mask_mels": 4},
    ],
    ids=["supervised", "listed", "mixed_float16"],
)
def test_a_training_leaves_a_calibrated_float32_model(tmp_path, update, caplog):
    caplog.set_level("INFO", "swar.progress")
    policy = keras.config.dtype_policy()
    run_fn(arguments(tmp_path, SMALL.model_copy(update=update)))
    assert keras.config.dtype_policy() == policy

    model = tf.saved_model.load(str(tmp_path / "model"))
    assert set(model.signatures) == {
        "serving_default", "embed", "score_embeddings", "score_pairs", "describe",
    }  # fmt: skip
    records = [
        record
        for path in (tmp_path / "Split-eval").glob("*")
        for record in tf.data.TFRecordDataset(str(path)).as_numpy_iterator()
    ]
    # More than one part of the tower's loop, and the last part not full.
    scores = model.signatures["score_pairs"](examples=tf.constant(records * 2))
    parsed = [tf.train.Example.FromString(record).features.feature for record in records]
    embeddings = {}
    for side in "ab":
        windows = [feature[f"spectrogram_{side}"].bytes_list.value[0] for feature in parsed]
        pixels = np.stack([spectrogram_codec.decode(window, MELS) for window in windows])
        embeddings[side] = model.embed_windows(pixels)
        assert embeddings[side].dtype == tf.float32
    distance = np.linalg.norm(embeddings["a"] - embeddings["b"], axis=1)
    np.testing.assert_allclose(scores["distance"][: len(records)], distance, atol=2e-3)

    card = json.loads((tmp_path / "model/assets.extra/swar.json").read_text())
    (said,) = model.signatures["describe"](query=tf.constant([""]))["card"].numpy()
    assert json.loads(said) == card
    expected = expit(card["slope"] * (card["threshold"] - scores["distance"].numpy()))
    np.testing.assert_allclose(scores["probability"], expected, atol=1e-4)
    assert (card["sample_rate"], card["serving"]["max_windows"]) == (8_000, 3)
    assert [row["epoch"] for row in card["history"]] == [1, 2]
    for split in ("train", "calibration", "eval"):
        assert 0.0 <= card["history"][-1][f"{split}_eer"] <= 1.0
        assert card["history"][-1][f"{split}_mean_dissimilar_distance"] > 0.0
    assert card["calibration"]["speakers"] > 1
    for among_all, among_nearest in zip(
        *(card["calibration"][name] for name in ("nontargets", "nearest_nontargets")), strict=True
    ):
        assert among_all["false_reject_rate"] == among_nearest["false_reject_rate"]
        assert among_all["dissimilar"] >= among_nearest["dissimilar"] > 0
        assert 0.0 <= among_all["false_accept_rate"]["value"] <= 1.0
    recording = encoded(speech_like(0, 8_000), 8_000)
    embedded = model.signatures["embed"](audio=tf.constant([recording]))
    length = np.linalg.norm(embedded["embedding"])
    assert (length == pytest.approx(1.0, abs=1e-5)) == (update.get("head") != "flatten")
    assert embedded["model_digest"].numpy() == [card["model_digest"].encode()]
    assert (card["config_digest"], card["data_digest"], card["code_digest"]) == ("c", "d", "e")
    assert list((tmp_path / "model_run").rglob("events.out.tfevents.*"))
    assert not any((tmp_path / "checkpoints").iterdir())
    first, *lines = progress_lines(caplog)
    assert re.fullmatch(r"the graph and its first step: \d+\.\d s", first)
    for epoch, (speed, quality) in enumerate(zip(lines[:4:2], lines[1:4:2], strict=True), start=1):
        assert quality.startswith(f"epoch {epoch}/2: loss ")
        assert re.fullmatch(
            rf"epoch {epoch}/2: \d+\.\d windows/s, waiting for input \d+\.\d %, "
            r"\d+\.\d of \d+ cores busy",
            speed,
        )


def test_a_training_that_was_cut_off_continues_at_its_epoch(tmp_path, monkeypatch, caplog):
    caplog.set_level("INFO", "swar.progress")
    from components.trainer import monitor

    fn_args = arguments(tmp_path, SMALL.model_copy(update={"epochs": 4}))
    real = monitor.TrialMonitor.on_epoch_end

    def cut_off(self, epoch, logs=None):
        real(self, epoch, logs)
        if epoch == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(monitor.TrialMonitor, "on_epoch_end", cut_off)
    with pytest.raises(KeyboardInterrupt):
        run_fn(fn_args)
    assert not Path(fn_args.serving_model_dir).exists()
    monkeypatch.undo()
    caplog.clear()
    run_fn(fn_args)
    epochs = [line.split(":")[0] for line in progress_lines(caplog) if ": loss " in line]
    assert epochs == ["epoch 3/4", "epoch 4/4"]
    card = json.loads(Path(fn_args.serving_model_dir, "assets.extra/swar.json").read_text())
    assert [row["epoch"] for row in card["history"]] == [1, 2, 3, 4]
    assert (Path(fn_args.serving_model_dir) / "saved_model.pb").exists()
    # From there on it had the pairs of a training that was not cut off.
    run_fn(arguments(tmp_path / "whole", SMALL.model_copy(update={"epochs": 4})))
    whole = json.loads((tmp_path / "whole/model/assets.extra/swar.json").read_text())
    assert card["history"] == whole["history"]


def test_the_same_settings_give_the_same_model(tmp_path, monkeypatch):
    scores, cards, traced = [], [], []
    real = keras.Model.train_step

    def train_step(self, batch):
        traced.append(self)
        return real(self, batch)

    monkeypatch.setattr(keras.Model, "train_step", train_step)
    for name in ("one", "two"):
        run_fn(arguments(tmp_path / name, SMALL))
        model = tf.saved_model.load(str(tmp_path / name / "model"))
        pixels = np.arange(MELS * FRAMES, dtype=np.uint8).reshape(1, MELS, FRAMES)
        scores.append(model.embed_windows(pixels).numpy())
        cards.append((tmp_path / name / "model/assets.extra/swar.json").read_text())
    np.testing.assert_array_equal(scores[0], scores[1])
    assert cards[0] == cards[1]
    assert len(traced) == 2  # a step's graph, the dearest to build, is built once for a training


def test_the_mean_of_the_starting_and_the_trained_weights_is_published(tmp_path):
    start = build_tower(SMALL, MELS, FRAMES)
    start.save_weights(tmp_path / "start.weights.h5")
    once = SMALL.model_copy(update={"weights": str(tmp_path / "start.weights.h5"), "epochs": 1})
    published = {}
    for share in (0.0, 0.25):
        folder = tmp_path / str(share)
        run_fn(arguments(folder, once.model_copy(update={"starting_share": share})))
        tower = build_tower(SMALL, MELS, FRAMES)
        tower.load_weights(folder / "model" / TOWER_WEIGHTS)
        published[share] = tower.get_weights()
    assert any(
        not np.array_equal(*each) for each in zip(start.get_weights(), published[0.0], strict=True)
    )
    for began, trained, mean in zip(
        start.get_weights(), published[0.0], published[0.25], strict=True
    ):
        np.testing.assert_allclose(mean, 0.25 * began + 0.75 * trained, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("weights", ["none", "imagenet"])
def test_weights_that_know_no_voices_are_not_kept(weights):
    with pytest.raises(ValueError, match=r"starting_share 0\.5 would keep weights that know no"):
        TrainerSettings(weights=weights, starting_share=0.5)


def test_distances_are_told_relative_to_the_training_voices(tmp_path):
    settings = SMALL.model_copy(update={"epochs": 1, "normalisation_nearest": 3})
    run_fn(arguments(tmp_path, settings))
    model = tf.saved_model.load(str(tmp_path / "model"))
    embedding = tf.math.l2_normalize(tf.random.stateless_normal([40, 8], [1, 2]), axis=1)
    scores = model.signatures["score_embeddings"](
        embedding_a=embedding[:20], embedding_b=embedding[20:]
    )
    windows = data.load_windows([str(tmp_path / "Split-train/*")], MELS, FRAMES, pairs=3_000)
    cohort = speaker_means(
        model.embed_windows(windows.spectrogram).numpy(), windows.speaker, unit_norm=True
    )
    normalisation = CohortNormalisation(cohort, 3)
    expected = distances(embedding, np.arange(20), np.arange(20, 40), normalisation)
    np.testing.assert_allclose(scores["distance"], expected, rtol=1e-3, atol=1e-3)


def test_a_tower_trained_on_several_lengths_serves_one(tmp_path):
    longest = SPECTROGRAM.hop_samples * (FRAMES - 1) / SPEECH.sample_rate
    shorter = SPECTROGRAM.model_copy(
        update={"window_seconds": 0.528, "longest_train_window_seconds": longest}
    )
    frames = shorter.frames(SPEECH.sample_rate)
    assert (frames, shorter.of_train().frames(SPEECH.sample_rate)) == (34, FRAMES)
    for number, split in enumerate(("calibration", "eval")):
        write_pairs(tmp_path / f"Split-{split}", seed=number, noisy=True, frames=frames)
    settings = SMALL.model_copy(update={"epochs": 1})
    run_fn(arguments(tmp_path, settings, shorter))
    model = tf.saved_model.load(str(tmp_path / "model"))
    recording = encoded(speech_like(0, 8_000), 8_000)
    answer = model.signatures["embed"](audio=tf.constant([recording]))
    assert answer["status"].numpy() == [b"ok"]
    assert model.embed_windows(np.zeros((2, MELS, frames), np.uint8)).shape == (2, 8)
