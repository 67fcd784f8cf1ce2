"""What a request declares is checked before it is read: the audit's H3."""

import socket
import time

import grpc
import numpy as np
import pytest
import tensorflow as tf
from tensorflow_serving.apis import predict_pb2

from serving.standin.message_fields import check_fields
from tests.serving.support_standin import (
    PREDICT,
    PREDICT_METHOD,
    call,
    post,
    predict_request,
    prediction,
    refusal,
    served,
)


def filled(signature, shapes, **values):
    """A request whose tensors are declared by their shapes and filled with one value."""
    request = predict_request(signature)
    for name, shape in shapes.items():
        tensor = request.inputs[name]
        (field, value), *_ = values.items()
        tensor.dtype = (tf.string if field == "string_val" else tf.float32).as_datatype_enum
        getattr(tensor, field).append(value)
        for size in shape:
            tensor.tensor_shape.dim.add(size=size)
    return request


@pytest.mark.parametrize(
    "request_",
    [
        filled("", {"audio": [50_000]}, string_val=b""),
        filled("", {"audio": [2**26]}, string_val=b""),
        filled("", {"audio": [2**62]}, string_val=b""),
        filled("compare", {"a": [200_000, 2], "b": [200_000, 2]}, float_val=0.0),
        filled("half_plus", {"x": [801]}, float_val=0.0),
    ],
)
def test_a_short_request_cannot_declare_rows_without_end(ports, request_):
    with prediction(ports) as stub:
        started = time.monotonic()
        code, details = refusal(stub.Predict, request_)
        assert time.monotonic() - started < 2
    assert code == grpc.StatusCode.INVALID_ARGUMENT
    assert "larger than maximum" in details or "elements" in details


def declared(*sizes, unknown_rank=False, content=b""):
    """A request whose recordings are of that shape, whatever is in it."""
    request = predict_request()
    tensor = request.inputs["audio"]
    tensor.dtype = tf.string.as_datatype_enum
    tensor.string_val.append(b"")
    tensor.tensor_content = content
    tensor.tensor_shape.unknown_rank = unknown_rank
    for size in sizes:
        tensor.tensor_shape.dim.add(size=size)
    return request


@pytest.mark.parametrize(
    "request_",
    [
        declared(2**32, 2**32),  # no elements, in 64 bits
        declared(2**40, 0),
        declared(-1),
        declared(*[2] * 62),
        declared(*[1] * 5_000),
        declared(unknown_rank=True),
        declared(2**20, content=b"x" * 10),
        predict_request("", audio=[b"a"], **{f"x{n}": [b"a"] for n in range(2_000)}),
    ],
)
def test_a_shape_without_sense_is_refused_at_once(ports, request_):
    with prediction(ports) as stub:
        started = time.monotonic()
        code, _ = refusal(stub.Predict, request_)
        assert time.monotonic() - started < 2
    assert code == grpc.StatusCode.INVALID_ARGUMENT


def test_strings_that_are_left_out_are_not_made_up(ports):
    """As numbers are, by the last one: a megabyte would become as many as there are rows."""
    with prediction(ports) as stub:
        code, details = refusal(stub.Predict, filled("", {"audio": [8]}, string_val=b"abc"))
        assert stub.Predict(filled("half_plus", {"x": [8]}, float_val=1.0), timeout=30).outputs
    assert (code, "fewer strings than its shape" in details) == (
        grpc.StatusCode.INVALID_ARGUMENT,
        True,
    )


def test_more_values_than_the_shape_are_refused_before_they_are_read(ports):
    request = predict_request("", audio=[b"abc"])
    request.inputs["audio"].string_val.extend([b""] * 40_000)
    with prediction(ports) as stub:
        code, details = refusal(stub.Predict, request)
    assert (code, "more values than its shape" in details) == (
        grpc.StatusCode.INVALID_ARGUMENT,
        True,
    )


def sized(tag, content):
    """A field of protobuf that is a string, a message or packed numbers."""
    length, size = len(content), []
    while length >= 0x80:
        size.append(length & 0x7F | 0x80)
        length >>= 7
    return bytes([tag, *size, length]) + content


def of_tensor(content):
    """A PredictRequest whose `audio` is a tensor of these bytes."""
    entry = sized(0x0A, b"audio") + sized(0x12, content)
    return predict_request().SerializeToString() + sized(0x12, entry)


MANY = 400_000


@pytest.mark.parametrize(
    "message",
    [
        of_tensor(b"\x42\x00" * MANY),  # empty strings
        of_tensor(b"\x72\x00" * MANY),  # empty messages
        of_tensor(b"\x7a\x00" * MANY),
        of_tensor(sized(0x12, b"\x12\x00" * MANY)),  # axes of the shape
        of_tensor(b"\x50\x01" * MANY),  # int64, each by itself
        b"\x1a\x00" * MANY,  # filters of outputs
        b"\x12\x00" * MANY,  # inputs
        b"\x78\x01" * MANY,  # unknown
        b"\x0b" * MANY,  # groups
        b"\x80" * MANY,  # a number that does not end
    ],
    ids=range(10),
)
def test_a_message_of_very_many_fields_is_refused(ports, message):
    with grpc.insecure_channel(f"127.0.0.1:{ports.grpc}") as channel:
        code, _ = refusal(channel.unary_unary(PREDICT_METHOD), message)
    assert code == grpc.StatusCode.INVALID_ARGUMENT


@pytest.mark.parametrize(
    "tensor",
    [
        b"\x42\x00" * MANY,
        sized(0x12, b"\x12\x00" * MANY),
        sized(0x52, b"\x01" * 5_000_000),  # packed int64
        sized(0x5A, b"\x01" * 5_000_000),  # packed bool
        sized(0x2A, bytes(20_000_000)),  # packed floats
        sized(0x32, bytes(40_000_000)),  # packed doubles
    ],
    ids=range(6),
)
def test_fields_and_numbers_are_counted_before_a_message_is_unpacked(tensor):
    with pytest.raises(tf.errors.InvalidArgumentError, match="more than 65536 fields or 4194304"):
        check_fields(of_tensor(tensor), predict_pb2.PredictRequest.DESCRIPTOR)


def test_a_message_of_many_recordings_or_numbers_is_unpacked():
    rows = predict_request("", audio=[b"abc"] * 1_024)
    numbers = predict_request("half_plus", x=np.zeros(2**20, np.float32))
    for request in (rows, numbers):
        check_fields(request.SerializeToString(), predict_pb2.PredictRequest.DESCRIPTOR)


def half_plus(values):
    return {"signature_name": "half_plus", "instances": values}


def test_rows_over_rest_have_the_same_bound(ports):
    status, answer = call(ports, PREDICT, half_plus([0.0] * 801))
    assert status == 400
    assert "larger than maximum input batch size 800" in answer["error"]
    assert call(ports, PREDICT, half_plus([0.0] * 800))[0] == 200


def test_json_of_many_values_is_refused_before_it_is_parsed(models):
    with served(models, limits={"max_request_bytes": 2**25}) as ports:
        body = b'{"instances": [' + b"[[0]]," * 1_000_000 + b"[[0]]]}"
        started = time.monotonic()
        status, answer = call(ports, PREDICT, body)
        assert status == 400
        assert "values" in answer["error"]
        assert time.monotonic() - started < 2


def nested(depth):
    return b'{"instances": [' + b"[" * depth + b"1" + b"]" * depth + b"]}"


@pytest.mark.parametrize("depth", [10, 31, 32, 33, 62, 63, 64, 65, 100, 198, 500, 989, 5_000])
@pytest.mark.parametrize("signature", ["serving_default", "half_plus"])
def test_nested_lists_of_any_depth_are_a_bad_request(ports, depth, signature):
    body = nested(depth).replace(b"{", b'{"signature_name": "%s", ' % signature.encode(), 1)
    status, answer = post(ports, body, {})
    assert status == 400
    assert answer["error"]


@pytest.mark.parametrize(
    ("body", "headers", "path"),
    [
        (b"{}", {}, f"/v1/models/swar/versions/{'9' * 5_000}:predict"),
        (b'{"instances": [' + b"9" * 5_000 + b"]}", {}, PREDICT),
        (b'{"instances": [1e9999999]}', {}, PREDICT),
        (b"no deflate", {"Content-Encoding": "deflate"}, PREDICT),
        (b"no brotli", {"Content-Encoding": "br"}, PREDICT),
        (b"no gzip", {"Content-Encoding": "gzip"}, PREDICT),
    ],
)
def test_digits_and_encodings_without_sense_are_a_bad_request(ports, body, headers, path):
    status, answer = post(ports, body, headers, path)
    assert status == 400
    assert answer["error"]


def test_what_is_no_http_is_refused_without_a_line_in_the_log(ports, caplog):
    for sent in (b"\x16\x03\x01\n\n", b"GET / HTTP/9.9\r\n\r\n", b"Content-Encoding: zstd\r\n\r\n"):
        with socket.create_connection(("127.0.0.1", ports.rest), 10) as connection:
            connection.sendall(sent)
            assert connection.recv(100).startswith(b"HTTP/1.0 400")
    assert caplog.records == []
