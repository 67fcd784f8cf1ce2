"""Requests stored beside an exported model, to warm it up and to check its answers elsewhere.

Their recordings are synthetic: no person's voice is shipped with a model.
"""

import contextlib
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import tensorflow as tf
from tensorflow_serving.apis import predict_pb2, prediction_log_pb2

from components import features, spectrogram_codec
from components.model.files import GOLDEN_ANSWERS, WARMUP_REQUESTS
from components.model.recordings import FrontEnd
from components.pcm16 import pack_wav, to_pcm16

_NO_OPTIMIZER: Final = "disable_meta_optimizer"
_MODEL_NAME: Final = "swar"
_SOUND_WINDOWS: Final = 2
_PITCH_HZ: Final = 120.0
_HIGHER_PITCH_HZ: Final = 210.0
_SHORTER_TRACT: Final = 1.18
_OVERTONES: Final = 24


def write_warmup_requests(folder: str, front_end: FrontEnd, embedding_size: int) -> None:
    """Writes one request for each signature.

    Args:
        folder: of the SavedModel.
        front_end: gives the sound's sample rate and the window.
        embedding_size: D.
    """
    requests = _warmup_requests(front_end, embedding_size)
    _write(folder, WARMUP_REQUESTS, (_prediction_log(*request) for request in requests))


def write_golden_answers(
    folder: str,
    signatures: Mapping[str, Callable[..., Mapping[str, tf.Tensor]]],
    front_end: FrontEnd,
    embedding_size: int,
) -> None:
    """Writes requests with this process's answers, which every server of the model must reproduce.

    They hold two synthetic speakers, one of them twice, recordings that the model refuses, and
    random embeddings and windows.

    Args:
        folder: of the SavedModel.
        signatures: of the model in memory, not of the SavedModel.
        front_end: gives the sound's sample rate and the window.
        embedding_size: D.
    """
    with _plain_execution():
        logs = []
        for signature, inputs in _golden_requests(front_end, embedding_size):
            log = _prediction_log(signature, inputs)
            tensors = {name: tf.constant(value) for name, value in inputs.items()}
            for name, value in signatures[signature](**tensors).items():
                proto = tf.make_tensor_proto(value.numpy())
                log.predict_log.response.outputs[name].CopyFrom(proto)
            logs.append(log)
    _write(folder, GOLDEN_ANSWERS, logs)


@contextlib.contextmanager
def _plain_execution() -> Iterator[None]:
    """Full float32 precision and no graph optimisation.

    A GPU would multiply with 10 bits of mantissa, but a processor may serve the model. Optimising
    a graph that runs once takes longer than running it.
    """
    optimizer = tf.config.optimizer
    enable_fast = tf.config.experimental.enable_tensor_float_32_execution
    was_fast = tf.config.experimental.tensor_float_32_execution_enabled()
    options = {_NO_OPTIMIZER: optimizer.get_experimental_options().get(_NO_OPTIMIZER, False)}
    enable_fast(False)
    optimizer.set_experimental_options({_NO_OPTIMIZER: True})
    try:
        yield
    finally:
        enable_fast(was_fast)
        optimizer.set_experimental_options(options)


def _write(folder: str, name: str, logs: Iterable[prediction_log_pb2.PredictionLog]) -> None:
    path = os.path.join(folder, name)
    tf.io.gfile.makedirs(os.path.dirname(path))
    with tf.io.TFRecordWriter(path) as file:
        for log in logs:
            # The order of the map of tensors is otherwise undefined, but the same model must
            # give the same bytes.
            file.write(log.SerializeToString(deterministic=True))


def _warmup_requests(
    front_end: FrontEnd, embedding_size: int
) -> Iterator[tuple[str, Mapping[str, Any]]]:
    sound = np.array([_vowels(front_end)], object)
    embedding = np.zeros([1, embedding_size], np.float32)
    yield "serving_default", {"audio_a": sound, "audio_b": sound}
    yield "embed", {"audio": sound}
    yield "score_embeddings", {"embedding_a": embedding, "embedding_b": embedding}
    n_mels, frames = _window(front_end)
    empty = np.zeros([2, n_mels, frames], np.uint8)
    yield "score_pairs", {"examples": np.array([_pair(empty)], object)}
    yield "describe", {"query": np.array([b""], object)}


def _golden_requests(
    front_end: FrontEnd, embedding_size: int
) -> Iterator[tuple[str, Mapping[str, Any]]]:
    rate = front_end.speech.sample_rate
    one, other = _vowels(front_end), _vowels(front_end, _HIGHER_PITCH_HZ, _SHORTER_TRACT)
    same = _vowels(front_end, 1.1 * _PITCH_HZ)
    silence = pack_wav(np.zeros(rate, np.int16), rate)
    yield (
        "serving_default",
        {
            "audio_a": np.array([one, one, silence], object),
            "audio_b": np.array([same, other, one], object),
        },
    )
    yield "embed", {"audio": np.array([one, other, silence, b"RIFF"], object)}
    rng = np.random.default_rng(0)
    embedding = rng.standard_normal([2, 4, embedding_size])
    embedding /= np.linalg.norm(embedding, axis=-1, keepdims=True)
    sides = ("embedding_a", "embedding_b")
    yield "score_embeddings", dict(zip(sides, embedding.astype(np.float32), strict=True))
    windows = rng.integers(0, 256, [2, 2, *_window(front_end)], np.uint8)
    yield "score_pairs", {"examples": np.array([_pair(each) for each in windows], object)}
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


def _vowels(front_end: FrontEnd, pitch_hz: float = _PITCH_HZ, formants: float = 1.0) -> bytes:
    """A WAV of a synthetic voice: a gliding pitch, moving formants, syllables, breath.

    Args:
        front_end: gives the sample rate and the length.
        pitch_hz: mean pitch.
        formants: ratio of their frequencies to those of a long vocal tract.
    """
    rate = front_end.speech.sample_rate
    seconds = min(
        _SOUND_WINDOWS * front_end.spectrogram.window_seconds, front_end.serving.max_seconds
    )
    time = np.arange(round(seconds * rate)) / rate

    def swing(hertz: float) -> np.ndarray:
        wave: np.ndarray = np.sin(2.0 * np.pi * hertz * time)
        return wave

    pitch = pitch_hz * (1.0 + 0.2 * swing(0.7))
    phase = 2.0 * np.pi * np.cumsum(pitch) / rate
    voice = np.zeros(len(time))
    for number in range(1, _OVERTONES + 1):
        hertz = number * pitch / formants
        first = np.exp(-np.square((hertz - 500.0 - 250.0 * swing(2.3)) / 150.0))
        second = np.exp(-np.square((hertz - 1_500.0 - 600.0 * swing(1.7)) / 250.0))
        voice += (first + 0.5 * second + 0.02) * np.sin(number * phase)
    syllables = np.square(swing(2.0))
    breath = np.random.default_rng(0).standard_normal(len(time)) * (1.0 - syllables) ** 3
    sound = voice * syllables**1.5 + 0.05 * breath
    return pack_wav(to_pcm16((0.3 * sound).astype(np.float32)), rate)


def _window(front_end: FrontEnd) -> tuple[int, int]:
    """Height and width: mels, frames."""
    spectrogram = front_end.spectrogram
    return spectrogram.n_mels, spectrogram.frames(front_end.speech.sample_rate)


def _pair(windows: npt.NDArray[np.uint8]) -> bytes:
    """A serialised pair of windows [2, n_mels, frames]."""
    values: dict[str, bytes | int | float] = {features.LABEL: 1}
    for side, window in zip(features.SIDES, windows, strict=True):
        values |= {
            features.sided(features.SPECTROGRAM, side): spectrogram_codec.encode(window),
            features.sided(features.SPEAKER, side): b"",
            features.sided(features.RECORDING, side): b"",
            features.sided(features.START_SECONDS, side): 0.0,
        }
    serialised: bytes = features.example(values).SerializeToString()
    return serialised
