"""The stand-in's REST API, against what TF Serving documents (tfx/serving/api_rest)."""

import base64
import json
import math
import os
import socket
import threading
import time

import numpy as np
import pytest
from prometheus_client.parser import text_string_to_metric_families

from benchmarks.process_memory import resident_bytes
from serving.standin import json_tensors, rest
from tests.serving.support_standin import call, call_raw, served, write_model

PREDICT = "/v1/models/swar:predict"


def b64(value):
    return {"b64": base64.b64encode(value).decode()}


@pytest.fixture(scope="module")
def ports(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    write_model(folder, 3)
    with served(folder, labels={"stable": 3}) as ports:
        yield ports


def test_rows_of_one_input_and_several_outputs(ports):
    status, answer = call(ports, PREDICT, {"instances": [b64(b"\x00\xffabc"), b64(b"x" * 9)]})
    assert status == 200
    assert answer == {
        "predictions": [
            {"embedding": [8.0, 0.2], "heard_bytes": b64(b"\x00\xffabc"), "status": "ok"},
            {"embedding": [12.0, 0.2], "heard_bytes": b64(b"x" * 9), "status": "ok"},
        ]
    }


def test_a_row_may_name_its_input(ports):
    _, named = call(ports, PREDICT, {"instances": [{"audio": b64(b"abcd")}]})
    _, plain = call(ports, PREDICT, {"instances": [b64(b"abcd")]})
    assert named == plain


def test_a_single_output_goes_without_its_name(ports):
    request = {"signature_name": "half_plus", "instances": [1.0, 2, -4.5]}
    assert call(ports, PREDICT, request) == (200, {"predictions": [3.5, 4.0, 0.75]})
    request = {"signature_name": "half_plus", "inputs": [1.0, 2]}
    assert call(ports, PREDICT, request) == (200, {"outputs": [3.5, 4.0]})


def test_columns_of_several_inputs(ports):
    a, b = [[0.0, 0.0], [3.0, 4.0]], [[0.0, 0.5], [0.0, 0.0]]
    columns = {"signature_name": "compare", "inputs": {"a": a, "b": b}}
    assert call(ports, PREDICT, columns) == (
        200,
        {"outputs": {"distance": [0.5, 5.0], "same": [True, False]}},
    )
    rows = {"signature_name": "compare", "instances": [{"a": a[0], "b": b[0]}]}
    assert call(ports, PREDICT, rows) == (200, {"predictions": [{"distance": 0.5, "same": True}]})


def test_column_of_bytes(ports):
    _, answer = call(ports, PREDICT, {"inputs": {"audio": [b64(b"abc")]}})
    assert answer["outputs"]["heard_bytes"] == [b64(b"abc")]
    assert answer["outputs"]["status"] == ["ok"]


def test_strings_may_be_plain_text(ports):
    request = {"signature_name": "number", "instances": ["1.5", "-2"]}
    assert call(ports, PREDICT, request) == (200, {"predictions": [1.5, -2.0]})


def test_base64_may_go_without_padding(ports):
    _, answer = call(ports, PREDICT, {"instances": [{"b64": "YQ"}]})
    assert answer["predictions"][0]["heard_bytes"] == b64(b"a")


@pytest.mark.parametrize(
    ("text", "content"),
    [("YW Jj", b"abc"), ("YWJj\r\n", b"abc"), ("\tYW\nJj\v\f", b"abc"), ("YQ\n==", b"a")],
)
def test_base64_may_be_wrapped_by_ascii_white_space(ports, text, content):
    status, answer = call(ports, PREDICT, {"inputs": {"audio": [{"b64": text}]}})
    assert status == 200
    assert answer["outputs"]["heard_bytes"] == [b64(content)]


def test_base64_with_other_white_space_is_refused(ports):
    status, answer = call(ports, PREDICT, {"inputs": {"audio": [{"b64": "YW\u00a0Jj"}]}})
    assert (status, answer) == (400, {"error": "Unable to base64 decode"})


def test_floats_have_the_digits_of_their_dtype_and_nan_is_a_token(ports):
    _, content, headers = call_raw(ports, PREDICT, {"inputs": [b64(b"a"), b64(b"abc")]})
    assert headers["Content-Type"].startswith("application/json")
    assert b"[NaN, NaN]" in content
    assert b"[6.0, 0.2]" in content
    assert math.isnan(json.loads(content)["outputs"]["embedding"][0][0])


def test_infinity_comes_and_goes(ports):
    body = b'{"signature_name": "half_plus", "instances": [Infinity, -Infinity, NaN]}'
    _, content, _ = call_raw(ports, PREDICT, body)
    assert content == b'{"predictions": [Infinity, -Infinity, NaN]}'


@pytest.mark.parametrize(
    ("where", "status"),
    [
        ("/versions/3", 200),
        ("/labels/stable", 200),
        ("/versions/4", 404),
        ("/labels/canary", 400),
        ("/versions/99999999999999999999", 400),
    ],
)
def test_version_and_label(ports, where, status):
    told, answer = call(ports, f"/v1/models/swar{where}:predict", {"instances": [b64(b"abc")]})
    assert told == status
    assert ("predictions" in answer) == (status == 200)
    assert ("error" in answer) == (status != 200)


def test_errors_name_what_is_missing(ports):
    body = {"instances": [b64(b"abc")]}
    assert call(ports, "/v1/models/other:predict", body) == (
        404,
        {"error": "Servable not found for request: Latest(other)"},
    )
    assert call(ports, "/v1/models/swar/versions/9:predict", body) == (
        404,
        {"error": "Servable not found for request: Specific(swar, 9)"},
    )
    assert call(ports, "/v1/models/swar/labels/nope:predict", body) == (
        400,
        {"error": "Unrecognized servable version label: nope"},
    )


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (b"", "JSON Parse error"),
        (b"{", "JSON Parse error"),
        (b"\xff\xfe{}", "JSON Parse error"),
        (b'{"instances": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", "JSON"),
        (b"[1]", "Is not object"),
        ({}, "Missing 'inputs' or 'instances' key"),
        ({"instances": ["a"], "inputs": ["a"]}, "only one of 'inputs' or 'instances'"),
        ({"instances": []}, "No values in 'instances'"),
        ({"instances": "a"}, "list/array"),
        ({"signature_name": 7, "instances": ["a"]}, "must be a string"),
        ({"signature_name": "nope", "instances": ["a"]}, '"nope" not found'),
        ({"instances": [1]}, "Type: Number is not of expected type: string"),
        ({"instances": [None]}, "Type: Null"),
        ({"instances": [{"b64": "!!"}]}, "base64"),
        ({"instances": [{"b64": "YQ", "x": 1}]}, "keys must be equal to: audio"),
        ({"instances": [{"sound": "a"}]}, "keys must be equal to: audio"),
        ({"instances": ["a", {"audio": "a"}]}, "item 1"),
        ({"instances": [["a", "b"], ["a"]]}, "size"),
        ({"instances": [["a"], "a"]}, "level"),
        ({"instances": [["a"]]}, "shape"),
        ({"inputs": "a"}, "shape"),
        ({"inputs": {"sound": ["a"]}}, "Missing named input: audio"),
        ({"signature_name": "compare", "instances": [[1.0, 2.0]]}, "multiple input"),
        ({"signature_name": "compare", "inputs": [[1.0, 2.0]]}, "multiple input"),
        (
            {"signature_name": "compare", "inputs": {"a": [[1, 2]], "b": [[1, 2], [3, 4]]}},
            "equal 0th-dimension size",
        ),
        ({"signature_name": "half_plus", "instances": ["1"]}, "expected type: float32"),
        ({"signature_name": "half_plus", "instances": [True]}, "expected type: float32"),
        ({"signature_name": "half_plus", "instances": [1e300]}, "without loss of precision"),
        ({"signature_name": "batch_rows", "instances": [1.5]}, "expected type: int64"),
        ({"signature_name": "batch_rows", "instances": [2**64]}, "out of the range of int64"),
        ({"signature_name": "spin", "instances": [2**40]}, "out of the range of int32"),
        ({"signature_name": "number", "instances": ["one"]}, "one"),
        (b'{"instances": ["\\ud800"]}', "JSON Parse error"),
    ],
)
def test_a_malformed_request_is_told_so(ports, body, told):
    status, answer = call(ports, PREDICT, body)
    assert status == 400
    assert told in answer["error"]
    assert len(answer["error"]) <= 600


def test_model_status(ports):
    available = {
        "model_version_status": [
            {
                "version": "3",
                "state": "AVAILABLE",
                "status": {"error_code": "OK", "error_message": ""},
            }
        ]
    }
    for where in ("", "/versions/3", "/labels/stable"):
        assert call(ports, f"/v1/models/swar{where}") == (200, available)
    assert call(ports, "/v1/models/other") == (
        404,
        {"error": "Could not find any versions of model other"},
    )
    assert call(ports, "/v1/models/swar/versions/8") == (
        404,
        {"error": "Could not find version 8 of model swar"},
    )


def test_metadata(ports):
    status, answer = call(ports, "/v1/models/swar/metadata")
    assert status == 200
    assert answer["model_spec"] == {"name": "swar", "signature_name": "", "version": "3"}
    signatures = answer["metadata"]["signature_def"]["signature_def"]
    audio = signatures["serving_default"]["inputs"]["audio"]
    assert audio["dtype"] == "DT_STRING"
    assert audio["tensor_shape"] == {"dim": [{"size": "-1", "name": ""}], "unknown_rank": False}
    assert signatures["compare"]["method_name"] == "tensorflow/serving/predict"
    assert call(ports, "/v1/models/swar/versions/3/metadata")[1] == answer
    assert call(ports, "/v1/models/swar/labels/stable/metadata")[1] == answer
    assert call(ports, "/v1/models/swar/versions/4/metadata")[0] == 404


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", PREDICT),
        ("PUT", PREDICT),
        ("DELETE", "/v1/models/swar"),
        ("POST", "/v1/models/swar"),
        ("POST", "/v1/models/swar/versions/x:predict"),
        ("GET", "/v1/models/swar/versions/3/labels/stable"),
    ],
)
def test_a_malformed_url_or_method(ports, method, path):
    body = b"{}" if method in ("POST", "PUT") else None
    assert call(ports, path, body, method) == (
        400,
        {"error": f"Malformed request: {method} {path}"},
    )


def test_other_paths_and_other_services(ports):
    status, answer = call(ports, "/nothing")
    assert status == 404
    assert "Not Found" in answer["error"]
    status, answer = call(ports, "/v1/models/swar:classify", {"examples": [{}]})
    assert status == 501
    assert "classify" in answer["error"]


def test_the_path_ignores_case_and_may_be_quoted(ports):
    assert call(ports, "/V1/Models/%73war/Labels/st%61ble")[0] == 404  # the prefix is /v1/
    assert call(ports, "/v1/Models/%73war/Labels/st%61ble")[0] == 200


def test_too_long_a_body(ports):
    status, answer = call(ports, PREDICT, b" " * (2**20 + 1))
    assert status == 413
    assert "1048576 bytes" in answer["error"]


def test_answers_count_among_the_bytes_in_flight(models):
    """Of a few bytes that are asked for: 256 clients that do not read would hold gigabytes."""
    with served(models, limits={"max_bytes_in_flight": 3_000}) as ports:
        for _ in range(2):
            status, answer = call(ports, PREDICT, {"instances": ["abc"] * 100})
            assert status == 503 and "in flight" in answer["error"]
            assert call(ports, PREDICT, {"instances": ["abc"]})[0] == 200


def test_it_names_itself_a_stand_in(ports):
    for path in ("/v1/models/swar", "/nothing"):
        assert "stand-in" in call_raw(ports, path)[2]["Server"]


def test_metrics_count_requests(ports):
    call(ports, PREDICT, {"instances": [b64(b"abc")]})
    call(ports, PREDICT, {"instances": []})
    status, content, headers = call_raw(ports, "/monitoring/prometheus/metrics")
    assert status == 200
    assert headers["Content-Type"].startswith("text/plain")
    samples = [
        sample
        for family in text_string_to_metric_families(content.decode())
        for sample in family.samples
    ]

    def values(name, **labels):
        labels["model_name"] = "swar"
        return [
            sample.value
            for sample in samples
            if sample.name == f":tensorflow:serving:{name}"
            and labels.items() <= sample.labels.items()
        ]

    (answered,) = values("request_count", status="OK")
    assert answered >= 1
    assert values("request_count", status="INVALID_ARGUMENT")[0] >= 1
    of_rest = {"API": "Predict", "entrypoint": "REST"}
    assert values("request_latency_count", **of_rest) == [answered]
    assert values("request_latency_bucket", **of_rest, le="+Inf") == [answered]
    assert values("request_latency_sum", **of_rest)[0] > 0
    buckets = values("request_latency_bucket", **of_rest)
    assert len(buckets) == 34
    assert np.all(np.diff(buckets) >= 0)


def test_bodies_of_clients_that_have_gone_are_not_kept(models, monkeypatch):
    """While the JSON of another one is read."""
    goes_on, read = threading.Event(), json_tensors.read_request

    def slow(body, servable):
        goes_on.wait(60)
        return read(body, servable)

    monkeypatch.setattr(rest, "read_request", slow)
    body = b'{"instances": ["' + b"a" * 2**23 + b'"]}'
    head = f"POST {PREDICT} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n"
    with served(models, limits={"max_request_bytes": 2**24}) as ports:
        before = resident_bytes(os.getpid())
        for _ in range(20):
            with socket.create_connection(("127.0.0.1", ports.rest)) as connection:
                connection.sendall(head.encode() + body)
                time.sleep(0.1)  # it is whole, and waits for its turn
        time.sleep(0.5)
        kept = resident_bytes(os.getpid()) - before
        goes_on.set()
        assert kept < 10 * len(body)
        assert call(ports, PREDICT, {"instances": ["abc"]})[0] == 200
