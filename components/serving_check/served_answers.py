"""Checks an exported model's answers, loaded as TensorFlow Serving does, in its own process.

It imports neither Keras nor the code that made the model.
"""

import json
import sys
from collections.abc import Iterator
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import tensorflow as tf
from tensorflow_serving.apis import prediction_log_pb2

from components.features import PROBABILITY
from components.model.files import GOLDEN_ANSWERS, MODEL_CARD, WARMUP_REQUESTS
from components.terminal import say

TOLERANCE: Final = 0.01
"""Largest difference due to other hardware: absolute, or relative to the length of a vector that
is longer than 1."""
_DESCRIBE, _CARD, _SAME_SPEAKER = "describe", "card", "same_speaker"

Answer = dict[str, npt.NDArray[Any]]


class LoadedModel:
    """The graph and its variables in a session, as in TensorFlow Serving."""

    def __init__(self, folder: str) -> None:
        # The graph runs a few times; optimising that of DenseNet121 takes 18 s.
        config = tf.compat.v1.ConfigProto()
        config.graph_options.rewrite_options.disable_meta_optimizer = True
        with tf.Graph().as_default():
            self._session = tf.compat.v1.Session(config=config)
            loaded = tf.compat.v1.saved_model.load(self._session, [tf.saved_model.SERVING], folder)
        self._signatures = loaded.signature_def

    def answer(self, log: prediction_log_pb2.PredictionLog) -> Answer:
        """Every output of the request's signature; strings are an object array of bytes.

        Raises:
            ValueError: there is no such signature, or it has other inputs.
            tf.errors.OpError: the signature fails.
        """
        request = log.predict_log.request
        if request.model_spec.signature_name not in self._signatures:
            raise ValueError("there is no such signature")
        signature = self._signatures[request.model_spec.signature_name]
        if set(signature.inputs) != set(request.inputs):
            raise ValueError(f"its inputs are {', '.join(sorted(signature.inputs))}")
        feeds = {
            signature.inputs[name].name: tf.make_ndarray(value)
            for name, value in request.inputs.items()
        }
        fetches = {name: output.name for name, output in signature.outputs.items()}
        answer: Answer = self._session.run(fetches, feeds)
        return answer


def faults(folder: str) -> Iterator[str]:
    """Yields what is wrong with an exported model.

    Args:
        folder: of the SavedModel, on any file system that TensorFlow reads.
    """
    try:
        model = LoadedModel(folder)
    except (OSError, RuntimeError, ValueError, tf.errors.OpError) as error:
        yield f"it cannot be loaded: {_line(error)}"
        return
    for name in (WARMUP_REQUESTS, GOLDEN_ANSWERS):
        try:
            logs = [
                prediction_log_pb2.PredictionLog.FromString(record)
                for record in tf.compat.v1.io.tf_record_iterator(f"{folder}/{name}")
            ]
        except tf.errors.OpError as error:
            yield f"{name} cannot be read: {_line(error)}"
            continue
        if not logs:
            yield f"{name} is empty"
        for log in logs:
            signature = log.predict_log.request.model_spec.signature_name
            try:
                answer = model.answer(log)
                if signature == _DESCRIBE:
                    _check_card(folder, answer)
            except (ValueError, tf.errors.OpError) as error:
                yield f"{signature}: {_line(error)}"
                continue
            yield from (f"{signature}: {each}" for each in _differences(log, answer))


def _check_card(folder: str, answer: Answer) -> None:
    """Raises ValueError where the card beside the graph differs from the graph's."""
    with tf.io.gfile.GFile(f"{folder}/{MODEL_CARD}") as file:
        if json.loads(file.read()) != json.loads(answer[_CARD][0]):
            raise ValueError(f"{MODEL_CARD} is of another model")


def _differences(log: prediction_log_pb2.PredictionLog, answer: Answer) -> Iterator[str]:
    """Differences from the answers in the log, if it has any."""
    outputs = log.predict_log.response.outputs
    if not outputs:
        return
    expected = {name: tf.make_ndarray(value) for name, value in outputs.items()}
    if other := set(expected) ^ set(answer):
        yield f"other outputs, {', '.join(sorted(other))}"
        return
    if PROBABILITY in expected and _SAME_SPEAKER in expected:
        # At a probability near 0.5 either decision is right.
        undecided = np.abs(expected[PROBABILITY] - 0.5) <= TOLERANCE
        expected[_SAME_SPEAKER][undecided] = answer[_SAME_SPEAKER][undecided]
    for name, value in sorted(expected.items()):
        given = answer[name]
        if (given.shape, given.dtype) != (value.shape, value.dtype):
            yield f"{name} is {given.dtype} {list(given.shape)}"
        elif value.dtype.kind != "f":
            if not np.array_equal(given, value):
                yield f"another {name}"
        elif (error := _error(given, value)) > TOLERANCE:
            yield f"{name} differs by {error:.2g}"


def _error(given: npt.NDArray[np.float32], expected: npt.NDArray[np.float32]) -> float:
    """The largest error of a row, relative to its length if above 1; infinite where NaNs differ."""
    if not np.array_equal(np.isfinite(given), np.isfinite(expected)):
        return np.inf
    rows, expected_rows = (
        np.nan_to_num(each).reshape(len(each), -1).astype(np.float64) for each in (given, expected)
    )
    length = np.linalg.norm(expected_rows, axis=1)
    differs_by = np.linalg.norm(rows - expected_rows, axis=1) / np.maximum(1.0, length)
    return float(np.max(differs_by, initial=0.0))


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:300]


def main() -> None:
    """Prints the faults of the model in the folder given as argument: a JSON list of strings."""
    say(json.dumps(list(faults(sys.argv[1]))))
