"""Writes the SavedModel, its card, weights, warm-up requests and golden answers."""

import hashlib
import json
import os
import tempfile
from collections.abc import Mapping
from typing import Any, Final

import keras
import tensorflow as tf

from components import spectrogram_codec
from components.model.calibration import Calibration
from components.model.files import MODEL_CARD, TOWER_WEIGHTS
from components.model.normalisation import CohortNormalisation
from components.model.recordings import FrontEnd, Recordings
from components.model.served import ServedModel
from components.model.warmup import write_golden_answers, write_warmup_requests

DIGEST_DIGITS: Final = 16


def export(
    tower: keras.Model,
    calibration: Calibration,
    front_end: FrontEnd,
    card: Mapping[str, Any],
    folder: str,
    *,
    unit_norm: bool,
    normalisation: CohortNormalisation | None = None,
    digest: str | None = None,
) -> None:
    """Writes the SavedModel, its card, the tower's Keras weights, warm-up and golden requests.

    Args:
        tower: maps uint8 windows to embeddings.
        calibration: threshold and slope.
        front_end: how recordings become windows.
        card: the rest of the model's description.
        folder: where the SavedModel goes.
        unit_norm: whether the tower's embeddings have the length 1.
        normalisation: of the distances; None for Euclidean ones.
        digest: of the published model whose embeddings these are; None for a new model's own.
    """
    described = {
        **card,
        "sample_rate": front_end.speech.sample_rate,
        "speech": front_end.speech.model_dump(),
        "spectrogram": front_end.spectrogram.model_dump(),
        "spectrogram_codec": spectrogram_codec.NAME,
        "serving": front_end.serving.model_dump(),
        "embedding_size": tower.output_shape[-1],
        "threshold": calibration.threshold,
        "slope": calibration.slope,
        "model_digest": digest if digest is not None else model_digest(tower, card),
    }
    served = ServedModel(
        tower,
        calibration,
        Recordings(front_end),
        normalisation,
        unit_norm=unit_norm,
        card=described,
    )
    signatures = served.signatures()
    tf.saved_model.save(served, folder, signatures=signatures)
    path = os.path.join(folder, MODEL_CARD)
    tf.io.gfile.makedirs(os.path.dirname(path))
    with tf.io.gfile.GFile(path, "w") as file:
        file.write(json.dumps(described, indent=2, sort_keys=True) + "\n")
    _save_weights(tower, os.path.join(folder, TOWER_WEIGHTS))
    write_warmup_requests(folder, front_end, tower.output_shape[-1])
    write_golden_answers(folder, signatures, front_end, tower.output_shape[-1])


def _save_weights(tower: keras.Model, path: str) -> None:
    """Saves to a local file first: Keras writes only to these."""
    with tempfile.TemporaryDirectory() as folder:
        local = os.path.join(folder, os.path.basename(path))
        tower.save_weights(local)
        tf.io.gfile.copy(local, path, overwrite=True)


def model_digest(tower: keras.Model, card: Mapping[str, Any]) -> str:
    """The first 16 hexadecimal digits of sha256 of the card, with its digests, and the weights.

    The weights count because a training that was resumed, or ran on other hardware, has the same
    settings, data and code, but embeddings that must not be compared.
    """
    sha = hashlib.sha256(json.dumps(dict(card), sort_keys=True).encode())
    for weight in tower.weights:
        sha.update(weight.value.numpy().tobytes())
    return sha.hexdigest()[:DIGEST_DIGITS]
