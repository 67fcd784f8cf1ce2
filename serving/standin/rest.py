"""TF Serving's REST API (its model_servers/http_rest_api_*.cc) on aiohttp."""

import asyncio
import re
from collections.abc import Awaitable, Callable
from typing import Any, Final
from urllib.parse import unquote

import grpc
from aiohttp import web
from google.protobuf.json_format import MessageToDict
from tensorflow_serving.apis import model_pb2

from serving.standin import json_tensors
from serving.standin.batcher import Batcher
from serving.standin.metrics import Metrics
from serving.standin.servable import Servable
from serving.standin.status import HTTP_STATUS, ServingError, invalid
from serving.standin.store import ModelStore

SERVER_NAME: Final = "swar-stand-in-for-tensorflow-serving"

_MODEL: Final = (
    r"/v1/models/(?P<name>[^/:]+)(?:/versions/(?P<version>\d+)|/labels/(?P<label>[^/:]+))?"
)
_INFERENCE: Final = re.compile(_MODEL + r":(?P<method>classify|regress|predict)", re.IGNORECASE)
_STATUS: Final = re.compile(_MODEL + r"(?P<metadata>/metadata)?", re.IGNORECASE)
_BODY_SECONDS: Final = 60.0  # a client that stalls in the middle of its request


def build(
    store: ModelStore, batcher: Batcher, metrics: Metrics, *, max_request_bytes: int
) -> web.Application:
    """The web application.

    Args:
        store: the versions.
        batcher: runs the requests.
        metrics: where they are counted, and what `/monitoring/prometheus/metrics` tells.
        max_request_bytes: a longer body is refused with 413.
    """
    api = _Api(store, batcher, metrics, max_request_bytes)
    application = web.Application(client_max_size=max_request_bytes, middlewares=[api.json_errors])
    application.on_response_prepare.append(_name_server)
    application.router.add_get("/monitoring/prometheus/metrics", api.monitor)
    application.router.add_route("*", "/v1/{path:.*}", api.answer)
    return application


class _Api:
    def __init__(
        self, store: ModelStore, batcher: Batcher, metrics: Metrics, max_request_bytes: int
    ) -> None:
        self._store = store
        self._batcher = batcher
        self._metrics = metrics
        self._max_request_bytes = max_request_bytes

    @web.middleware
    async def json_errors(
        self, request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        """Middleware: every error as TF Serving words it, `{"error": "..."}`."""
        try:
            return await handler(request)
        except ServingError as error:
            return _error(HTTP_STATUS[error.code], error.message)
        except web.HTTPRequestEntityTooLarge:
            limit = self._max_request_bytes
            return _error(413, f"the request's body is longer than the limit of {limit} bytes")
        except web.HTTPException as error:
            return _error(error.status, f"{error.reason}: {request.method} {request.path}")

    async def monitor(self, request: web.Request) -> web.Response:
        return web.Response(text=self._metrics.exposition())

    async def answer(self, request: web.Request) -> web.Response:
        path = request.rel_url.raw_path
        if request.method == "POST" and (match := _INFERENCE.fullmatch(path)):
            if match["method"].lower() != "predict":
                raise ServingError(
                    grpc.StatusCode.UNIMPLEMENTED, f"{match['method']} is not served here"
                )
            with self._metrics.timed("REST"):
                body = await self._predict(request, _spec(match))
            return web.Response(body=body, content_type="application/json")
        if request.method == "GET" and (match := _STATUS.fullmatch(path)):
            answer = self._metadata if match["metadata"] else self._status
            return web.json_response(answer(_spec(match)))
        raise invalid(f"Malformed request: {request.method} {path}")

    async def _predict(self, request: web.Request, spec: model_pb2.ModelSpec) -> bytes:
        body = await self._body(request)
        with self._store.use(spec) as servable:
            signature, inputs, rows = await asyncio.to_thread(_read, body, servable)
            outputs = await self._batcher.run(servable, signature, inputs)
            return await asyncio.to_thread(json_tensors.write_outputs, outputs, rows)

    async def _body(self, request: web.Request) -> bytes:
        length = request.content_length or 0
        if length > self._max_request_bytes:
            raise web.HTTPRequestEntityTooLarge(self._max_request_bytes, length)
        try:
            async with asyncio.timeout(_BODY_SECONDS):
                return await request.read()
        except TimeoutError as error:
            raise web.HTTPRequestTimeout from error

    def _status(self, spec: model_pb2.ModelSpec) -> dict[str, Any]:
        return _as_json(self._store.statuses(spec))

    def _metadata(self, spec: model_pb2.ModelSpec) -> dict[str, Any]:
        with self._store.use(spec) as servable:
            found = model_pb2.ModelSpec(name=spec.name)
            found.version.value = servable.version
            return {
                "model_spec": _as_json(found),
                "metadata": {"signature_def": _as_json(servable.definitions)},
            }


def _read(body: bytes, servable: Servable) -> tuple[Any, Any, bool]:
    request = json_tensors.parse(body)
    signature = servable.signature(json_tensors.signature_name(request))
    inputs, rows = json_tensors.read_inputs(request, signature)
    return signature, inputs, rows


def _spec(match: re.Match[str]) -> model_pb2.ModelSpec:
    spec = model_pb2.ModelSpec(name=unquote(match["name"]))
    if match["version"]:
        if int(match["version"]) >= 2**63:
            raise invalid(f"Failed to convert version: {match['version']} to numeric.")
        spec.version.value = int(match["version"])
    if match["label"]:
        spec.version_label = unquote(match["label"])
    return spec


def _as_json(message: Any) -> dict[str, Any]:
    told: dict[str, Any] = MessageToDict(
        message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )
    return told


def _error(status: int, message: str) -> web.Response:
    return web.json_response({"error": message}, status=status)


async def _name_server(request: web.Request, response: web.StreamResponse) -> None:
    response.headers["Server"] = SERVER_NAME
