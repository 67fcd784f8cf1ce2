"""TF Serving's REST API (its model_servers/http_rest_api_*.cc) on aiohttp."""

import asyncio
import logging
import re
import time
from collections.abc import Awaitable, Callable, Collection
from functools import partial
from typing import Any, Final, TypeVar
from urllib.parse import unquote

import tensorflow as tf
from aiohttp import web
from google.protobuf.json_format import MessageToDict
from prometheus_client import generate_latest
from tensorflow_serving.apis import model_pb2

from serving.standin.batcher import Batcher
from serving.standin.hosts import is_own_name
from serving.standin.json_tensors import read_request, write_outputs
from serving.standin.limits import Budget, Limits, Take, reschedule
from serving.standin.status import Metrics, invalid, outcome
from serving.standin.store import ModelStore

log = logging.getLogger("swar.serving")

SERVER_NAME: Final = "swar-stand-in-for-tensorflow-serving"

_PATH: Final = re.compile(
    r"/v1/models/(?P<name>[^/:]+)(?:/versions/(?P<version>\d+)|/labels/(?P<label>[^/:]+))?"
    r"(?::(?P<method>classify|regress|predict)|(?P<metadata>/metadata))?",
    re.IGNORECASE,
)
_HTTP_STATUS: Final = {
    "INVALID_ARGUMENT": 400,
    "FAILED_PRECONDITION": 400,
    "OUT_OF_RANGE": 400,
    "UNAUTHENTICATED": 401,
    "PERMISSION_DENIED": 403,
    "NOT_FOUND": 404,
    "ALREADY_EXISTS": 409,
    "ABORTED": 409,
    "RESOURCE_EXHAUSTED": 429,
    "CANCELLED": 499,
    "UNIMPLEMENTED": 501,
    "UNAVAILABLE": 503,
    "DEADLINE_EXCEEDED": 504,
}  # as in TF Serving's model_servers/http_server.cc; 500 for others
_Result = TypeVar("_Result")
_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Connections:
    """Of too many connections, closes the one that has waited longest for its client.

    Args:
        most: how many may be open.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._waiting_since: dict[web.RequestHandler, float | None] = {}
        """None for those that do not wait."""

    def made(self, connection: web.RequestHandler) -> None:
        """Counts a new one and makes room for it; if no other waits, closes the new one."""
        open_ = {each: since for each, since in self._waiting_since.items() if each.transport}
        open_[connection] = time.monotonic()
        if len(open_) > self._most:
            _, closed = min(
                ((since, each) for each, since in open_.items() if since is not None),
                key=lambda waiting: waiting[0],
            )
            del open_[closed]
            _abort(closed)
        self._waiting_since = open_

    def set_waiting(self, connection: web.RequestHandler, waits: bool) -> None:
        """Sets whether it waits for its client: for a request, its body, or to be read."""
        if connection in self._waiting_since:
            self._waiting_since[connection] = time.monotonic() if waits else None


def _abort(connection: web.RequestHandler) -> None:
    if connection.transport is not None:
        connection.transport.abort()


class RestApi:
    """The web application.

    Requests whose Host is not an address, localhost or one of `public_hosts`, and those that a
    web site sends, are refused with 403; a body longer than the limit with 413.
    """

    def __init__(
        self,
        store: ModelStore,
        batcher: Batcher,
        metrics: Metrics,
        budget: Budget,
        limits: Limits,
        public_hosts: Collection[str],
    ) -> None:
        self._store = store
        self._batcher = batcher
        self._metrics = metrics
        self._budget = budget
        self._limits = limits
        self._public_hosts = public_hosts
        self.connections = Connections(limits.affordable_connections())
        self._json = asyncio.Lock()  # one at a time: parsed JSON takes more memory
        self.application = web.Application(middlewares=[self._answered])
        self.application.router.add_get("/monitoring/prometheus/metrics", self._monitor)
        self.application.router.add_route("*", "/v1/{path:.*}", self._answer)

    @web.middleware
    async def _answered(self, request: web.Request, handler: _Handler) -> web.StreamResponse:
        """Answers within the bytes in flight: a short request may get megabytes.

        A client that reads too slowly is cut off.
        """
        with self._budget.request() as take:
            self.connections.set_waiting(request.protocol, False)
            response = await self._response(request, handler, take)
            response.headers["Server"] = SERVER_NAME
            self.connections.set_waiting(request.protocol, True)
            too_slow = partial(_abort, request.protocol)
            try:
                with self._budget.holders.waiting(too_slow):
                    async with asyncio.timeout(self._limits.body_seconds):
                        await response.prepare(request)
                        await response.write_eof()
            except TimeoutError:
                too_slow()
            return response

    async def _response(
        self, request: web.Request, handler: _Handler, take: Take
    ) -> web.StreamResponse:
        """The answer, with its bytes taken; errors as TF Serving's `{"error": "..."}`."""
        try:
            self._check_origin(request)
            response = await handler(request)
            await take(response.content_length or 0)
            return response
        except web.HTTPException as error:
            text = error.text if error.status == 413 else f"{error.reason}: {request.method}"
            return _error(error.status, f"{text} {request.path}")
        except (web.RequestPayloadError, ConnectionError) as error:
            return _error(400, f"the body cannot be read: {error}")
        except tf.errors.OpError as error:
            code, message = outcome(error)
            return _error(_HTTP_STATUS.get(code.name, 500), message)
        except Exception as error:
            log.error("a request to %s failed: %r", request.path[:100], error)
            return _error(500, outcome(error)[1])

    def _check_origin(self, request: web.Request) -> None:
        host = request.headers.get("Host", "localhost")  # HTTP/1.0 needs none
        if not is_own_name(host, self._public_hosts):
            raise tf.errors.PermissionDeniedError(
                None, None, f"Host {host} is not served here: see swar serve --public-host"
            )
        if "Origin" in request.headers:
            raise tf.errors.PermissionDeniedError(None, None, "web sites may not use the model")

    async def _monitor(self, request: web.Request) -> web.Response:
        return web.Response(text=generate_latest(self._metrics.registry).decode())

    async def _answer(self, request: web.Request) -> web.Response:
        path = request.rel_url.raw_path
        match = _PATH.fullmatch(path)
        if not match or request.method != ("POST" if match["method"] else "GET"):
            raise invalid(f"Malformed request: {request.method} {path}")
        spec = _model_spec(match)
        if match["metadata"]:
            return web.json_response(self._metadata(spec))
        if not match["method"]:
            return web.json_response(_as_json(self._store.statuses(spec)))
        if match["method"].lower() != "predict":
            message = f"{match['method']} is not served here"
            raise tf.errors.UnimplementedError(None, None, message)
        with self._metrics.timed("REST"):
            return web.Response(
                body=await self._predict(request, spec), content_type="application/json"
            )

    async def _predict(self, request: web.Request, spec: model_pb2.ModelSpec) -> bytes:
        with self._budget.request() as take, self._store.use(spec) as servable:
            body = await self._body(request, take)
            async with self._json:
                signature, inputs, in_rows = await _to_its_end(read_request, body, servable)
            del body
            outputs = await self._batcher.run(servable, signature, inputs)
            async with self._json:
                return await _to_its_end(write_outputs, outputs, in_rows)

    async def _body(self, request: web.Request, take: Take) -> bytearray:
        limit, body = self._limits.max_request_bytes, bytearray()
        too_long = f"the request's body is longer than the limit of {limit} bytes"
        if (request.content_length or 0) > limit:
            raise web.HTTPRequestEntityTooLarge(limit, text=too_long)
        self.connections.set_waiting(request.protocol, True)
        try:
            async with asyncio.timeout(self._limits.body_seconds) as end:
                with self._budget.holders.waiting(partial(reschedule, end, 0.0)):
                    async for chunk in request.content.iter_any():
                        await take(len(chunk))
                        body += chunk
                        if len(body) > limit:
                            raise web.HTTPRequestEntityTooLarge(limit, text=too_long)
        except TimeoutError as error:
            raise web.HTTPRequestTimeout from error
        self.connections.set_waiting(request.protocol, False)
        return body

    def _metadata(self, spec: model_pb2.ModelSpec) -> dict[str, Any]:
        with self._store.use(spec) as servable:
            served = model_pb2.ModelSpec(name=spec.name, version={"value": servable.version})
            signatures = {"signature_def": _as_json(servable.definitions)}
            return {"model_spec": _as_json(served), "metadata": signatures}


async def _to_its_end(function: Callable[..., _Result], *given: Any) -> _Result:
    """As `asyncio.to_thread`, but if cancelled it waits for the thread, which holds memory."""
    work = asyncio.ensure_future(asyncio.to_thread(function, *given))
    try:
        return await asyncio.shield(work)
    finally:
        await asyncio.wait([work])


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


def _error(status: int, message: str) -> web.Response:
    return web.json_response({"error": message}, status=status)
