"""The stand-in's gRPC services, called with TF Serving's stock stubs."""

import time

import grpc
import numpy as np
import pytest
import tensorflow as tf
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    inference_pb2,
    model_management_pb2,
    model_service_pb2_grpc,
    prediction_service_pb2_grpc,
    regression_pb2,
)

from tests.serving.support_standin import (
    call,
    call_raw,
    floats,
    predict_request,
    served,
    write_model,
)

STATE = get_model_status_pb2.ModelVersionStatus.State


@pytest.fixture(scope="module")
def ports(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    write_model(folder, 3)
    with served(folder, labels={"stable": 3}, allow_reload=True) as ports:
        yield ports


@pytest.fixture(scope="module")
def channel(ports):
    options = [("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1)]
    with grpc.insecure_channel(f"127.0.0.1:{ports.grpc}", options) as channel:
        yield channel


@pytest.fixture(scope="module")
def prediction(channel):
    return prediction_service_pb2_grpc.PredictionServiceStub(channel)


@pytest.fixture(scope="module")
def models(channel):
    return model_service_pb2_grpc.ModelServiceStub(channel)


def refusal(method, request, timeout=30):
    with pytest.raises(grpc.RpcError) as caught:
        method(request, timeout=timeout)
    return caught.value.code(), caught.value.details()


def test_predict(prediction):
    response = prediction.Predict(predict_request(audio=[b"\x00abc", b"a"]), timeout=30)
    assert response.model_spec.name == "swar"
    assert response.model_spec.version.value == 3
    assert response.model_spec.signature_name == "serving_default"
    outputs = {name: tf.make_ndarray(tensor) for name, tensor in response.outputs.items()}
    assert outputs.keys() == {"embedding", "status", "heard_bytes"}
    np.testing.assert_array_equal(outputs["embedding"], floats([[7.0, 0.2], [np.nan, np.nan]]))
    assert outputs["status"].tolist() == [b"ok", b"too_short"]
    assert outputs["heard_bytes"].tolist() == [b"\x00abc", b"a"]
    assert response.outputs["embedding"].dtype == tf.float32.as_datatype_enum


def test_predict_with_several_inputs(prediction):
    request = predict_request("compare", a=floats([[0, 0]]), b=floats([[3, 4]]))
    response = prediction.Predict(request, timeout=30)
    assert response.model_spec.signature_name == "compare"
    assert list(response.outputs["distance"].float_val) == [5.0]
    assert list(response.outputs["same"].bool_val) == [False]


def test_output_filter(prediction):
    request = predict_request(audio=[b"abc"])
    request.output_filter.append("status")
    assert list(prediction.Predict(request, timeout=30).outputs) == ["status"]
    request.output_filter.append("status")
    assert refusal(prediction.Predict, request) == (
        grpc.StatusCode.INVALID_ARGUMENT,
        "duplicate output tensor alias: status",
    )
    request.output_filter[:] = ["nope"]
    code, details = refusal(prediction.Predict, request)
    assert code == grpc.StatusCode.INVALID_ARGUMENT
    assert "nope" in details
    assert "embedding" in details


def test_version_and_label(prediction):
    request = predict_request(audio=[b"abc"])
    request.model_spec.version.value = 3
    assert prediction.Predict(request, timeout=30).model_spec.version.value == 3
    request.model_spec.version_label = "stable"
    assert prediction.Predict(request, timeout=30).model_spec.version.value == 3
    request.model_spec.version_label = "canary"
    assert refusal(prediction.Predict, request) == (
        grpc.StatusCode.INVALID_ARGUMENT,
        "Unrecognized servable version label: canary",
    )
    request.model_spec.version.value = 4
    assert refusal(prediction.Predict, request) == (
        grpc.StatusCode.NOT_FOUND,
        "Servable not found for request: Specific(swar, 4)",
    )
    assert refusal(prediction.Predict, predict_request(model="other", audio=[b"abc"])) == (
        grpc.StatusCode.NOT_FOUND,
        "Servable not found for request: Latest(other)",
    )


def lying_tensor(**shape):
    request = predict_request("half_plus")
    tensor = request.inputs["x"]
    tensor.dtype = tf.float32.as_datatype_enum
    tensor.float_val.append(1.0)
    for size in shape["sizes"]:
        tensor.tensor_shape.dim.add(size=size)
    return request


def with_content(content):
    request = lying_tensor(sizes=[2])
    request.inputs["x"].ClearField("float_val")
    request.inputs["x"].tensor_content = content
    return request


@pytest.mark.parametrize(
    ("request_", "told"),
    [
        (predict_request(), "Missing but required: {audio}"),
        (predict_request(audio=[b"abc"], sound=[b"abc"]), "Sent extra: {sound}"),
        (predict_request(audio=floats([1])), "string but float32 is provided"),
        (predict_request("half_plus", x=np.ones(1)), "float32 but float64 is provided"),
        (predict_request(audio=b"abc"), "shape"),
        (predict_request(audio=[[b"abc"]]), "shape"),
        (predict_request("compare", a=floats([[1, 2, 3]]), b=floats([[1, 2]])), "shape"),
        (
            predict_request("compare", a=floats([[1, 2]] * 2), b=floats([[1, 2]])),
            "equal 0th-dimension size",
        ),
        (predict_request("number", text=[b"one"]), "one"),
        (lying_tensor(sizes=[2**40]), "elements"),
        (lying_tensor(sizes=[2**40, 2**40]), "shape"),
        (lying_tensor(sizes=[-1]), "fully known shape"),
        (with_content(b"123"), "malformed"),
        (with_content(b"1234"), "malformed"),
    ],
)
def test_inputs_that_do_not_fit(prediction, request_, told):
    code, details = refusal(prediction.Predict, request_)
    assert code == grpc.StatusCode.INVALID_ARGUMENT
    assert told in details


def test_unknown_signature(prediction):
    assert refusal(prediction.Predict, predict_request("nope", audio=[b"abc"])) == (
        grpc.StatusCode.FAILED_PRECONDITION,
        'Serving signature key "nope" not found.',
    )
    # The init op is listed among the signatures, but is not for requests.
    code, _ = refusal(prediction.Predict, predict_request("__saved_model_init_op"))
    assert code == grpc.StatusCode.FAILED_PRECONDITION


def test_a_long_message_still_fits_into_the_headers(prediction):
    code, details = refusal(prediction.Predict, predict_request("स्वर" * 2_000, audio=[b"abc"]))
    assert code == grpc.StatusCode.FAILED_PRECONDITION
    assert details.startswith('Serving signature key "स्वर')


def test_no_model_spec(prediction, models):
    for method, request in (
        (prediction.Predict, prediction_without_spec()),
        (prediction.GetModelMetadata, get_model_metadata_pb2.GetModelMetadataRequest()),
        (models.GetModelStatus, get_model_status_pb2.GetModelStatusRequest()),
    ):
        assert refusal(method, request) == (
            grpc.StatusCode.INVALID_ARGUMENT,
            "Missing ModelSpec",
        )


def prediction_without_spec():
    request = predict_request(audio=[b"abc"])
    request.ClearField("model_spec")
    return request


def test_deadline(ports, prediction):
    started = time.monotonic()
    request = predict_request("spin", steps=np.full(1, 300_000, np.int32))
    code, _ = refusal(prediction.Predict, request, timeout=0.2)
    assert code == grpc.StatusCode.DEADLINE_EXCEEDED
    assert time.monotonic() - started < 2
    assert prediction.Predict(predict_request(audio=[b"abc"]), timeout=30).outputs
    metrics = call_raw(ports, "/monitoring/prometheus/metrics")[1].decode()
    assert 'status="CANCELLED"} 1' in metrics


def test_large_messages(prediction):
    request = predict_request(audio=[b"a" * 900_000])
    heard = prediction.Predict(request, timeout=30).outputs["heard_bytes"].string_val[0]
    assert len(heard) == 900_000
    code, _ = refusal(prediction.Predict, predict_request(audio=[b"a" * 2**20]))
    assert code == grpc.StatusCode.RESOURCE_EXHAUSTED


def test_metadata(prediction):
    request = get_model_metadata_pb2.GetModelMetadataRequest()
    request.model_spec.name = "swar"
    code, _ = refusal(prediction.GetModelMetadata, request)
    assert code == grpc.StatusCode.INVALID_ARGUMENT
    request.metadata_field.append("signature_def")
    response = prediction.GetModelMetadata(request, timeout=30)
    assert response.model_spec.version.value == 3
    signatures = get_model_metadata_pb2.SignatureDefMap()
    assert response.metadata["signature_def"].Unpack(signatures)
    audio = signatures.signature_def["serving_default"].inputs["audio"]
    assert audio.dtype == tf.string.as_datatype_enum
    request.metadata_field.append("colour")
    code, details = refusal(prediction.GetModelMetadata, request)
    assert code == grpc.StatusCode.INVALID_ARGUMENT
    assert "colour" in details


def status_request(name="swar", version=None):
    request = get_model_status_pb2.GetModelStatusRequest()
    request.model_spec.name = name
    if version is not None:
        request.model_spec.version.value = version
    return request


def test_model_status(models):
    for version in (None, 3):
        response = models.GetModelStatus(status_request(version=version), timeout=30)
        (status,) = response.model_version_status
        assert (status.version, status.state) == (3, STATE.AVAILABLE)
        assert status.status.error_code == 0
    for request in (status_request("other"), status_request(version=7)):
        assert refusal(models.GetModelStatus, request)[0] == grpc.StatusCode.NOT_FOUND


def test_labels_can_be_moved(prediction, models):
    reload = model_management_pb2.ReloadConfigRequest()
    config = reload.config.model_config_list.config.add(name="swar")
    config.version_labels["stable"] = 3
    config.version_labels["fresh"] = 3
    assert models.HandleReloadConfigRequest(reload, timeout=30).status.error_code == 0
    request = predict_request(audio=[b"abc"])
    request.model_spec.version_label = "fresh"
    assert prediction.Predict(request, timeout=30).model_spec.version.value == 3
    config.version_labels["fresh"] = 4
    code, details = refusal(models.HandleReloadConfigRequest, reload)
    assert code == grpc.StatusCode.FAILED_PRECONDITION
    assert "label fresh to version 4" in details
    assert prediction.Predict(request, timeout=30).model_spec.version.value == 3
    config.name = "other"
    code, _ = refusal(models.HandleReloadConfigRequest, reload)
    assert code == grpc.StatusCode.INVALID_ARGUMENT


def test_other_services_are_not_there(prediction):
    for method, request in (
        (prediction.Classify, classification_pb2.ClassificationRequest()),
        (prediction.Regress, regression_pb2.RegressionRequest()),
        (prediction.MultiInference, inference_pb2.MultiInferenceRequest()),
    ):
        assert refusal(method, request)[0] == grpc.StatusCode.UNIMPLEMENTED


def test_grpc_and_rest_give_the_same_floats(ports, prediction):
    request = predict_request("half_plus", x=floats([0.1, 1e-30, 3e38]))
    over_grpc = tf.make_ndarray(prediction.Predict(request, timeout=30).outputs["y"])
    body = {"signature_name": "half_plus", "instances": [0.1, 1e-30, 3e38]}
    status, answer = call(ports, "/v1/models/swar:predict", body)
    assert status == 200
    np.testing.assert_array_equal(floats(answer["predictions"]), over_grpc)
