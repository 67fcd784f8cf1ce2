"""The SavedModel's answers: recordings, embeddings or pairs in, a decision out."""

import functools
import json
from collections.abc import Callable, Mapping
from typing import Any, Final

import keras
import tensorflow as tf

from components import features
from components.model.calibration import Calibration
from components.model.normalisation import CohortNormalisation, distances
from components.model.recordings import Recordings
from components.read_pairs import parse_pairs

# A batch of recordings may have thousands of windows, the Evaluator sends a thousand pairs: the
# tower's activations must not grow with them.
WINDOWS_AT_ONCE: Final = 64
SAME_SPEAKER_FROM: Final = 0.5

Answer = dict[str, tf.Tensor]


class ServedModel(tf.Module):
    """Front end, tower and calibration behind signatures.

    A recording whose status is not "ok" has an embedding of NaN. A comparison with NaN has scores
    of NaN and decides against the same speaker.
    """

    def __init__(
        self,
        tower: keras.Model,
        calibration: Calibration,
        recordings: Recordings,
        normalisation: CohortNormalisation | None,
        *,
        unit_norm: bool,
        card: Mapping[str, Any],
    ) -> None:
        """Wraps a tower.

        Args:
            tower: maps uint8 windows [N, n_mels, frames] to embeddings [N, D].
            calibration: threshold and slope, stored as variables.
            recordings: the front end.
            normalisation: of the distances; None for Euclidean ones.
            unit_norm: whether embeddings of windows, and so of recordings, have the length 1.
            card: what the model was made from, for `describe`; its `model_digest` distinguishes
                this model's embeddings from those of others.
        """
        super().__init__(name="swar")
        # Only the weights: tracking the Keras model itself would trace it once more.
        self.weights = [weight.value for weight in tower.weights]
        self._tower = functools.partial(tower, training=False)
        self.threshold = tf.Variable(calibration.threshold, trainable=False, dtype=tf.float32)
        self.slope = tf.Variable(calibration.slope, trainable=False, dtype=tf.float32)
        self._recordings = recordings
        self._normalisation = normalisation
        self._unit_norm = unit_norm
        # Strings and numbers, because a tf.Module wraps its dicts.
        self._card_json = json.dumps(dict(card), sort_keys=True)
        self._sample_rate, self._digest = int(card["sample_rate"]), str(card["model_digest"])
        self._n_mels, self._frames = recordings.shape
        self._embedding_size = int(tower.output_shape[-1])
        # Each is traced once, however many signatures call it.
        self.embed_windows = _traced(
            self._embed_windows,
            tf.TensorSpec([None, self._n_mels, self._frames], tf.uint8, "spectrogram"),
        )
        self.embed_recordings = _traced(self._embed_recordings, tf.TensorSpec([None], tf.string))

    def signatures(self) -> dict[str, Callable[..., Answer]]:
        """The SavedModel's signatures, traced.

        Untraced functions would be traced once for the file, and again to be called.
        """

        def signature(
            function: Callable[..., Answer], *inputs: str, of: tf.TensorSpec
        ) -> Callable[..., Answer]:
            return _traced(function, *(tf.TensorSpec(of.shape, of.dtype, name) for name in inputs))

        strings = tf.TensorSpec([None], tf.string)
        embeddings = tf.TensorSpec([None, self._embedding_size], tf.float32)
        return {
            "serving_default": signature(self._verify, "audio_a", "audio_b", of=strings),
            "embed": signature(self._embed, "audio", of=strings),
            "score_embeddings": signature(self._score, "embedding_a", "embedding_b", of=embeddings),
            "score_pairs": signature(self._score_pairs, "examples", of=strings),
            "describe": signature(self._describe, "query", of=strings),
        }

    def _verify(self, audio_a: tf.Tensor, audio_b: tf.Tensor) -> Answer:
        recordings = tf.size(audio_a)
        check = tf.debugging.assert_equal(
            recordings, tf.size(audio_b), "audio_a and audio_b have not the same length"
        )
        # Checked first: later failures have less helpful messages.
        with tf.control_dependencies([check]):
            audio = tf.concat([audio_a, audio_b], axis=0)
        embedded: Answer = self.embed_recordings(audio)
        first, second = (
            {name: of_all[side] for name, of_all in embedded.items()}
            for side in (slice(None, recordings), slice(recordings, None))
        )
        return self._score(first["embedding"], second["embedding"]) | {
            "speech_seconds_a": first["speech_seconds"],
            "speech_seconds_b": second["speech_seconds"],
            "status_a": first["status"],
            "status_b": second["status"],
        }

    def _embed(self, audio: tf.Tensor) -> Answer:
        embedded: Answer = self.embed_recordings(audio)
        return embedded | {"model_digest": tf.fill(tf.shape(audio), self._digest)}

    def _describe(self, query: tf.Tensor) -> Answer:
        """A row for each string of the query, whatever its content: a batch must have rows."""
        shape = tf.shape(query)
        return {
            "sample_rate": tf.fill(shape, self._sample_rate),
            "embedding_size": tf.fill(shape, self._embedding_size),
            "threshold": tf.fill(shape, self.threshold),
            "model_digest": tf.fill(shape, self._digest),
            "card": tf.fill(shape, self._card_json),
        }

    def _score(self, embedding_a: tf.Tensor, embedding_b: tf.Tensor) -> Answer:
        check = tf.debugging.assert_equal(
            tf.shape(embedding_a),
            tf.shape(embedding_b),
            "embedding_a and embedding_b have not the same length",
        )
        with tf.control_dependencies([check]):
            embedding = tf.concat([embedding_a, embedding_b], axis=0)
        pairs = tf.range(tf.shape(embedding_a)[0])
        distance = distances(
            embedding,
            pairs,
            pairs + tf.size(pairs),
            self._normalisation,
        )
        # Explicit: not every kernel of the maximum in the distance propagates NaN.
        known = tf.reduce_all(tf.math.is_finite(embedding_a + embedding_b), axis=1)
        distance = tf.where(known, distance, float("nan"))
        probability = self._probability(distance)
        return {
            features.DISTANCE: distance,
            features.PROBABILITY: probability,
            "same_speaker": probability >= SAME_SPEAKER_FROM,
        }

    def _score_pairs(self, examples: tf.Tensor) -> Answer:
        windows = parse_pairs(examples, self._n_mels, self._frames)
        embedding = self.embed_windows(windows[features.SPECTROGRAM])
        first = tf.range(0, tf.shape(embedding)[0], 2)
        distance = distances(embedding, first, first + 1, self._normalisation)
        return {
            features.DISTANCE: distance,
            features.PROBABILITY: self._probability(distance),
        }

    def _probability(self, distance: tf.Tensor) -> tf.Tensor:
        return tf.sigmoid(self.slope * (self.threshold - distance))

    def _embed_recordings(self, audio: tf.Tensor) -> Answer:
        """Embeddings float32 [N, D]: means over a recording's windows, NaN without any."""
        output = self._recordings.extract_windows(audio)
        windows = output.windows
        total = tf.math.unsorted_segment_sum(
            self.embed_windows(windows.values), windows.value_rowids(), tf.size(audio)
        )
        mean = total / tf.cast(windows.row_lengths(), tf.float32)[:, tf.newaxis]
        return {
            "embedding": tf.math.l2_normalize(mean, axis=1) if self._unit_norm else mean,
            "speech_seconds": output.speech_seconds,
            "status": output.status,
        }

    def _embed_windows(self, spectrogram: tf.Tensor) -> tf.Tensor:
        parts = (tf.shape(spectrogram)[0] + WINDOWS_AT_ONCE - 1) // WINDOWS_AT_ONCE

        def embed_part(part: tf.Tensor, embedded: tf.TensorArray) -> tuple[tf.Tensor, Any]:
            first = part * WINDOWS_AT_ONCE
            embedding = self._tower(spectrogram[first : first + WINDOWS_AT_ONCE])
            return part + 1, embedded.write(part, tf.cast(embedding, tf.float32))

        embedded = tf.TensorArray(
            tf.float32,
            size=parts,
            infer_shape=False,
            element_shape=[None, self._embedding_size],
        )
        _, embedded = tf.while_loop(
            lambda part, _: part < parts, embed_part, [0, embedded], parallel_iterations=1
        )
        return embedded.concat()


def _traced(function: Callable[..., Any], *inputs: tf.TensorSpec) -> Callable[..., Any]:
    """The traced function; its loops are TensorFlow's already, so AutoGraph is off."""
    traceable = tf.function(function, input_signature=inputs, autograph=False)
    traced: Callable[..., Any] = traceable.get_concrete_function()
    return traced
