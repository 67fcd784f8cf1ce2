"""TF Serving's messages, wire-compatible, without TensorFlow.

The stubs of tensorflow-serving-api import TensorFlow's, and with them TensorFlow. The few
messages of a Predict call are declared here instead, in a descriptor pool of their own, so
that they do not meet TensorFlow's where both are loaded. Numbers and types are those of
tensorflow/core/framework/tensor.proto, tensor_shape.proto and tensorflow_serving/apis/
model.proto, predict.proto.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

PREDICT_METHOD: Final = "/tensorflow.serving.PredictionService/Predict"

Tensor = npt.NDArray[Any]
Input = Sequence[bytes] | npt.NDArray[np.float32]

_Field = descriptor_pb2.FieldDescriptorProto
_PACKAGE: Final = "tensorflow"
_DT_FLOAT, _DT_STRING = 1, 7
# Of DataType in types.proto: the type of the elements, and the field that holds them.
_DTYPES: Final[Mapping[int, tuple[str, str]]] = {
    _DT_FLOAT: ("<f4", "float_val"),
    2: ("<f8", "double_val"),
    3: ("<i4", "int_val"),
    9: ("<i8", "int64_val"),
    10: ("?", "bool_val"),
}


@dataclass(frozen=True)
class ModelSpec:
    """Which model is asked: the newest version unless a version or a label is named."""

    name: str
    version: int | None = None
    label: str | None = None

    def __str__(self) -> str:
        if self.version is not None:
            return f"model {self.name!r} version {self.version}"
        return f"model {self.name!r}" + (f" label {self.label!r}" if self.label else "")


def _declare(
    container: Any, name: str, *fields: tuple[str, int, int, str | None], repeated: str = ""
) -> Any:
    """A message; each field has a name, a number, a type and, of a message, its name."""
    message = container.add(name=name)
    for field_name, number, kind, type_name in fields:
        many = field_name in repeated.split()
        message.field.add(
            name=field_name,
            number=number,
            type=kind,
            label=_Field.LABEL_REPEATED if many else _Field.LABEL_OPTIONAL,
            type_name=type_name and f".{_PACKAGE}.{type_name}",
        )
    return message


def _declare_tensor_map(message: Any, field_name: str, number: int) -> None:
    """`map<string, TensorProto>`, which on the wire is repeated entries of key and value."""
    entry_name = f"{field_name.capitalize()}Entry"
    entry = _declare(
        message.nested_type,
        entry_name,
        ("key", 1, _Field.TYPE_STRING, None),
        ("value", 2, _Field.TYPE_MESSAGE, "TensorProto"),
    )
    entry.options.map_entry = True
    message.field.add(
        name=field_name,
        number=number,
        type=_Field.TYPE_MESSAGE,
        label=_Field.LABEL_REPEATED,
        type_name=f".{_PACKAGE}.{message.name}.{entry_name}",
    )


def _message_classes() -> tuple[Any, Any]:
    file = descriptor_pb2.FileDescriptorProto(
        name="swar_predict.proto", package=_PACKAGE, syntax="proto3"
    )
    messages = file.message_type
    shape = _declare(
        messages,
        "TensorShapeProto",
        ("dim", 2, _Field.TYPE_MESSAGE, "TensorShapeProto.Dim"),
        ("unknown_rank", 3, _Field.TYPE_BOOL, None),
        repeated="dim",
    )
    _declare(shape.nested_type, "Dim", ("size", 1, _Field.TYPE_INT64, None))
    _declare(
        messages,
        "TensorProto",
        ("dtype", 1, _Field.TYPE_INT32, None),  # an enum, the same on the wire
        ("tensor_shape", 2, _Field.TYPE_MESSAGE, "TensorShapeProto"),
        ("tensor_content", 4, _Field.TYPE_BYTES, None),
        ("float_val", 5, _Field.TYPE_FLOAT, None),
        ("double_val", 6, _Field.TYPE_DOUBLE, None),
        ("int_val", 7, _Field.TYPE_INT32, None),
        ("string_val", 8, _Field.TYPE_BYTES, None),
        ("int64_val", 10, _Field.TYPE_INT64, None),
        ("bool_val", 11, _Field.TYPE_BOOL, None),
        repeated="float_val double_val int_val string_val int64_val bool_val",
    )
    _declare(messages, "Int64Value", ("value", 1, _Field.TYPE_INT64, None))
    _declare(
        messages,
        "ModelSpec",
        ("name", 1, _Field.TYPE_STRING, None),
        ("version", 2, _Field.TYPE_MESSAGE, "Int64Value"),
        ("signature_name", 3, _Field.TYPE_STRING, None),
        ("version_label", 4, _Field.TYPE_STRING, None),
    )
    spec = ("model_spec", _Field.TYPE_MESSAGE, "ModelSpec")
    request = _declare(messages, "PredictRequest", (spec[0], 1, *spec[1:]))
    _declare_tensor_map(request, "inputs", 2)
    response = _declare(messages, "PredictResponse", (spec[0], 2, *spec[1:]))
    _declare_tensor_map(response, "outputs", 1)

    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    made = (
        message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{_PACKAGE}.{name}"))
        for name in ("PredictRequest", "PredictResponse")
    )
    request_class, response_class = made
    return request_class, response_class


PredictRequest, PredictResponse = _message_classes()


def predict_request(spec: ModelSpec, signature: str, inputs: Mapping[str, Input]) -> Any:
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


def predict_outputs(response: Any) -> dict[str, Tensor]:
    """A response's outputs as arrays, strings as an object array of bytes.

    Raises:
        ValueError: a tensor contradicts itself, or is of a type that Swar does not use.
    """
    return {name: _read_tensor(tensor) for name, tensor in response.outputs.items()}


def _write_tensor(tensor: Any, value: Input) -> None:
    if isinstance(value, np.ndarray):
        tensor.dtype = _DT_FLOAT
        tensor.tensor_content = np.ascontiguousarray(value, "<f4").tobytes()
        shape = value.shape
    else:
        tensor.dtype = _DT_STRING
        tensor.string_val.extend(value)
        shape = (len(value),)
    for size in shape:
        tensor.tensor_shape.dim.add(size=size)


def _read_tensor(tensor: Any) -> Tensor:
    shape = [dim.size for dim in tensor.tensor_shape.dim]
    if min(shape, default=0) < 0:
        raise ValueError(f"a tensor of shape {shape}")
    if tensor.dtype == _DT_STRING:
        return _filled(np.array(list(tensor.string_val), dtype=object), shape)
    if tensor.dtype not in _DTYPES:
        raise ValueError(f"a tensor of type {tensor.dtype}")
    dtype, field = _DTYPES[tensor.dtype]
    if tensor.tensor_content:
        return np.frombuffer(tensor.tensor_content, dtype).reshape(shape)
    return _filled(np.array(getattr(tensor, field), dtype), shape)


def _filled(values: Tensor, shape: Sequence[int]) -> Tensor:
    """The values in their shape; as tensor.proto has it, the last stands for those left out."""
    missing = math.prod(shape) - len(values)
    if len(values) and missing > 0:
        values = np.append(values, np.repeat(values[-1:], missing))
    return values.reshape(shape)
