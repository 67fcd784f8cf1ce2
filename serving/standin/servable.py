"""One loaded version of a model: its signatures, its warm-up, its runs.

The SavedModel is loaded into a session and a signature's tensors are fed and fetched by
name, as TF Serving does it: the same graph runs, and closing the session frees the model.
"""

import contextlib
import gc
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import tensorflow as tf
from tensorflow_serving.apis import get_model_metadata_pb2, prediction_log_pb2

from serving.standin.status import invalid

Arrays = dict[str, npt.NDArray[Any]]

_PREDICT: Final = "tensorflow/serving/predict"
_WARM_UP_REQUESTS: Final = Path("assets.extra", "tf_serving_warmup_requests")
_MAX_WARM_UP_REQUESTS: Final = 1_000  # TF Serving's limit
_MAX_ELEMENTS: Final = 2**26  # a proto of few bytes may declare any shape, filled with one value


def decode(tensors: Mapping[str, Any]) -> Arrays:
    """TensorProtos to arrays, object arrays of bytes for strings. Raises INVALID_ARGUMENT."""
    arrays = {}
    for key, proto in tensors.items():
        sizes = [dim.size for dim in proto.tensor_shape.dim]
        if proto.tensor_shape.unknown_rank or min(sizes, default=0) < 0:
            raise invalid(f"input {key!r} must have a fully known shape")
        if math.prod(sizes) > _MAX_ELEMENTS:
            raise invalid(f"input {key!r} declares more than {_MAX_ELEMENTS} elements")
        try:
            arrays[key] = tf.make_ndarray(proto)
        except (TypeError, ValueError) as error:
            raise invalid(f"input {key!r} is malformed: {error}") from error
    return arrays


class Signature:
    """A named function of the model.

    Attributes:
        inputs: name to TensorInfo.
        outputs: name to the name of the graph's tensor.
    """

    def __init__(self, name: str, definition: Any) -> None:
        self.name = name
        self.inputs = dict(definition.inputs)
        self.outputs = {key: info.name for key, info in sorted(definition.outputs.items())}

    def rows(self, inputs: Arrays) -> int:
        """How many items a request has, after a check of its inputs. Raises INVALID_ARGUMENT."""
        extra, missing = inputs.keys() - self.inputs.keys(), self.inputs.keys() - inputs.keys()
        if extra or missing:
            raise invalid(
                f"input size does not match signature: {len(inputs)}!={len(self.inputs)}. "
                f"Sent extra: {{{','.join(sorted(extra))}}}. "
                f"Missing but required: {{{','.join(sorted(missing))}}}."
            )
        for key, array in inputs.items():
            expected, sent = tf.as_dtype(self.inputs[key].dtype), tf.as_dtype(array.dtype)
            if sent != expected:
                raise invalid(
                    f"Expects input {key!r} to be {expected.name} but {sent.name} is provided"
                )
            shape = tf.TensorShape(self.inputs[key].tensor_shape)
            if not array.ndim or not shape.is_compatible_with(array.shape):
                raise invalid(f"input {key!r} must have the shape {shape}, not {array.shape}")
        rows = {len(array) for array in inputs.values()}
        if len(rows) != 1:
            raise invalid("Batching Run() input tensors must have equal 0th-dimension size")
        return rows.pop()


class Servable:
    """A version in memory. Loading blocks for seconds, and raises what TensorFlow raises.

    Attributes:
        definitions: the signatures, as GetModelMetadata tells them.
        uses: how many requests use the version.
    """

    def __init__(self, version: int, folder: Path) -> None:
        self.version = version
        self.uses = 0
        self._folder = folder
        graph = tf.Graph()
        with graph.as_default():
            self._session = tf.compat.v1.Session(graph=graph)
            definitions = tf.compat.v1.saved_model.load(
                self._session, ["serve"], str(folder)
            ).signature_def
        self.definitions = get_model_metadata_pb2.SignatureDefMap(signature_def=definitions)

    def signature(self, name: str) -> Signature:
        """The signature of this name, `serving_default` for "". Raises FAILED_PRECONDITION."""
        name = name or "serving_default"
        definitions = self.definitions.signature_def
        if name not in definitions or definitions[name].method_name != _PREDICT:
            message = f'Serving signature key "{name}" not found.'
            raise tf.errors.FailedPreconditionError(None, None, message)
        return Signature(name, definitions[name])

    def run(self, signature: Signature, inputs: Arrays) -> Arrays:
        """All outputs of a signature; blocks; may be called from several threads at once."""
        feeds = {signature.inputs[key].name: array for key, array in inputs.items()}
        outputs: dict[str, Any] = self._session.run(signature.outputs, feeds)
        return {key: np.asarray(value) for key, value in outputs.items()}

    def warm_up(self) -> int:
        """Runs the requests that came with the model; returns how many they were.

        Raises tf.errors.OpError for a request that the model does not answer.
        """
        if not (file := self._folder / _WARM_UP_REQUESTS).exists():
            return 0
        records = list(tf.data.TFRecordDataset(str(file)).take(_MAX_WARM_UP_REQUESTS + 1))
        if len(records) > _MAX_WARM_UP_REQUESTS:
            raise invalid(f"Number of warmup records exceeds the maximum ({_MAX_WARM_UP_REQUESTS})")
        for record in records:
            log = prediction_log_pb2.PredictionLog.FromString(record.numpy())
            request = log.predict_log.request
            signature = self.signature(request.model_spec.signature_name)
            inputs = decode(request.inputs)
            signature.rows(inputs)
            self.run(signature, inputs)
        return len(records)

    @contextlib.contextmanager
    def in_use(self) -> Iterator["Servable"]:
        """Keeps the version loaded meanwhile. Of the event loop's thread only."""
        self.uses += 1
        try:
            yield self
        finally:
            self.uses -= 1

    def close(self) -> None:
        """Frees the model's memory. Blocks; nothing may use the version any more."""
        self._session.close()
        # The loader's Python graph is full of cycles, which the collector would leave for long.
        del self._session
        gc.collect()
