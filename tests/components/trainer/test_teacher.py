"""Another encoder's embeddings as targets."""

import numpy as np
import pytest
import tensorflow as tf

from components.errors import SwarError
from components.settings import AugmentationSettings, TrainerSettings
from components.spectrogram_pair_gen.sampling import TrainSpeaker
from components.trainer.data import TrainShape, training_batches
from components.trainer.losses import TeacherLoss
from components.trainer.run_fn import run_fn
from components.trainer.teacher import Teacher, write
from tests.components.trainer.test_run_fn import SMALL, arguments
from tests.support_pairs import FRAMES, MELS, write_pairs

SPEAKERS = [f"s{number}" for number in range(6)]
RECORDINGS = [f"r{number}" for number in range(6)]


def taught(tmp_path, embedding=None, **update):
    rng = np.random.default_rng(0)
    if embedding is None:
        embedding = rng.uniform(0.0, 1.0, (len(RECORDINGS), 8)).astype(np.float32)
    write(tmp_path / "teacher.npz", SPEAKERS, RECORDINGS, embedding)
    return SMALL.model_copy(update={"teacher": str(tmp_path / "teacher.npz"), **update})


def test_embeddings_are_found_by_speaker_and_recording_around_their_mean(tmp_path):
    embedding = np.random.default_rng(0).uniform(0.0, 1.0, (6, 8)).astype(np.float32)
    teacher = Teacher(taught(tmp_path, embedding))
    found = teacher(tf.constant(["s3", "s0", "s3"]), tf.constant(["r3", "r0", "r3"])).numpy()
    around = embedding - embedding.mean(axis=0)
    expected = (around / np.linalg.norm(around, axis=1, keepdims=True))[[3, 0, 3]]
    np.testing.assert_allclose(found, expected, atol=2e-3)


def test_a_recording_that_the_teacher_did_not_hear_is_named(tmp_path):
    teacher = Teacher(taught(tmp_path))
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"not in trainer.teacher .*[\s\S]*r9"):
        teacher(tf.constant(["s0", "s9"]), tf.constant(["r0", "r9"]))


def test_a_recording_at_another_speed_has_an_embedding_of_its_own(tmp_path):
    speakers = [TrainSpeaker("s0"), TrainSpeaker("s0", 0.9)]
    rows = np.eye(2, 8, dtype=np.float32)
    write(tmp_path / "teacher.npz", [speaker.name for speaker in speakers], ["r0", "r0"], rows)
    teacher = Teacher(SMALL.model_copy(update={"teacher": str(tmp_path / "teacher.npz")}))
    names = tf.constant([speaker.name for speaker in speakers])
    found = teacher(names, tf.constant(["r0", "r0"])).numpy()
    around = rows - rows.mean(axis=0)
    np.testing.assert_allclose(found, around / np.linalg.norm(around, axis=1)[:, None], atol=2e-3)
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"not in trainer\.teacher"):
        teacher(tf.constant([TrainSpeaker("s0", 1.1).name]), tf.constant(["r0"]))


def test_a_file_that_is_none_is_refused(tmp_path):
    (tmp_path / "wrong.npz").write_bytes(b"nothing")
    for name in ("missing.npz", "wrong.npz"):
        with pytest.raises(SwarError, match=f"trainer.teacher '.*{name}' cannot be read"):
            Teacher(SMALL.model_copy(update={"teacher": str(tmp_path / name)}))


def test_a_teacher_of_another_size_is_refused(tmp_path):
    with pytest.raises(SwarError, match=r"embeddings of \[6, 8\]: .* set trainer.embedding_size"):
        Teacher(taught(tmp_path, embedding_size=16))


def test_batches_give_speaker_and_teacher_of_each_window(tmp_path):
    settings = taught(tmp_path)
    patterns = write_pairs(tmp_path / "train", dissimilar=False)
    shape = TrainShape(MELS, FRAMES, FRAMES)
    windows, (speaker, target) = next(iter(training_batches(patterns, settings, shape, 8)))
    assert (len(windows), len(speaker), target.shape) == (16, 16, (16, 8))
    speakers, recordings = (
        tf.constant([f"{letter}{int(window[0, 0])}" for window in windows]) for letter in "sr"
    )
    np.testing.assert_array_equal(target, Teacher(settings)(speakers, recordings))


def test_the_loss_is_one_minus_the_cosine():
    rng = np.random.default_rng(0)
    one, other = (tf.math.l2_normalize(rng.normal(size=(5, 8)), axis=1) for _ in range(2))
    one, other = (tf.cast(each, tf.float32) for each in (one, other))
    expected = 1.0 - np.sum(one.numpy() * other.numpy(), axis=1)
    np.testing.assert_allclose(TeacherLoss(reduction="none")(one, other), expected, atol=1e-6)
    assert float(TeacherLoss()(one, one)) == pytest.approx(0.0, abs=1e-6)


def test_a_tower_learns_from_its_teacher(tmp_path):
    """A teacher who tells speakers apart; a loss that counts for nothing beside it."""
    settings = taught(
        tmp_path,
        np.eye(6, 8, dtype=np.float32),
        teacher_weight=1e4,
        epochs=6,
        steps_per_epoch=10,
        learning_rate=0.01,
        augmentation=AugmentationSettings(),  # their levels are all that these windows have
    )
    run_fn(arguments(tmp_path, settings))
    model = tf.saved_model.load(str(tmp_path / "model"))
    teacher = Teacher(settings)
    apart = []
    for number, names in enumerate(zip(SPEAKERS, RECORDINGS, strict=True)):
        window = np.full((1, MELS, FRAMES), 40 * number + 4, np.uint8)
        target = teacher(*(tf.constant([name]) for name in names))
        apart.append(1.0 - float(tf.reduce_sum(model.embed_windows(window) * target)))
    assert np.mean(apart) < 0.5


def test_settings_without_a_teacher_have_none():
    assert TrainerSettings().teacher is None
