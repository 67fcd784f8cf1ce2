"""The SavedModel: signatures, and what the model was made from."""

import json
import os
from collections.abc import Mapping
from typing import Any

import keras
import tensorflow as tf

from components import features
from components.artifacts import MODEL_CARD
from components.trainer.calibration import Calibration
from components.trainer.data import parse_pairs
from components.trainer.tower import paired_distance

# The Evaluator sends a thousand pairs at once: the tower's activations must not grow with them.
WINDOWS_AT_ONCE = 64


class ServedModel(tf.Module):
    """Tower and calibration behind signatures."""

    def __init__(self, tower: keras.Model, calibration: Calibration) -> None:
        super().__init__(name="swar")
        self.tower = tower
        self.threshold = tf.Variable(calibration.threshold, trainable=False, dtype=tf.float32)
        self.slope = tf.Variable(calibration.slope, trainable=False, dtype=tf.float32)
        _, self._n_mels, self._frames = tower.input_shape
        windows = tf.TensorSpec([None, self._n_mels, self._frames], tf.uint8, "spectrogram")
        # One traced function inside every signature: the tower's graph is built once.
        self._embedding = tf.function(self._embed_windows, input_signature=[windows])
        self.embed = tf.function(self._embed, input_signature=[windows])
        self.score_pairs = tf.function(
            self._score_pairs, input_signature=[tf.TensorSpec([None], tf.string, "examples")]
        )

    def _embed_windows(self, spectrogram: tf.Tensor) -> tf.Tensor:
        windows = tf.shape(spectrogram)[0]
        parts = tf.TensorArray(
            tf.float32,
            size=(windows + WINDOWS_AT_ONCE - 1) // WINDOWS_AT_ONCE,
            infer_shape=False,
            element_shape=[None, *self.tower.output_shape[1:]],
        )
        for part in tf.range(parts.size()):
            first = part * WINDOWS_AT_ONCE
            embedding = self.tower(spectrogram[first : first + WINDOWS_AT_ONCE], training=False)
            parts = parts.write(part, tf.cast(embedding, tf.float32))
        return parts.concat()

    def _embed(self, spectrogram: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"embedding": self._embedding(spectrogram)}

    def _score_pairs(self, examples: tf.Tensor) -> dict[str, tf.Tensor]:
        windows = parse_pairs(examples, self._n_mels, self._frames)
        embedding = self._embedding(windows[features.SPECTROGRAM])
        distance = paired_distance(embedding[::2], embedding[1::2])
        probability = tf.sigmoid(self.slope * (self.threshold - distance))
        return {features.DISTANCE: distance, features.PROBABILITY: probability}


def export(
    tower: keras.Model, calibration: Calibration, card: Mapping[str, Any], folder: str
) -> None:
    """Writes the SavedModel with `score_pairs` and `embed`.

    Args:
        tower: uint8 windows to embeddings.
        calibration: threshold and slope, stored as variables.
        card: what else describes the model; written to `assets.extra/swar.json`.
        folder: where the SavedModel goes.
    """
    served = ServedModel(tower, calibration)
    tf.saved_model.save(
        served,
        folder,
        signatures={"score_pairs": served.score_pairs, "embed": served.embed},
    )
    path = os.path.join(folder, MODEL_CARD)
    tf.io.gfile.makedirs(os.path.dirname(path))
    described = {"threshold": calibration.threshold, "slope": calibration.slope, **card}
    with tf.io.gfile.GFile(path, "w") as file:
        file.write(json.dumps(described, indent=2, sort_keys=True) + "\n")
