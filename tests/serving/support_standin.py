"""A small model and a running stand-in, for tests of it."""

import asyncio
import concurrent.futures
import contextlib
import http.client
import json
import threading
import urllib.error
import urllib.request

import grpc
import numpy as np
import pytest
import tensorflow as tf
from tensorflow_serving.apis import (
    predict_pb2,
    prediction_log_pb2,
    prediction_service_pb2_grpc,
)

from serving.server import Ports, ServerSettings, running
from serving.standin.batcher import Batching
from serving.standin.limits import Limits

PREDICT = "/v1/models/swar:predict"
PREDICT_METHOD = "/tensorflow.serving.PredictionService/Predict"


class Toy(tf.Module):
    """Signatures of every kind of tensor; `bias` tells versions apart."""

    def __init__(self, bias):
        super().__init__()
        self.bias = tf.Variable(float(bias))

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, "audio")])
    def embed(self, audio):
        length = tf.cast(tf.strings.length(audio), tf.float32)
        embedding = tf.stack([length + self.bias, tf.fill(tf.shape(length), 0.2)], 1)
        good = length > 2
        return {
            "embedding": tf.where(good[:, None], embedding, np.nan),
            "status": tf.where(good, "ok", "too_short"),
            "heard_bytes": audio,
        }

    @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, "x")])
    def half_plus(self, x):
        return {"y": x * 0.5 + self.bias}

    @tf.function(
        input_signature=[
            tf.TensorSpec([None, 2], tf.float32, "a"),
            tf.TensorSpec([None, 2], tf.float32, "b"),
        ]
    )
    def compare(self, a, b):
        distance = tf.norm(a - b, axis=1)
        return {"distance": distance, "same": distance < 1.0}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.int64, "n")])
    def batch_rows(self, n):
        return {"rows": tf.fill(tf.shape(n), tf.size(n))}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, "text")])
    def number(self, text):
        """Fails as a whole for one text that is no number."""
        return {"value": tf.strings.to_number(text)}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.int32, "steps")])
    def spin(self, steps):
        """Takes its time."""
        last = tf.while_loop(lambda i: i < tf.reduce_max(steps), lambda i: [i + 1], [0])
        return {"done": tf.fill(tf.shape(steps), last[0])}


def write_model(folder, version, bias=None):
    """A version whose bias is its number, complete or absent as the Pusher makes it."""
    toy = Toy(version if bias is None else bias)
    hidden = folder / f".{version}"
    tf.saved_model.save(
        toy,
        str(hidden),
        signatures={
            "serving_default": toy.embed,
            "half_plus": toy.half_plus,
            "compare": toy.compare,
            "batch_rows": toy.batch_rows,
            "number": toy.number,
            "spin": toy.spin,
        },
    )
    return hidden.rename(folder / str(version))


def write_warm_up(version_folder, requests):
    """Warm-up requests as TF Serving reads them: (signature, input, values) each."""
    file = version_folder / "assets.extra" / "tf_serving_warmup_requests"
    file.parent.mkdir(exist_ok=True)
    with tf.io.TFRecordWriter(str(file)) as writer:
        for signature, name, values in requests:
            record = prediction_log_pb2.PredictionLog()
            record.predict_log.request.CopyFrom(predict_request(signature, **{name: values}))
            writer.write(record.SerializeToString())


def predict_request(signature="", model="swar", **inputs):
    """A PredictRequest of the stock stubs."""
    request = predict_pb2.PredictRequest()
    request.model_spec.name = model
    request.model_spec.signature_name = signature
    for name, values in inputs.items():
        request.inputs[name].CopyFrom(tf.make_tensor_proto(values))
    return request


def floats(values):
    """The same as float32."""
    return np.asarray(values, np.float32)


@contextlib.contextmanager
def served(model_dir, *, labels=None, limits=None, batching=None, **others):
    """A stand-in on a thread of its own; yields its ports."""
    settings = ServerSettings(
        **{
            "model_dir": model_dir,
            "model_name": "swar",
            "rest_port": 0,
            "grpc_port": 0,
            "labels": labels or {},
            "poll_seconds": 0.05,
            "limits": Limits(**{"max_request_bytes": 2**20, **(limits or {})}),
            "batching": Batching(
                **{
                    "max_batch_size": 8,
                    "batch_timeout_micros": 1_000,
                    "num_batch_threads": 2,
                    "max_rows": 800,
                    **(batching or {}),
                }
            ),
            **others,
        }
    )
    listening: concurrent.futures.Future[Ports] = concurrent.futures.Future()
    stop: concurrent.futures.Future[None] = concurrent.futures.Future()

    async def run():
        async with running(settings) as ports:
            listening.set_result(ports)
            await asyncio.wrap_future(stop)

    def target():
        try:
            asyncio.run(run())
        except BaseException as error:
            if listening.done():
                raise
            listening.set_exception(error)

    thread = threading.Thread(target=target)
    thread.start()
    try:
        yield listening.result(300)  # a busy machine loads slowly
        stop.set_result(None)
    finally:
        if not stop.done():
            stop.set_result(None)
        thread.join(60)
        assert not thread.is_alive()


def call(ports, path, body=None, method=None):
    """Plain HTTP: (status, the answer's JSON)."""
    status, content, _ = call_raw(ports, path, body, method)
    return status, json.loads(content)


def call_raw(ports, path, body=None, method=None):
    """Plain HTTP: (status, bytes, headers). A body that is not bytes is sent as JSON."""
    if body is not None and not isinstance(body, bytes):
        body = json.dumps(body).encode()
    request = urllib.request.Request(
        f"http://127.0.0.1:{ports.rest}{path}", data=body, method=method
    )
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, answer.read(), answer.headers
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read(), error.headers


@contextlib.contextmanager
def prediction(ports):
    with grpc.insecure_channel(f"127.0.0.1:{ports.grpc}") as channel:
        yield prediction_service_pb2_grpc.PredictionServiceStub(channel)


def refusal(method, request):
    with pytest.raises(grpc.RpcError) as caught:
        method(request, timeout=30)
    return caught.value.code(), caught.value.details()


def post(ports, body, headers, path=PREDICT):
    connection = http.client.HTTPConnection("127.0.0.1", ports.rest, timeout=30)
    with contextlib.closing(connection):
        connection.request("POST", path, body, headers)
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())
