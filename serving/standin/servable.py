"""One loaded version of a model: its signatures, its warm-up, its runs.

The SavedModel is loaded into a session and a signature's tensors are fed and fetched by
name, as TF Serving does it: the same graph runs, and closing the session frees the model.
"""

import asyncio
import contextlib
import gc
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import grpc
import numpy as np
import numpy.typing as npt
import tensorflow as tf
from tensorflow_serving.apis import get_model_metadata_pb2, prediction_log_pb2

from serving.standin.status import ServingError, invalid

Arrays = dict[str, npt.NDArray[Any]]

DEFAULT_SIGNATURE: Final = "serving_default"
WARM_UP_REQUESTS: Final = Path("assets.extra", "tf_serving_warmup_requests")

_PREDICT: Final = "tensorflow/serving/predict"
_MOST_WARM_UP_REQUESTS: Final = 1_000  # TF Serving's limit
_MOST_ELEMENTS: Final = 2**26  # a proto of few bytes may declare any shape, filled with one value


class Signature:
    """A named function of the model: what it takes and what it gives.

    Attributes:
        name: its key in the SavedModel.
        inputs: name to TensorInfo.
        outputs: name to the name of the graph's tensor.
    """

    def __init__(self, name: str, definition: Any) -> None:
        self.name = name
        self.inputs = dict(definition.inputs)
        self.outputs = {key: info.name for key, info in sorted(definition.outputs.items())}
        self._shapes = {
            key: tf.TensorShape(info.tensor_shape) for key, info in definition.inputs.items()
        }

    def rows(self, inputs: Mapping[str, npt.NDArray[Any]]) -> int:
        """How many items a request has, after a check of its inputs' names and shapes.

        Raises INVALID_ARGUMENT.
        """
        extra, missing = inputs.keys() - self.inputs.keys(), self.inputs.keys() - inputs.keys()
        if extra or missing:
            raise invalid(
                f"input size does not match signature: {len(inputs)}!={len(self.inputs)}. "
                f"Sent extra: {{{','.join(sorted(extra))}}}. "
                f"Missing but required: {{{','.join(sorted(missing))}}}."
            )
        for key, array in inputs.items():
            if not self._shapes[key].is_compatible_with(array.shape):
                raise invalid(
                    f"input {key!r} must have the shape {self._shapes[key]}, not {array.shape}"
                )
            if array.ndim == 0:
                raise invalid("Batching Run() input tensors must have at least one dimension")
        rows = {len(array) for array in inputs.values()}
        if len(rows) != 1:
            raise invalid("Batching Run() input tensors must have equal 0th-dimension size")
        return rows.pop()

    def decode(self, tensors: Mapping[str, Any]) -> Arrays:
        """TensorProtos to arrays (object arrays of bytes for strings); names are not checked.

        Raises INVALID_ARGUMENT for another dtype than the signature's, or a malformed tensor.
        """
        return {key: self._array(key, proto) for key, proto in tensors.items()}

    def _array(self, key: str, proto: Any) -> npt.NDArray[Any]:
        info = self.inputs.get(key)
        if info is not None and proto.dtype != info.dtype:
            expected, sent = (tf.dtypes.as_dtype(t).name for t in (info.dtype, proto.dtype or 1))
            raise invalid(f"Expects input {key!r} to be {expected} but {sent} is provided")
        sizes = [dim.size for dim in proto.tensor_shape.dim]
        if proto.tensor_shape.unknown_rank or min(sizes, default=0) < 0:
            raise invalid(f"input {key!r} must have a fully known shape")
        if math.prod(sizes) > _MOST_ELEMENTS:
            raise invalid(f"input {key!r} declares more than {_MOST_ELEMENTS} elements")
        try:
            array: npt.NDArray[Any] = tf.make_ndarray(proto)
        except (TypeError, ValueError) as error:
            raise invalid(f"input {key!r} is malformed: {error}") from error
        return array


class Servable:
    """A version in memory.

    Args:
        version: its number.
        folder: the SavedModel.

    Loading blocks for seconds. Raises what TensorFlow raises for a damaged model.
    """

    def __init__(self, version: int, folder: Path) -> None:
        self.version = version
        self._folder = folder
        self._uses = 0
        self._idle = asyncio.Event()
        self._idle.set()
        graph = tf.Graph()
        with graph.as_default():
            self._session = tf.compat.v1.Session(graph=graph)
            loaded = tf.compat.v1.saved_model.load(self._session, ["serve"], str(folder))
        self.definitions = get_model_metadata_pb2.SignatureDefMap(
            signature_def=loaded.signature_def
        )
        self._signatures = {
            name: Signature(name, definition)
            for name, definition in loaded.signature_def.items()
            if definition.method_name == _PREDICT
        }

    def signature(self, name: str) -> Signature:
        """The signature of this name, `serving_default` for "".

        Raises FAILED_PRECONDITION where the model has none.
        """
        signature = self._signatures.get(name or DEFAULT_SIGNATURE)
        if signature is None:
            raise ServingError(
                grpc.StatusCode.FAILED_PRECONDITION,
                f'Serving signature key "{name or DEFAULT_SIGNATURE}" not found.',
            )
        return signature

    def run(self, signature: Signature, inputs: Arrays) -> Arrays:
        """All outputs of a signature; blocks; may be called from several threads at once."""
        feeds = {signature.inputs[key].name: array for key, array in inputs.items()}
        outputs: dict[str, Any] = self._session.run(signature.outputs, feeds)
        return {key: np.asarray(value) for key, value in outputs.items()}

    def warm_up(self) -> int:
        """Runs the requests that came with the model; returns how many they were.

        Raises ServingError for a request that the model does not answer.
        """
        file = self._folder / WARM_UP_REQUESTS
        if not file.exists():
            return 0
        count = 0
        for record in tf.data.TFRecordDataset(str(file)).as_numpy_iterator():
            count += 1
            if count > _MOST_WARM_UP_REQUESTS:
                raise invalid(
                    f"Number of warmup records exceeds the maximum ({_MOST_WARM_UP_REQUESTS})"
                )
            log = prediction_log_pb2.PredictionLog.FromString(record)
            if log.WhichOneof("log_type") != "predict_log":
                raise invalid("a warm-up record must hold a predict_log")
            request = log.predict_log.request
            signature = self.signature(request.model_spec.signature_name)
            inputs = signature.decode(request.inputs)
            signature.rows(inputs)
            self.run(signature, inputs)
        return count

    @contextlib.contextmanager
    def in_use(self) -> Iterator["Servable"]:
        """Keeps the version loaded meanwhile. Of the event loop's thread only."""
        self._uses += 1
        self._idle.clear()
        try:
            yield self
        finally:
            self._uses -= 1
            if not self._uses:
                self._idle.set()

    async def idle(self) -> None:
        """Waits until nothing uses the version."""
        await self._idle.wait()

    def close(self) -> None:
        """Frees the model's memory. Blocks; nothing may use the version any more."""
        self._session.close()
        # The loader's Python graph is full of cycles, which the collector would leave for long.
        del self._session
        gc.collect()
