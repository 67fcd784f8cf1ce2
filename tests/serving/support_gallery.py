"""Made-up recordings of made-up speakers, and a gallery of them."""

import numpy as np

from components.pcm16 import pack_wav
from components.recording_quality import RecordingQuality
from serving.answers import Embedding, Vector
from serving.enrolled import Enrolment
from serving.gallery import Gallery

MODEL, OTHER_MODEL = "model-1", "model-2"
DIMENSIONS = 16


def unit(seed: int, dimensions: int = DIMENSIONS) -> Vector:
    vector: Vector = np.random.default_rng(seed).normal(size=dimensions).astype(np.float32)
    unit: Vector = vector / np.linalg.norm(vector)
    return unit


def enrolment(
    seed: int,
    *,
    model: str = MODEL,
    dimensions: int = DIMENSIONS,
    bandwidth_hz: float | None = None,
) -> Enrolment:
    noise = np.random.default_rng(seed).integers(-99, 99, 4_000).astype(np.int16)
    quality = None if bandwidth_hz is None else RecordingQuality(6.0, 30.0, bandwidth_hz, 0.0)
    embedding = Embedding(unit(seed, dimensions), 6.0, "ok", model, quality)
    return Enrolment(embedding, f"take-{seed:04d}.flac", pack_wav(noise, 16_000))


def fill(gallery: Gallery, speakers: int, *, keep_audio: bool = False) -> None:
    for seed in range(speakers):
        gallery.enroll(f"speaker {seed:04d}", [enrolment(seed)], keep_audio=keep_audio)
