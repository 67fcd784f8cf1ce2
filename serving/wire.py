"""TF Serving's messages without TensorFlow, see predict.proto."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from pydantic_core import from_json

from serving.predict_pb2 import (
    DT_BOOL,
    DT_DOUBLE,
    DT_FLOAT,
    DT_INT32,
    DT_INT64,
    DT_STRING,
    PredictRequest,
    PredictResponse,
    TensorProto,
)

MAX_JSON_VALUES: Final = 2**20
"""Of one body: a number of 2 bytes in JSON takes some 70 as a Python object."""
_MAX_SHOWN_CHARACTERS: Final = 500
_MAX_ELEMENTS: Final = 2**22
PREDICT_METHOD: Final = "/tensorflow.serving.PredictionService/Predict"

Tensor = npt.NDArray[Any]
Input = Sequence[bytes] | npt.NDArray[np.float32]

# The type of a tensor's elements, and the field that holds them.
_DTYPES: Final[Mapping[int, tuple[str, str]]] = {
    DT_FLOAT: ("<f4", "float_val"),
    DT_DOUBLE: ("<f8", "double_val"),
    DT_INT32: ("<i4", "int_val"),
    DT_INT64: ("<i8", "int64_val"),
    DT_BOOL: ("?", "bool_val"),
}


@dataclass(frozen=True)
class ModelSpec:
    """Which model a request is for: the newest version unless a version or a label is named."""

    name: str
    version: int | None = None
    label: str | None = None

    def __str__(self) -> str:
        if self.version is not None:
            return f"model {self.name!r} version {self.version}"
        return f"model {self.name!r}" + (f" label {self.label!r}" if self.label else "")


def parse_json(body: bytes | bytearray) -> Any:
    """Parses JSON from elsewhere, with NaN and Infinity as numbers.

    Raises:
        ValueError: it is no JSON, is nested too deep, or has too many values.
    """
    if sum(map(body.count, (b",", b"[", b"{"))) > MAX_JSON_VALUES:
        raise ValueError(f"the JSON has more than {MAX_JSON_VALUES} values")
    return from_json(body)


def one_line(text: str) -> str:
    """Text from elsewhere made fit to show: short, without terminal control characters."""
    words = " ".join(text[:_MAX_SHOWN_CHARACTERS].split())
    return "".join(each if each.isprintable() else "\N{REPLACEMENT CHARACTER}" for each in words)


def predict_request(spec: ModelSpec, signature: str, inputs: Mapping[str, Input]) -> PredictRequest:
    """The request that calls a signature with bytes [N] or float32 arrays."""
    request = PredictRequest()
    request.model_spec.name = spec.name
    request.model_spec.signature_name = signature
    if spec.version is not None:
        request.model_spec.version.value = spec.version
    if spec.label is not None:
        request.model_spec.version_label = spec.label
    for name, value in inputs.items():
        _write_tensor(request.inputs[name], value)
    return request


def predict_outputs(response: PredictResponse) -> dict[str, Tensor]:
    """A response's outputs as arrays, strings as an object array of bytes.

    Raises:
        ValueError: a tensor contradicts itself, or is of a type that Swar does not use.
    """
    return {name: _read_tensor(tensor) for name, tensor in response.outputs.items()}


def _write_tensor(tensor: TensorProto, value: Input) -> None:
    if isinstance(value, np.ndarray):
        tensor.dtype = DT_FLOAT
        tensor.tensor_content = np.ascontiguousarray(value, "<f4").tobytes()
        shape = value.shape
    else:
        tensor.dtype = DT_STRING
        tensor.string_val.extend(value)
        shape = (len(value),)
    for size in shape:
        tensor.tensor_shape.dim.add(size=size)


def _read_tensor(tensor: TensorProto) -> Tensor:
    shape = [dim.size for dim in tensor.tensor_shape.dim]
    if min(shape, default=0) < 0 or math.prod(shape) > _MAX_ELEMENTS:
        raise ValueError(f"a tensor of shape {shape[:8]}")
    if tensor.dtype == DT_STRING:
        return _filled(tensor.string_val, object, shape)
    if tensor.dtype not in _DTYPES:
        raise ValueError(f"a tensor of type {tensor.dtype}")
    dtype, field = _DTYPES[tensor.dtype]
    if tensor.tensor_content:
        return np.frombuffer(tensor.tensor_content, dtype).reshape(shape)
    return _filled(getattr(tensor, field), dtype, shape)


def _filled(field: Sequence[Any], dtype: Any, shape: Sequence[int]) -> Tensor:
    """The values in their shape; as in tensor.proto, the last one fills in for missing ones."""
    if len(field) > math.prod(shape):
        raise ValueError(f"a tensor of shape {shape} with {len(field)} values")
    values = np.array(list(field), dtype)
    missing = math.prod(shape) - len(values)
    if len(values) and missing > 0:
        values = np.append(values, np.repeat(values[-1:], missing))
    return values.reshape(shape)
