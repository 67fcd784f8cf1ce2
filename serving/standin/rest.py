"""TF Serving's REST API (its model_servers/http_rest_api_*.cc) on aiohttp."""

import asyncio
import re
from collections.abc import Awaitable, Callable
from typing import Any, Final
from urllib.parse import unquote

import tensorflow as tf
from aiohttp import web
from google.protobuf.json_format import MessageToDict
from prometheus_client import generate_latest
from tensorflow_serving.apis import model_pb2

from serving.standin.batcher import Batcher
from serving.standin.json_tensors import read_request, write_outputs
from serving.standin.status import Metrics, invalid, outcome
from serving.standin.store import ModelStore

SERVER_NAME: Final = "swar-stand-in-for-tensorflow-serving"

_PATH: Final = re.compile(
    r"/v1/models/(?P<name>[^/:]+)(?:/versions/(?P<version>\d+)|/labels/(?P<label>[^/:]+))?"
    r"(?::(?P<method>classify|regress|predict)|(?P<metadata>/metadata))?",
    re.IGNORECASE,
)
_HTTP_STATUS: Final = {
    400: "INVALID_ARGUMENT FAILED_PRECONDITION OUT_OF_RANGE",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    409: "ALREADY_EXISTS ABORTED",
    429: "RESOURCE_EXHAUSTED",
    499: "CANCELLED",
    501: "UNIMPLEMENTED",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}  # of TF Serving's model_servers/http_server.cc; 500 for the others
_BODY_SECONDS: Final = 60.0  # a client that stalls in the middle of its request


class RestApi:
    """The web application. A body of more than `max_request_bytes` is refused with 413."""

    def __init__(
        self, store: ModelStore, batcher: Batcher, metrics: Metrics, *, max_request_bytes: int
    ) -> None:
        self._store = store
        self._batcher = batcher
        self._metrics = metrics
        self._max_request_bytes = max_request_bytes
        self.application = web.Application(
            client_max_size=max_request_bytes, middlewares=[self._json_errors]
        )
        self.application.on_response_prepare.append(_name_server)
        self.application.router.add_get("/monitoring/prometheus/metrics", self._monitor)
        self.application.router.add_route("*", "/v1/{path:.*}", self._answer)

    @web.middleware
    async def _json_errors(
        self, request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        """Every error as TF Serving words it, `{"error": "..."}`."""
        try:
            return await handler(request)
        except tf.errors.OpError as error:
            code, message = outcome(error)
            statuses = (http for http, codes in _HTTP_STATUS.items() if code.name in codes.split())
            status = next(statuses, 500)
        except web.HTTPRequestEntityTooLarge:
            limit = self._max_request_bytes
            status, message = 413, f"the request's body is longer than the limit of {limit} bytes"
        except web.HTTPException as error:
            status, message = error.status, f"{error.reason}: {request.method} {request.path}"
        return web.json_response({"error": message}, status=status)

    async def _monitor(self, request: web.Request) -> web.Response:
        return web.Response(text=generate_latest(self._metrics.registry).decode())

    async def _answer(self, request: web.Request) -> web.Response:
        path = request.rel_url.raw_path
        match = _PATH.fullmatch(path)
        if not match or request.method != ("POST" if match["method"] else "GET"):
            raise invalid(f"Malformed request: {request.method} {path}")
        spec = _model_spec(match)
        if not match["method"]:
            answer = self._metadata(spec) if match["metadata"] else self._store.statuses(spec)
            return web.json_response(answer if match["metadata"] else _as_json(answer))
        if match["method"].lower() != "predict":
            message = f"{match['method']} is not served here"
            raise tf.errors.UnimplementedError(None, None, message)
        with self._metrics.timed("REST"):
            body = await self._predict(request, spec)
        return web.Response(body=body, content_type="application/json")

    async def _predict(self, request: web.Request, spec: model_pb2.ModelSpec) -> bytes:
        length = request.content_length or 0
        if length > self._max_request_bytes:
            raise web.HTTPRequestEntityTooLarge(self._max_request_bytes, length)
        try:
            async with asyncio.timeout(_BODY_SECONDS):
                body = await request.read()
        except TimeoutError as error:
            raise web.HTTPRequestTimeout from error
        with self._store.use(spec) as servable:
            signature, inputs, rows = await asyncio.to_thread(read_request, body, servable)
            outputs = await self._batcher.run(servable, signature, inputs)
            return await asyncio.to_thread(write_outputs, outputs, rows)

    def _metadata(self, spec: model_pb2.ModelSpec) -> dict[str, Any]:
        with self._store.use(spec) as servable:
            found = model_pb2.ModelSpec(name=spec.name, version={"value": servable.version})
            signatures = {"signature_def": _as_json(servable.definitions)}
            return {"model_spec": _as_json(found), "metadata": signatures}


def _model_spec(match: re.Match[str]) -> model_pb2.ModelSpec:
    spec = model_pb2.ModelSpec(name=unquote(match["name"]))
    if match["label"]:
        spec.version_label = unquote(match["label"])
    if match["version"]:
        try:
            spec.version.value = int(match["version"])
        except ValueError as error:
            raise invalid("Failed to convert the version to numeric.") from error
    return spec


def _as_json(message: Any) -> Any:
    return MessageToDict(
        message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )


async def _name_server(request: web.Request, response: web.StreamResponse) -> None:
    response.headers["Server"] = SERVER_NAME
