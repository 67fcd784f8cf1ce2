"""The map that a release of the base model gets after its training, by `benchmarks.base`."""

import numpy as np
import pytest
import scipy.linalg
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from benchmarks.base import within_class
from components.model.base import BaseModel

SIZE = 6


def speakers(count=300, each=8):
    """Embeddings of speakers that something moves much in one direction; and who speaks."""
    generator = np.random.default_rng(0)
    speaker = np.repeat(np.arange(count).astype(str), each)
    own = np.repeat(generator.normal(size=(count, SIZE)), each, axis=0)
    moved = generator.normal(size=(len(speaker), SIZE)) * [3.0, 0.5, 0.5, 0.5, 0.5, 0.5]
    return (own + moved).astype(np.float32), speaker


def test_the_covariance_is_that_of_discriminant_analysis() -> None:
    embedding, speaker = speakers()
    analysis = LinearDiscriminantAnalysis("eigen", store_covariance=True).fit(embedding, speaker)
    degrees = len(speaker) / (len(speaker) - len(set(speaker)))
    np.testing.assert_allclose(
        within_class.within_class_covariance(embedding, speaker),
        analysis.covariance_ * degrees,
        rtol=1e-4,
        atol=1e-4,
    )


def test_the_map_is_the_root_of_the_inverse(monkeypatch: pytest.MonkeyPatch) -> None:
    covariance = within_class.within_class_covariance(*speakers())
    monkeypatch.setattr(within_class, "SMOOTHING", 0.0)
    root = scipy.linalg.sqrtm(np.linalg.inv(covariance))
    expected = root * np.sqrt(np.trace(covariance) / SIZE)
    np.testing.assert_allclose(within_class.normalising_map(covariance), expected, rtol=1e-6)


def test_a_smoothed_map_shortens_what_moves_speakers_and_keeps_the_rest() -> None:
    variances = np.array([32.0, 1.0, 1.0, 1.0, 1.0, 1.0])
    scale = np.diag(within_class.normalising_map(np.diag(variances)))
    assert scale[0] < 0.8
    assert scale[1:] == pytest.approx(np.full(SIZE - 1, scale[1]))
    assert 1.0 < scale[1] < 1.3


def test_the_base_models_last_layer_takes_the_map_up() -> None:
    base = BaseModel.read()
    size = len(base.weights[-1])
    linear_map = np.diag(np.linspace(0.5, 1.5, size))
    changed, tower = within_class.mapped(base, linear_map), base.tower()
    window = np.random.default_rng(0).integers(0, 256, (2, *tower.input_shape[1:]), np.uint8)
    before = tower.predict(window, verbose=0)
    tower.set_weights([weight.astype(np.float32) for weight in changed.weights])
    after = tower.predict(window, verbose=0)
    expected = before @ linear_map
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    np.testing.assert_allclose(after, expected, atol=2e-3)  # float16
    assert [weight.dtype for weight in changed.weights] == [each.dtype for each in base.weights]
    assert changed.card["model_digest"] != base.card["model_digest"]
