"""A small base model in place of the released one, and trials that it tells apart."""

from importlib import resources

import numpy as np

from components import features, spectrogram_codec
from components.model.base import BaseModel
from components.model.tower import build_tower
from components.settings import SpectrogramSettings, TrainerSettings

RATE = 16_000
SPECTROGRAM = SpectrogramSettings(n_mels=32, window_seconds=0.5)
FRAMES = SPECTROGRAM.frames(RATE)
SIDE_A, SIDE_B = (features.sided(features.SPECTROGRAM, side) for side in features.SIDES)


def release_small_base_model(folder, monkeypatch):
    """Writes it and lets it be found; returns it."""
    settings = TrainerSettings(blocks=(1, 1), embedding_size=8, weights="none")
    rng = np.random.default_rng(1)
    tower = build_tower(settings, SPECTROGRAM.n_mels, FRAMES)
    weights = [0.2 * rng.normal(size=one.shape) for one in tower.get_weights()]
    # Variances are not negative.
    weights = [np.abs(weight) if weight.ndim == 1 else weight for weight in weights]
    tower.set_weights(weights)
    cohort = tower.predict(np.stack(list(random_windows(30, seed=1))), verbose=0)
    card = {
        "sample_rate": RATE,
        "spectrogram": SPECTROGRAM.model_dump(mode="json"),
        "trainer": settings.model_dump(mode="json"),
    }
    folder.mkdir()
    BaseModel(card, [weight.astype(np.float16) for weight in weights], cohort).write(folder)
    monkeypatch.setattr(resources, "files", lambda _package: folder)
    return BaseModel.read()


def random_windows(count, seed=0):
    """uint8 windows, each of another level and slope."""
    rng = np.random.default_rng(seed)
    for _ in range(count):
        level, slope = rng.uniform(40.0, 200.0), rng.uniform(-1.0, 1.0)
        mels = level + slope * np.arange(SPECTROGRAM.n_mels)[:, np.newaxis]
        yield np.clip(mels + rng.normal(0.0, 30.0, (SPECTROGRAM.n_mels, FRAMES)), 0, 255).astype(
            np.uint8
        )


def with_windows(trial, windows):
    """The trial with packed windows: twice the same for the same speaker, else two."""
    first = spectrogram_codec.encode(next(windows))
    second = first if trial[features.LABEL] else spectrogram_codec.encode(next(windows))
    return {**trial, SIDE_A: first, SIDE_B: second}
