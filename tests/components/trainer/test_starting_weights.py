"""What a training starts from, and what it says where that does not exist or fit."""

import hashlib
import json
from importlib import resources

import keras
import numpy as np
import pytest

from components.errors import SwarError
from components.model import base as base_model
from components.model.base import BaseModel
from components.model.files import MODEL_CARD, TOWER_WEIGHTS
from components.model.tower import build_tower
from components.settings import SpectrogramSettings, TrainerSettings
from components.trainer.starting_weights import parent_of, start

MELS, FRAMES, RATE = 32, 32, 16_000
SMALL = TrainerSettings(blocks=(1, 1), embedding_size=8, weights="none")
SPECTROGRAM = SpectrogramSettings(n_mels=MELS, window_seconds=0.5)


def small_tower():
    return build_tower(SMALL, MELS, FRAMES)


def shaken(tower):
    rng = np.random.default_rng(1)
    tower.set_weights([rng.normal(size=one.shape) for one in tower.get_weights()])
    return tower


def started(weights, update=None):
    settings = SMALL.model_copy(update={"weights": str(weights), **(update or {})})
    tower = build_tower(settings, MELS, FRAMES)
    start(tower, settings, SPECTROGRAM, RATE)
    return tower


def assert_same(ours, theirs, rtol=0.0):
    for one, other in zip(ours.get_weights(), theirs.get_weights(), strict=True):
        np.testing.assert_allclose(one, other, rtol=rtol, atol=1e-7)


def card(**update):
    return {
        "model_digest": "0123456789abcdef",
        "sample_rate": 16_000,
        "embedding_size": 8,
        "spectrogram": SPECTROGRAM.model_dump(mode="json"),
        "trainer": SMALL.model_dump(mode="json"),
        "threshold": 1.0,
        "slope": 10.0,
    } | update


@pytest.fixture
def released(tmp_path, monkeypatch):
    """A small base model in place of the package's; its tower."""
    tower = shaken(small_tower())
    weights = [weight.astype(np.float16) for weight in tower.get_weights()]
    BaseModel(card(), weights, np.eye(8, dtype=np.float32)).write(tmp_path)
    monkeypatch.setattr(resources, "files", lambda _package: tmp_path)
    return tower


def publish(folder, tower, **update):
    for path in (folder / "1" / "assets.extra", folder / "1" / "saved_model.pb"):
        path.parent.mkdir(parents=True, exist_ok=True)
    (folder / "1" / "saved_model.pb").touch()
    (folder / "1" / "assets.extra").mkdir(exist_ok=True)
    (folder / "1" / MODEL_CARD).write_text(json.dumps(card(**update)))
    tower.save_weights(folder / "1" / TOWER_WEIGHTS)


def test_the_base_model_is_started_from_and_named_as_the_parent(released):
    assert_same(started("base"), released, rtol=1e-3)
    parent = parent_of(SMALL.model_copy(update={"weights": "base"}), SPECTROGRAM, RATE)
    assert parent == {"parent": "base", "parent_digest": base_model.base_digest()}


def test_a_base_model_of_another_window_is_refused(released):
    settings = SMALL.model_copy(update={"weights": "base"})
    other = SpectrogramSettings(n_mels=MELS, window_seconds=0.5, top_db=60.0)
    message = r"the base model was trained with spectrogram.top_db 80.0, not 60.0: set .* or "
    with pytest.raises(SwarError, match=message):
        start(small_tower(), settings, other, RATE)
    with pytest.raises(SwarError, match=message):
        parent_of(settings, other, RATE)


def test_a_base_model_of_another_sample_rate_is_refused(released):
    settings = SMALL.model_copy(update={"weights": "base"})
    message = r"the base model was trained with speech.sample_rate 16000, not 8000: set .* or "
    with pytest.raises(SwarError, match=message):
        start(small_tower(), settings, SPECTROGRAM, 8_000)
    with pytest.raises(SwarError, match=message):
        parent_of(settings, SPECTROGRAM, 8_000)


def test_a_base_model_of_another_head_is_refused(released):
    with pytest.raises(SwarError, match=r"trained with trainer.embedding_size 8, not 16"):
        started("base", {"embedding_size": 16})


def test_an_installation_without_the_base_model_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(resources, "files", lambda _package: tmp_path)
    with pytest.raises(
        SwarError, match=r"the base model cannot be read from .*: install swar again"
    ):
        started("base")


def test_a_published_model_is_started_from_and_named_as_the_parent(tmp_path):
    tower = shaken(small_tower())
    publish(tmp_path, tower)
    assert_same(started(tmp_path), tower)
    parent = parent_of(SMALL.model_copy(update={"weights": str(tmp_path)}), SPECTROGRAM, RATE)
    assert parent == {"parent": str(tmp_path), "parent_digest": "0123456789abcdef"}


def test_a_published_model_of_another_tower_is_refused(tmp_path):
    publish(tmp_path, small_tower(), trainer=SMALL.model_dump(mode="json") | {"head": "flatten"})
    with pytest.raises(SwarError, match=r"trained with trainer.head flatten, not pooled"):
        started(tmp_path)


@pytest.mark.parametrize("part", ["trainer", "spectrogram"])
def test_a_model_of_another_version_that_tells_less_of_itself_is_refused(tmp_path, part):
    publish(tmp_path, small_tower(), **{part: {}})
    with pytest.raises(SwarError, match=rf"another version of swar .* its {part}\."):
        started(tmp_path)


def test_a_published_model_without_its_weights_is_refused(tmp_path):
    publish(tmp_path, small_tower())
    (tmp_path / "1" / TOWER_WEIGHTS).unlink()
    with pytest.raises(SwarError, match=r"a published model with assets.extra/tower.weights.h5"):
        started(tmp_path)


def test_a_file_holds_a_tower_or_its_backbone(tmp_path):
    tower = shaken(small_tower())
    tower.save_weights(tmp_path / "tower.weights.h5")
    assert_same(started(tmp_path / "tower.weights.h5"), tower)
    backbone = tower.get_layer("densenet")
    backbone.save_weights(tmp_path / "dense.weights.h5")
    assert_same(started(tmp_path / "dense.weights.h5").get_layer("densenet"), backbone)
    of_file = SMALL.model_copy(update={"weights": str(tmp_path / "dense.weights.h5")})
    digest = hashlib.sha256((tmp_path / "dense.weights.h5").read_bytes()).hexdigest()
    assert parent_of(of_file, SPECTROGRAM, RATE) == {
        "parent": of_file.weights,
        "parent_digest": digest,
    }


def test_a_file_of_something_else_is_refused(tmp_path):
    (tmp_path / "dense.weights.h5").write_bytes(b"not weights")
    with pytest.raises(SwarError, match="cannot be used"):
        started(tmp_path / "dense.weights.h5")


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ("imagenet", "imagenet but trainer.blocks"),
        ("missing.weights.h5", "is none of base, imagenet, none, a published model"),
    ],
)
def test_unusable_weights_are_named(weights, message):
    with pytest.raises(SwarError, match=message):
        started(weights)


def test_weights_that_cannot_be_downloaded_are_named(monkeypatch):
    def unreachable(*_args, **_kwargs):
        raise Exception("URL fetch failure")  # as Keras does

    monkeypatch.setattr(keras.applications, "DenseNet121", unreachable)
    settings = TrainerSettings(weights="imagenet")
    with pytest.raises(SwarError, match=r"trainer.weights 'imagenet' .*: URL fetch failure: set"):
        start(build_tower(settings, 64, 96), settings, SpectrogramSettings(), RATE)


def test_random_weights_have_no_parent(tmp_path, monkeypatch):
    for name in ("none", "imagenet"):  # folders of these names are no models
        (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path)
    before = small_tower()
    weights = before.get_weights()
    start(before, SMALL, SPECTROGRAM, RATE)
    for one, other in zip(before.get_weights(), weights, strict=True):
        np.testing.assert_array_equal(one, other)
    imagenet = SMALL.model_copy(update={"weights": "imagenet"})
    assert parent_of(SMALL, SPECTROGRAM, RATE) == {} == parent_of(imagenet, SPECTROGRAM, RATE)
    assert keras.config.dtype_policy().name == "float32"
