"""A small model as the Trainer exports it, to ask its signatures."""

from types import SimpleNamespace

import pytest
import tensorflow as tf

from components.model.calibration import Calibration
from components.model.export import export
from components.model.recordings import FrontEnd
from components.model.tower import build_tower
from components.settings import (
    ServingSettings,
    SpectrogramSettings,
    SpeechSettings,
    TrainerSettings,
)
from tests.bad_recordings import encoded, speech_like

RATE = 8_000
# 1 + 4992 // 128 = 40 frames.
FRONT_END = FrontEnd(
    SpeechSettings(sample_rate=RATE, require_voice=False),
    SpectrogramSettings(window_seconds=0.624, n_fft=256, hop_samples=128, n_mels=32),
    ServingSettings(max_seconds=30.0, max_windows=8),
)
CALIBRATION = Calibration(threshold=0.05, slope=40.0)


def recording(seed, seconds=3.0):
    return encoded(speech_like(seed, RATE, seconds), RATE, subtype="PCM_16")


def small_tower(head):
    trainer = TrainerSettings(blocks=(1, 1, 1, 1), embedding_size=8, head=head, loss="listed")
    spectrogram = FRONT_END.spectrogram
    return build_tower(trainer, spectrogram.n_mels, spectrogram.frames(RATE))


def exported(folder, head, normalisation=None):
    """A small model with random weights, how often its tower was traced, and what it says."""
    tower, traces = small_tower(head), []
    real = type(tower).call

    def counted(self, *arguments, **options):
        if self is tower:
            traces.append(1)
        return real(self, *arguments, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(tower), "call", counted)
        export(
            tower,
            CALIBRATION,
            FRONT_END,
            {"made": "here"},
            str(folder),
            unit_norm=head == "pooled",
            normalisation=normalisation,
        )
    return SimpleNamespace(folder=folder, traces=len(traces), model=tf.saved_model.load(folder))


def ask(served, signature, **inputs):
    answer = served.model.signatures[signature](**{k: tf.constant(v) for k, v in inputs.items()})
    return {name: value.numpy() for name, value in answer.items()}
