"""Which version is taken, what is no model, and that batches keep their order."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from components.errors import SwarError
from components.model import base as base_model
from components.model.files import MODEL_CARD, model_folder, read_card, version_folder
from components.model.published import PublishedModel


class ToySavedModel(tf.Module):
    """An embedding is the audio's length, which is "ok" above two bytes."""

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, "audio")])
    def embed(self, audio):
        length = tf.cast(tf.strings.length(audio), tf.float32)
        return {
            "embedding": tf.stack([length, -length], axis=1),
            "speech_seconds": length / 10.0,
            "status": tf.where(length > 2, "ok", "too_short"),
        }

    @tf.function(
        input_signature=[
            tf.TensorSpec([None, 2], tf.float32, "embedding_a"),
            tf.TensorSpec([None, 2], tf.float32, "embedding_b"),
        ]
    )
    def score_embeddings(self, embedding_a, embedding_b):
        distance = tf.norm(embedding_a - embedding_b, axis=1)
        return {
            "distance": distance,
            "probability": tf.exp(-distance),
            "same_speaker": distance < 1.0,
        }


CARD = {
    "sample_rate": 8_000,
    "embedding_size": 2,
    "threshold": 1.0,
    "model_digest": "one",
    "made": "here",
}


def write_model(folder, *names):
    toy = ToySavedModel()
    tf.saved_model.save(toy, str(folder), signatures={name: getattr(toy, name) for name in names})
    card = folder / MODEL_CARD
    card.parent.mkdir()
    card.write_text(json.dumps(CARD))
    return folder


@pytest.fixture(scope="module")
def toy(tmp_path_factory):
    folder = tmp_path_factory.mktemp("published") / "1"
    return PublishedModel(write_model(folder, "embed", "score_embeddings"))


def test_the_highest_complete_version_is_taken(tmp_path):
    for name in ("9", "10", "11", ".tmp-12", "stable"):
        (tmp_path / name).mkdir()
        if name != "11":
            (tmp_path / name / "saved_model.pb").write_bytes(b"")
    assert version_folder(tmp_path) == tmp_path / "10"
    assert version_folder(tmp_path / "9") == tmp_path / "9"


def test_no_version_is_told(tmp_path):
    with pytest.raises(SwarError, match="holds no model"):
        version_folder(tmp_path)
    with pytest.raises(SwarError, match="does not exist"):
        version_folder(tmp_path / "nope")


def test_base_is_the_released_model_and_any_other_name_a_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(base_model, "base_model_folder", lambda: tmp_path / "released" / "1")
    assert model_folder("base") == tmp_path / "released" / "1"
    with pytest.raises(SwarError, match="'base' does not exist"):
        model_folder("./base")
    (tmp_path / "base" / "3").mkdir(parents=True)
    (tmp_path / "base" / "3" / "saved_model.pb").write_bytes(b"")
    assert model_folder("./base") == model_folder(Path("base")) == Path("base", "3")


def test_the_card_is_read(toy):
    assert (toy.sample_rate, toy.card["made"]) == (8_000, "here")


@pytest.mark.parametrize("count", [0, 1, 32, 75])
def test_every_wav_has_its_own_answer(toy, count):
    lengths = np.arange(count)
    answer = toy.embed([b"x" * length for length in lengths])
    np.testing.assert_array_equal(answer.embedding, np.stack([lengths, -lengths], axis=1))
    np.testing.assert_allclose(answer.speech_seconds, lengths / 10.0)
    assert answer.status == ["ok" if length > 2 else "too_short" for length in lengths]


@pytest.mark.parametrize("count", [0, 1, 40_000])
def test_every_pair_has_its_own_score(toy, count):
    rng = np.random.default_rng(0)
    one, other = rng.random((2, count, 2), np.float32)
    distance, probability, same_speaker = toy.score(one, other)
    np.testing.assert_allclose(distance, np.linalg.norm(one - other, axis=1), rtol=1e-5)
    np.testing.assert_allclose(probability, np.exp(-distance), rtol=1e-5)
    np.testing.assert_array_equal(same_speaker, distance < 1.0)


def test_what_is_no_published_model_is_told(tmp_path):
    lacking = write_model(tmp_path / "1", "embed")
    with pytest.raises(SwarError, match="lacks the signature score_embeddings"):
        PublishedModel(lacking)
    (lacking / "saved_model.pb").write_bytes(b"no model")
    with pytest.raises(SwarError, match="cannot be loaded"):
        PublishedModel(lacking)
    (lacking / MODEL_CARD).write_text("{}")
    with pytest.raises(SwarError, match="has no readable"):
        PublishedModel(lacking)


@pytest.mark.parametrize("name", ["saved_model.pb", "variables/variables.data-00000-of-00001"])
@pytest.mark.parametrize("left", [0, 10])
def test_a_file_that_was_cut_short_is_told(tmp_path, name, left):
    """TensorFlow's errors about them are of many kinds: IndexError, ValueError, its own."""
    folder = write_model(tmp_path / "1", "embed", "score_embeddings")
    with (folder / name).open("r+b") as file:
        file.truncate(left)
    with pytest.raises(SwarError, match=r"/1 cannot be loaded \(\w+\): publish it again"):
        PublishedModel(folder)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("[1]", "the whole"),
        ("null", "the whole"),
        ("[" * 100_000, "recursion"),
        ("\x00", "Expecting value"),
        *(
            (json.dumps(CARD | {name: value}), name)
            for name, value in {
                "sample_rate": None,
                "embedding_size": "2",
                "threshold": "x",
                "slope": [1],
                "model_digest": 7,
                "calibration": [],
                "calibrated_on": "calls",
                "speech": None,
            }.items()
        ),
        (json.dumps(CARD | {"threshold": math.nan}), "threshold"),
        (json.dumps(CARD | {"sample_rate": math.inf}), "sample_rate"),
        (json.dumps({key: CARD[key] for key in CARD if key != "model_digest"}), "model_digest"),
    ],
)
def test_a_card_of_another_form_is_told(tmp_path, content, reason):
    (tmp_path / MODEL_CARD).parent.mkdir()
    (tmp_path / MODEL_CARD).write_text(content)
    with pytest.raises(SwarError, match=rf"has no readable .*{reason}.*: publish it again, or"):
        read_card(tmp_path)
