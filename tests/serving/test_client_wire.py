from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from tensorflow_serving.apis import predict_pb2

from serving import wire
from serving.predict_pb2 import PredictRequest, PredictResponse
from serving.wire import ModelSpec

ROWS = np.arange(6, dtype=np.float32).reshape(2, 3)


def _check_fields(message: Any, stock: Any) -> None:
    for field in message.fields:
        expected = stock.fields_by_name[field.name]
        for part in ("number", "is_repeated", "type"):
            assert getattr(field, part) == getattr(expected, part), (message.name, field.name, part)
        if field.message_type is not None:
            _check_fields(field.message_type, expected.message_type)
        if field.enum_type is not None:
            numbers = field.enum_type.values_by_number
            stock_numbers = expected.enum_type.values_by_number
            assert all(stock_numbers[n].name == value.name for n, value in numbers.items())


@pytest.mark.parametrize(
    ("message", "stock"),
    [
        (PredictRequest, predict_pb2.PredictRequest),
        (PredictResponse, predict_pb2.PredictResponse),
    ],
)
def test_fields_are_those_of_the_stock_stubs(message: Any, stock: Any) -> None:
    _check_fields(message.DESCRIPTOR, stock.DESCRIPTOR)


@pytest.mark.parametrize(
    "spec", [ModelSpec("swar"), ModelSpec("swar", version=12), ModelSpec("swar", label="stable")]
)
def test_requests_are_those_of_the_stock_stubs_byte_for_byte(spec: ModelSpec) -> None:
    stock = predict_pb2.PredictRequest()
    stock.model_spec.name = "swar"
    stock.model_spec.signature_name = "embed"
    if spec.version is not None:
        stock.model_spec.version.value = spec.version
    if spec.label is not None:
        stock.model_spec.version_label = spec.label
    stock.inputs["audio"].CopyFrom(tf.make_tensor_proto([b"RIFF\x00\xff", b""]))
    stock.inputs["embedding_a"].CopyFrom(tf.make_tensor_proto(ROWS))
    made = wire.predict_request(
        spec, "embed", {"audio": [b"RIFF\x00\xff", b""], "embedding_a": ROWS}
    )
    assert made.SerializeToString(deterministic=True) == stock.SerializeToString(deterministic=True)


def _outputs(**tensors: tf.make_tensor_proto) -> dict[str, wire.Tensor]:
    stock = predict_pb2.PredictResponse()
    stock.model_spec.name = "swar"
    for name, tensor in tensors.items():
        stock.outputs[name].CopyFrom(tensor)
    return wire.predict_outputs(PredictResponse.FromString(stock.SerializeToString()))


@pytest.mark.parametrize(
    "values",
    [
        ROWS,
        ROWS.astype(np.float64),
        np.array([1, -2], np.int32),
        np.array([2**40, -1]),
        np.array([True, False]),
        np.zeros((0, 4), np.float32),
        np.full((3, 2), 7.0, np.float32),  # written as one value that stands for all
        np.array([np.nan, np.inf], np.float32),
    ],
)
def test_answers_of_the_stock_stubs_are_read(values: np.ndarray) -> None:
    proto = tf.make_tensor_proto(values)
    np.testing.assert_array_equal(_outputs(x=proto)["x"], values)
    in_fields = tf.compat.v1.make_tensor_proto(values.tolist(), proto.dtype, values.shape)
    np.testing.assert_array_equal(_outputs(x=in_fields)["x"], values)


def test_strings_are_read_as_bytes() -> None:
    read = _outputs(status=tf.make_tensor_proto([b"ok", b"not_wav"]))["status"]
    assert read.tolist() == [b"ok", b"not_wav"]


def test_a_tensor_that_contradicts_itself_is_refused() -> None:
    short = tf.make_tensor_proto(ROWS)
    short.tensor_shape.dim[0].size = 5
    with pytest.raises(ValueError, match="reshape"):
        _outputs(x=short)
    with pytest.raises(ValueError, match="a tensor of type 8"):
        _outputs(x=tf.make_tensor_proto(np.array([1j], np.complex64)))
    unknown = tf.make_tensor_proto(ROWS)
    unknown.tensor_shape.dim[0].size = -1
    with pytest.raises(ValueError, match="a tensor of shape"):
        _outputs(x=unknown)
