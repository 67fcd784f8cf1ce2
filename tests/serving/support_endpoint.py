"""A small endpoint that answers as a Swar model does, over gRPC and REST, with no tower.

A voice is where its energy lies: the embedding is the spectrum in bands, of norm 1.
"""

import base64
import contextlib
import http.server
import io
import itertools
import json
import socketserver
import ssl
import threading
import wave
from collections.abc import Callable, Iterator
from concurrent import futures
from typing import TYPE_CHECKING, Any

import grpc
import numpy as np

from serving import wire
from serving.predict_pb2 import PredictRequest, PredictResponse

if TYPE_CHECKING:
    from tests.serving.support_certificates import Certificates

RATE = 16_000
WINDOW_SECONDS = 1.5
THRESHOLD = 0.5
SLOPE = 10.0
BANDS = 24
_RATE_OF_ERRORS = {"value": 0.02, "low": 0.01, "high": 0.04}


def operating_point(rate: float, threshold: float | None, speakers_needed: int) -> dict[str, Any]:
    """A point of a model's card; without a threshold the calibration speakers are too few."""
    known = None if threshold is None else _RATE_OF_ERRORS
    return {
        "max_false_accept_rate": rate,
        "speakers_needed": speakers_needed,
        "threshold": threshold,
        "false_accept_rate": known,
        "false_reject_rate": known,
    }


CARD = {
    # The adaptive rule says of hums that never vary that nobody speaks.
    "speech": {"sample_rate": RATE, "silence_rule": "article", "keep_silence_ms": 0},
    "spectrogram": {"window_seconds": 1.6},
    "calibration": {
        "speakers": 120,
        "nontargets": [
            {"false_accept_rate": _RATE_OF_ERRORS, "false_reject_rate": _RATE_OF_ERRORS}
        ],
        "operating_points": [
            operating_point(0.05, 0.6, 36),
            operating_point(0.01, 1e-4, 78),
            operating_point(0.001, None, 246),
        ],
    },
}

Outputs = dict[str, Any]
Fault = Callable[[], None]


class Refusal(Exception):
    """How the endpoint refuses, as gRPC and as HTTP say it."""

    def __init__(self, code: grpc.StatusCode, http_status: int, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.http_status = http_status


UNAVAILABLE = (grpc.StatusCode.UNAVAILABLE, 503, "the model is loading")
INVALID = (grpc.StatusCode.INVALID_ARGUMENT, 400, "input size\ndoes not match signature")
NOT_FOUND = (grpc.StatusCode.NOT_FOUND, 404, "Servable not found for request: Latest(swar)")


def voice(pitch_hz: float, seconds: float, *, seed: int = 0, rate: int = RATE) -> np.ndarray:
    """float32 [samples]: a hum whose overtones, and so its embedding, hang on the pitch.

    It swells as speech does: a steady tone is as often at its peak as a clipped recording.
    """
    time = np.arange(round(seconds * rate)) / rate
    noise = np.random.default_rng(seed).normal(size=len(time)) * 0.01
    hum = sum(np.sin(2 * np.pi * pitch_hz * n * time + seed) / n for n in (1, 2, 3))
    swell = 1.0 - 0.6 * np.abs(2.0 * (3.0 * time % 1.0) - 1.0)
    return (0.3 * swell * hum + noise).astype(np.float32)


class FakeModel:
    """The signatures' arithmetic."""

    def __init__(self) -> None:
        self.digest = "model-1"
        self.bands = BANDS
        self.sample_rate = RATE
        self.calls: list[tuple[str, int]] = []
        self.model = "swar"
        self.authorizations: list[Any] = []
        self.asked_for: list[tuple[str, int | None, str | None]] = []
        self.refusals: list[tuple[grpc.StatusCode, int, str]] = []
        self.spoil: Callable[[Outputs], Outputs] = lambda outputs: outputs
        self.pause = threading.Event()
        self.pause.set()

    def predict(self, signature: str, inputs: dict[str, Any]) -> Outputs:
        """A signature's outputs, or a Refusal."""
        self.calls.append((signature, len(next(iter(inputs.values())))))
        self.pause.wait(10)
        if self.refusals:
            raise Refusal(*self.refusals.pop(0))
        calls: dict[str, Callable[..., Outputs]] = {
            "embed": self._embed,
            "serving_default": self._verify,
            "score_embeddings": self._score,
            "describe": self._describe,
        }
        outputs = calls[signature](**inputs)
        return outputs if signature == "describe" else self.spoil(outputs)

    def _describe(self, query: list[bytes]) -> Outputs:
        return {
            "sample_rate": np.full(len(query), self.sample_rate, np.float32),
            "embedding_size": np.full(len(query), self.bands, np.float32),
            "threshold": np.full(len(query), THRESHOLD, np.float32),
            "model_digest": [self.digest.encode()] * len(query),
            "card": [json.dumps(CARD | {"sample_rate": self.sample_rate}).encode()] * len(query),
        }

    def _embed(self, audio: list[bytes]) -> Outputs:
        rows = [self._embedding(wav) for wav in audio]
        return {
            "embedding": np.array([row[0] for row in rows], np.float32),
            "speech_seconds": np.array([row[1] for row in rows], np.float32),
            "status": [row[2].encode() for row in rows],
            "model_digest": [self.digest.encode()] * len(rows),
        }

    def _verify(self, audio_a: list[bytes], audio_b: list[bytes]) -> Outputs:
        a, b = self._embed(audio_a), self._embed(audio_b)
        scores = self._score(a["embedding"], b["embedding"])
        sides = {"a": a, "b": b}
        return scores | {
            f"{name}_{side}": each[name]
            for side, each in sides.items()
            for name in ("speech_seconds", "status")
        }

    def _score(self, embedding_a: np.ndarray, embedding_b: np.ndarray) -> Outputs:
        distance = np.linalg.norm(embedding_a - embedding_b, axis=1).astype(np.float32)
        probability = 1.0 / (1.0 + np.exp(-SLOPE * (THRESHOLD - distance)))
        return {
            "distance": distance,
            "probability": probability.astype(np.float32),
            "same_speaker": distance < THRESHOLD,
        }

    def _embedding(self, wav: bytes) -> tuple[np.ndarray, float, str]:
        nothing = np.full(self.bands, np.nan, np.float32)
        try:
            with wave.open(io.BytesIO(wav)) as reader:
                rate = reader.getframerate()
                samples = np.frombuffer(reader.readframes(reader.getnframes()), "<i2") / 32768
        except (wave.Error, EOFError):
            return nothing, np.nan, "not_wav"
        if rate != self.sample_rate:
            return nothing, np.nan, "wrong_sample_rate"
        if len(samples) < WINDOW_SECONDS * rate:
            return nothing, 0.0, "too_short"
        frames = samples[: len(samples) // 160 * 160].reshape(-1, 160)
        speech = frames[np.sqrt(np.mean(frames**2, axis=1)) > 0.03].reshape(-1)
        seconds = len(speech) / rate
        if seconds < WINDOW_SECONDS:
            return nothing, seconds, "no_speech"
        spectrum = np.abs(np.fft.rfft(speech))
        ends = np.geomspace(60, 2_000, self.bands + 1) * len(speech) / rate
        energy = np.array(
            [spectrum[int(a) : int(b) + 1].max() for a, b in itertools.pairwise(ends)]
        )
        return energy / np.linalg.norm(energy), seconds, "ok"


def write_tensor(tensor: Any, value: Any) -> None:
    """As TF Serving writes outputs: values in their typed fields."""
    values = np.asarray(value, dtype=object if isinstance(value, list) else None)
    dtype, field = {
        "O": (7, tensor.string_val),
        "f": (1, tensor.float_val),
        "b": (10, tensor.bool_val),
    }[values.dtype.kind]
    tensor.dtype = dtype
    field.extend(values.reshape(-1).tolist())
    for size in values.shape:
        tensor.tensor_shape.dim.add(size=size)


@contextlib.contextmanager
def grpc_endpoint(
    model: FakeModel, port: int = 0, tls: "Certificates | None" = None
) -> Iterator[str]:
    """Serves over gRPC; yields the URL. With `tls` it wants to see the client's certificate."""

    def predict(request: Any, context: grpc.ServicerContext) -> Any:
        model.authorizations.append(dict(context.invocation_metadata()).get("authorization"))
        spec = request.model_spec
        version = spec.version.value if spec.HasField("version") else None
        model.asked_for.append((spec.name, version, spec.version_label or None))
        inputs = {
            name: list(tensor.string_val)
            if tensor.string_val
            else np.frombuffer(tensor.tensor_content, "<f4").reshape(
                [dim.size for dim in tensor.tensor_shape.dim]
            )
            for name, tensor in request.inputs.items()
        }
        try:
            outputs = model.predict(spec.signature_name, inputs)
        except Refusal as refusal:
            context.abort(refusal.code, str(refusal))
        response = PredictResponse()
        for name, value in outputs.items():
            write_tensor(response.outputs[name], value)
        return response

    handler = grpc.unary_unary_rpc_method_handler(
        predict,
        request_deserializer=PredictRequest.FromString,
        response_serializer=PredictResponse.SerializeToString,
    )
    service, method = wire.PREDICT_METHOD.strip("/").split("/")
    server = grpc.server(futures.ThreadPoolExecutor(4))
    server.add_generic_rpc_handlers(
        [grpc.method_handlers_generic_handler(service, {method: handler})]
    )
    address = f"127.0.0.1:{port}"
    if tls is None:
        port = server.add_insecure_port(address)
    else:
        pair = (tls.server_key.read_bytes(), tls.server.read_bytes())
        port = server.add_secure_port(
            address, grpc.ssl_server_credentials([pair], tls.ca.read_bytes(), True)
        )
    server.start()
    try:
        yield f"grpc{'s' if tls else ''}://127.0.0.1:{port}"
    finally:
        server.stop(0).wait()


@contextlib.contextmanager
def rest_endpoint(model: FakeModel, tls: "Certificates | None" = None) -> Iterator[str]:
    """Serves over REST; yields the URL. With `tls` it wants to see the client's certificate."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            model.authorizations.append(self.headers.get("authorization"))
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            which = self.path.removeprefix("/v1/models/").removesuffix(":predict").split("/")
            version = int(which[2]) if which[1:2] == ["versions"] else None
            label = which[2] if which[1:2] == ["labels"] else None
            model.asked_for.append((which[0], version, label))
            inputs = {name: _array(values) for name, values in body["inputs"].items()}
            try:
                outputs = model.predict(body.get("signature_name", "serving_default"), inputs)
            except Refusal as refusal:
                self._answer(refusal.http_status, {"error": str(refusal)})
                return
            self._answer(200, {"outputs": {name: _json(each) for name, each in outputs.items()}})

        def _answer(self, status: int, answer: Any) -> None:
            data = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            with contextlib.suppress(BrokenPipeError):
                self.wfile.write(data)

        def log_message(self, *_: Any) -> None:
            pass

    class Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
        daemon_threads = True

    server = Server(("127.0.0.1", 0), Handler)
    if tls is not None:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(tls.ca))
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_cert_chain(tls.server, tls.server_key)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield f"http{'s' if tls else ''}://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _array(values: list[Any]) -> Any:
    if isinstance(values[0], dict):
        return [base64.b64decode(value["b64"]) for value in values]
    if isinstance(values[0], str):
        return [value.encode() for value in values]
    return np.array(values, np.float32)


def _json(value: Any) -> Any:
    if isinstance(value, list):
        return [item.decode() for item in value]
    return value.tolist()


ENDPOINTS: dict[str, Callable[..., contextlib.AbstractContextManager[str]]] = {
    "grpc": grpc_endpoint,
    "rest": rest_endpoint,
}
