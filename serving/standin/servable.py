"""One loaded version of a model: its signatures, its warm-up, its runs.

The SavedModel is loaded into a session and a signature's tensors are fed and fetched by
name, as TF Serving does it: the same graph runs, and closing the session frees the model.
"""

import contextlib
import gc
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import tensorflow as tf
from tensorflow_serving.apis import get_model_metadata_pb2, prediction_log_pb2

from serving.standin.status import invalid

Arrays = dict[str, npt.NDArray[Any]]
Shapes = Mapping[str, tuple[tf.DType, Sequence[int]]]
"""The dtype and the axis sizes of each input."""

_PREDICT: Final = "tensorflow/serving/predict"
_WARM_UP_REQUESTS: Final = Path("assets.extra", "tf_serving_warmup_requests")
_MAX_WARM_UP_REQUESTS: Final = 1_000  # TF Serving's limit
_MAX_ELEMENTS: Final = 2**22
"""Of one tensor: a short message may declare any shape, filled with one value."""


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

    def rows(self, shapes: Shapes, max_rows: int) -> int:
        """How many items a request has, after a check of its inputs. Raises INVALID_ARGUMENT."""
        extra, missing = shapes.keys() - self.inputs.keys(), self.inputs.keys() - shapes.keys()
        if extra or missing:
            raise invalid(
                f"input size does not match signature: {len(shapes)}!={len(self.inputs)}. "
                f"Sent extra: {{{','.join(sorted(extra))}}}. "
                f"Missing but required: {{{','.join(sorted(missing))}}}."
            )
        for key, (sent, sizes) in shapes.items():
            expected = tf.as_dtype(self.inputs[key].dtype)
            if sent != expected:
                raise invalid(
                    f"Expects input {key!r} to be {expected.name} but {sent.name} is provided"
                )
            shape = tf.TensorShape(self.inputs[key].tensor_shape)
            if not sizes or not shape.is_compatible_with(sizes):
                raise invalid(f"input {key!r} must have the shape {shape}, not {tuple(sizes)}")
            if math.prod(sizes) > _MAX_ELEMENTS:
                raise invalid(f"input {key!r} declares more than {_MAX_ELEMENTS} elements")
        rows = {sizes[0] for _, sizes in shapes.values()}
        if len(rows) != 1:
            raise invalid("Batching Run() input tensors must have equal 0th-dimension size")
        if (count := rows.pop()) > max_rows:
            raise invalid(f"Task size {count} is larger than maximum input batch size {max_rows}")
        return count

    def decode(self, tensors: Mapping[str, Any], max_rows: int) -> Arrays:
        """Converts TensorProtos to arrays, strings to objects of bytes. Raises INVALID_ARGUMENT.

        The declared shapes are checked before memory is taken for them.
        """
        sizes = {}
        for key, proto in tensors.items():
            sizes[key] = [dim.size for dim in proto.tensor_shape.dim]
            if proto.tensor_shape.unknown_rank or min(sizes[key], default=0) < 0:
                raise invalid(f"input {key!r} must have a fully known shape")
        try:
            shapes = {key: (tf.as_dtype(tensors[key].dtype), sizes[key]) for key in sizes}
        except TypeError as error:
            raise invalid(f"an input is of no known type: {error}") from error
        self.rows(shapes, max_rows)
        return {key: _array(key, proto, sizes[key]) for key, proto in tensors.items()}


def _array(key: str, proto: Any, sizes: Sequence[int]) -> npt.NDArray[Any]:
    values = [value for field, value in proto.ListFields() if field.name.endswith("_val")]
    if any(len(each) > math.prod(sizes) for each in values):
        raise invalid(f"input {key!r} is malformed: it has more values than its shape")
    # Like the last number, the last string would fill what is left out, each time with a copy.
    if proto.dtype == tf.string.as_datatype_enum and len(proto.string_val) < math.prod(sizes):
        raise invalid(f"input {key!r} is malformed: it has fewer strings than its shape")
    try:
        array: npt.NDArray[Any] = tf.make_ndarray(proto)
    except (TypeError, ValueError) as error:
        raise invalid(f"input {key!r} is malformed: {error}") from error
    return array


class Servable:
    """A version in memory. Loading it blocks for seconds and raises TensorFlow's errors.

    Attributes:
        definitions: the signatures, as GetModelMetadata returns them.
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
        """Runs the warm-up requests that came with the model; returns how many.

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
            self.run(signature, signature.decode(request.inputs, _MAX_ELEMENTS))
        return len(records)

    @contextlib.contextmanager
    def in_use(self) -> Iterator["Servable"]:
        """Keeps the version loaded meanwhile. For the event loop's thread only."""
        self.uses += 1
        try:
            yield self
        finally:
            self.uses -= 1

    def close(self) -> None:
        """Frees the model's memory. Blocks; requests that still run are cancelled."""
        self._session.close()
        # The loader's Python graph is full of cycles, which the collector would leave for long.
        del self._session
        gc.collect()
