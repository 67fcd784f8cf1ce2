"""The requests that TF Serving runs on a model before it answers anybody."""

import os
from collections.abc import Iterator, Mapping
from typing import Any, Final

import numpy as np
import tensorflow as tf
from tensorflow_serving.apis import predict_pb2, prediction_log_pb2

from components import features, spectrogram_codec
from components.pcm16 import pack_wav, to_pcm16
from components.trainer.recordings import FrontEnd

WARMUP_REQUESTS: Final = "assets.extra/tf_serving_warmup_requests"
_MODEL_NAME: Final = "swar"
_SOUND_WINDOWS: Final = 2
_PITCH_HZ: Final = 120.0
_OVERTONES: Final = 24


def write_warmup_requests(folder: str, front_end: FrontEnd, embedding_size: int) -> None:
    """Writes one request for each signature, the recordings of synthetic sound.

    Args:
        folder: of the SavedModel.
        front_end: rate and windows of the sound.
        embedding_size: D.
    """
    path = os.path.join(folder, WARMUP_REQUESTS)
    tf.io.gfile.makedirs(os.path.dirname(path))
    with tf.io.TFRecordWriter(path) as file:
        for signature, inputs in _requests(front_end, embedding_size):
            log = _prediction_log(signature, inputs)
            # The inputs are a map, whose order is otherwise anybody's guess: the same model must
            # have the same bytes.
            file.write(log.SerializeToString(deterministic=True))


def _requests(front_end: FrontEnd, embedding_size: int) -> Iterator[tuple[str, Mapping[str, Any]]]:
    sound = np.array([_vowels(front_end)], object)
    embedding = np.zeros([1, embedding_size], np.float32)
    yield "serving_default", {"audio_a": sound, "audio_b": sound}
    yield "embed", {"audio": sound}
    yield "score_embeddings", {"embedding_a": embedding, "embedding_b": embedding}
    yield "score_pairs", {"examples": np.array([_pair(front_end)], object)}
    yield "describe", {"query": np.array([b""], object)}


def _prediction_log(signature: str, inputs: Mapping[str, Any]) -> prediction_log_pb2.PredictionLog:
    request = predict_pb2.PredictRequest()
    request.model_spec.name = _MODEL_NAME
    request.model_spec.signature_name = signature
    for name, value in inputs.items():
        request.inputs[name].CopyFrom(tf.make_tensor_proto(value))
    return prediction_log_pb2.PredictionLog(
        predict_log=prediction_log_pb2.PredictLog(request=request)
    )


def _vowels(front_end: FrontEnd) -> bytes:
    """A WAV of what is most like a voice: a gliding pitch, moving formants, syllables, breath."""
    rate = front_end.speech.sample_rate
    seconds = min(
        _SOUND_WINDOWS * front_end.spectrogram.window_seconds, front_end.serving.max_seconds
    )
    time = np.arange(round(seconds * rate)) / rate

    def swing(hertz: float) -> np.ndarray:
        wave: np.ndarray = np.sin(2.0 * np.pi * hertz * time)
        return wave

    pitch = _PITCH_HZ * (1.0 + 0.2 * swing(0.7))
    phase = 2.0 * np.pi * np.cumsum(pitch) / rate
    voice = np.zeros(len(time))
    for number in range(1, _OVERTONES + 1):
        hertz = number * pitch
        first = np.exp(-np.square((hertz - 500.0 - 250.0 * swing(2.3)) / 150.0))
        second = np.exp(-np.square((hertz - 1_500.0 - 600.0 * swing(1.7)) / 250.0))
        voice += (first + 0.5 * second + 0.02) * np.sin(number * phase)
    syllables = np.square(swing(2.0))
    breath = np.random.default_rng(0).standard_normal(len(time)) * (1.0 - syllables) ** 3
    sound = voice * syllables**1.5 + 0.05 * breath
    return pack_wav(to_pcm16((0.3 * sound).astype(np.float32)), rate)


def _pair(front_end: FrontEnd) -> bytes:
    """A serialised pair of two empty windows."""
    spectrogram = front_end.spectrogram
    shape = spectrogram.n_mels, spectrogram.frames(front_end.speech.sample_rate)
    empty = spectrogram_codec.encode(np.zeros(shape, np.uint8))
    values: dict[str, bytes | int | float] = {features.LABEL: 1}
    for side in features.SIDES:
        values |= {
            features.sided(features.SPECTROGRAM, side): empty,
            features.sided(features.SPEAKER, side): b"",
            features.sided(features.RECORDING, side): b"",
            features.sided(features.START_SECONDS, side): 0.0,
        }
    serialised: bytes = features.example(values).SerializeToString()
    return serialised
