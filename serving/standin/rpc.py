"""TF Serving's gRPC services on grpc.aio and its stock stubs."""

import asyncio
import contextlib
import os
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from functools import partial
from typing import Any, Final

import grpc
import tensorflow as tf
from google.protobuf.message import DecodeError
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    model_management_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)

from serving.standin.batcher import Batcher
from serving.standin.connections import CrowdedPort, end_connection
from serving.standin.limits import (
    SHARED_SECONDS,
    Budget,
    Limits,
    Take,
    WaitingForClients,
    reschedule,
)
from serving.standin.message_fields import check_fields
from serving.standin.servable import Signature
from serving.standin.status import Metrics, invalid, outcome
from serving.standin.store import ModelStore

_SIGNATURE_DEF: Final = "signature_def"
_MESSAGES_READ_AT_ONCE: Final = 8
_MAX_LABELS: Final = 16
_TOO_MANY: Final = (grpc.StatusCode.RESOURCE_EXHAUSTED, "Concurrent RPC limit exceeded!")
_NO_METHOD: Final = (grpc.StatusCode.UNIMPLEMENTED, "Method not found!")


def build(
    store: ModelStore,
    batcher: Batcher,
    metrics: Metrics,
    budget: Budget,
    limits: Limits,
    port: CrowdedPort,
    *,
    allow_reload: bool,
) -> grpc.aio.Server:
    """The server, without a port yet; too long a message is refused with RESOURCE_EXHAUSTED.

    Excess connections are closed by `port`, and beyond twice the limit by gRPC itself.
    """
    server = grpc.aio.server(
        interceptors=[_Bounds(budget, limits, port)],
        options=[
            ("grpc.max_receive_message_length", limits.max_request_bytes),
            ("grpc.max_send_message_length", -1),
            ("grpc.max_allowed_incoming_connections", 2 * limits.affordable_connections()),
            ("grpc.max_connection_idle_ms", round(1000 * limits.rpc_idle_seconds)),
            ("grpc.server_handshake_timeout_ms", round(1000 * limits.idle_seconds)),
            ("grpc.so_reuseport", 0),  # else a second server would share the port in silence
        ],
    )
    services = _Services(store, batcher, metrics, allow_reload=allow_reload)
    prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(services, server)
    model_service_pb2_grpc.add_ModelServiceServicer_to_server(services, server)
    return server


class _Bounds(grpc.aio.ServerInterceptor):
    """Reads a call's request as REST reads a body: within limits of time and memory.

    Of too many calls, the one that has waited longest for its client gives way. The length of a
    message is not known before it has arrived, so only a few are read at once, each so briefly
    that all that wait get a turn within a few seconds. To gRPC, a single request is a stream of
    one.
    """

    def __init__(self, budget: Budget, limits: Limits, port: CrowdedPort) -> None:
        self._budget = budget
        self._seconds = limits.body_seconds
        self._shared_seconds = min(SHARED_SECONDS, limits.body_seconds)
        self._port = port
        self._most = limits.max_rpcs
        self._running = 0
        self._clients = WaitingForClients()
        self._turns = asyncio.Semaphore(_MESSAGES_READ_AT_ONCE)
        self._waiting = self._hurried = 0
        self._reading: dict[asyncio.Timeout, float] = {}
        """The timeout of each message, with when it began; without hurried messages."""

    async def intercept_service(
        self, continuation: Callable[[Any], Awaitable[Any]], details: grpc.HandlerCallDetails
    ) -> Any:
        handler = await continuation(details)

        async def answer(_: AsyncIterator[bytes], context: grpc.aio.ServicerContext) -> None:
            self._count(context)
            refusal: tuple[grpc.StatusCode, str] | None
            if self._running > self._most and not self._clients.end_first():
                refusal = _TOO_MANY
            else:
                refusal = await self._answer(handler, context) if handler else _NO_METHOD
            if refusal:
                self._end_unless_read(context)
                await context.abort(*refusal)

        # To gRPC one request and one response are streams of one.
        return grpc.stream_stream_rpc_method_handler(answer)

    def _count(self, context: grpc.aio.ServicerContext) -> None:
        """Counts a call until its answer and its status are sent."""
        call = contextlib.ExitStack()
        call.enter_context(self._port.call(context.peer()))
        self._running += 1

        def ended(_: object) -> None:
            self._running -= 1
            call.close()

        context.add_done_callback(ended)

    async def _answer(
        self, handler: Any, context: grpc.aio.ServicerContext
    ) -> tuple[grpc.StatusCode, str] | None:
        """Answers a call; returns the code and the message of an error.

        gRPC keeps the exception of a call, with its frames and the megabytes in them, and its
        iterator of messages keeps the last one, both until Python collects reference cycles: a
        client could fill the memory. So errors are returned, and no iterator reads the message.
        """
        with self._budget.request() as take:
            try:
                request = self._request(handler.request_deserializer, context, take)
                response = await handler.unary_unary(await request, context)
                await self._write(handler.response_serializer(response), context, take)
            except asyncio.CancelledError as error:
                traceback.clear_frames(error.__traceback__)
                raise
            except tf.errors.OpError as error:
                return outcome(error)
        return None

    async def _write(self, message: bytes, context: grpc.aio.ServicerContext, take: Take) -> None:
        """Sends an answer; its bytes stay taken until the client has read nearly all of it."""
        await take(len(message))
        with self._budget.holders.waiting(self._end_unless_read(context)):
            await context.write(message)

    def _end_unless_read(self, context: grpc.aio.ServicerContext) -> Callable[[], None]:
        """Ends the connection if what is sent now is not read in time, or has to give way.

        Until then gRPC keeps the answer and counts the call as running. Ending it is tried again
        until it succeeds. Returns a function that ends it at once.
        """
        loop = asyncio.get_running_loop()
        peer = context.peer()
        waiting = contextlib.ExitStack()

        def end_later() -> None:
            waiting.callback(loop.call_later(self._seconds, end).cancel)

        def end() -> None:
            end_later()
            end_connection(peer)

        end_later()
        waiting.enter_context(self._clients.waiting(end))
        context.add_done_callback(lambda _: waiting.close())
        return end

    async def _request(
        self, deserialize: Any, context: grpc.aio.ServicerContext, take: Take
    ) -> Any:
        message = grpc.aio.EOF
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._seconds) as end:
                with self._clients.waiting(partial(reschedule, end, 0.0)):
                    async with self._turn(end):
                        message = await context.read()
        if message is grpc.aio.EOF:
            raise tf.errors.CancelledError(None, None, "The request never came")
        await take(len(message))
        check_fields(message, deserialize.__self__.DESCRIPTOR)
        try:
            return deserialize(message)
        except DecodeError as error:
            raise invalid(f"The request is no message: {error}") from error

    @contextlib.asynccontextmanager
    async def _turn(self, end: asyncio.Timeout) -> AsyncIterator[None]:
        """One of the few turns to read."""
        self._waiting += 1
        try:
            if self._turns.locked():
                self._hurry_one()
            await self._turns.acquire()
        finally:
            self._waiting -= 1
        try:
            self._reading[end] = asyncio.get_running_loop().time()
            if self._waiting > self._hurried:
                self._hurry_one()
            yield
        finally:
            if self._reading.pop(end, None) is None:
                self._hurried -= 1
            self._turns.release()

    def _hurry_one(self) -> None:
        """Shortens the time of the message whose reading began first."""
        if self._reading:
            end, began = next(iter(self._reading.items()))
            del self._reading[end]
            self._hurried += 1
            rounds = max(1.0, self._waiting / _MESSAGES_READ_AT_ONCE)
            reschedule(end, began + self._shared_seconds / rounds)


class _Services(
    prediction_service_pb2_grpc.PredictionServiceServicer,
    model_service_pb2_grpc.ModelServiceServicer,
):
    """Both services; their stock bases answer other methods with UNIMPLEMENTED."""

    def __init__(
        self, store: ModelStore, batcher: Batcher, metrics: Metrics, *, allow_reload: bool
    ) -> None:
        self._store = store
        self._batcher = batcher
        self._metrics = metrics
        self._allow_reload = allow_reload

    async def Predict(self, request: Any, context: Any) -> predict_pb2.PredictResponse:  # noqa: N802
        with self._metrics.timed("GRPC"), self._store.use(_spec(request)) as servable:
            signature = servable.signature(request.model_spec.signature_name)
            wanted = _wanted(request.output_filter, signature)
            inputs = signature.decode(request.inputs, self._batcher.max_rows)
            outputs = await self._batcher.run(servable, signature, inputs)
            response = predict_pb2.PredictResponse()
            response.model_spec.name = request.model_spec.name
            response.model_spec.version.value = servable.version
            response.model_spec.signature_name = signature.name
            for key in wanted:
                response.outputs[key].CopyFrom(tf.make_tensor_proto(outputs[key]))
            return response

    async def GetModelMetadata(self, request: Any, context: Any) -> Any:  # noqa: N802
        spec = _spec(request)
        if set(request.metadata_field) != {_SIGNATURE_DEF}:
            fields = ", ".join(request.metadata_field) or "none"
            raise invalid(f"metadata_field must be {_SIGNATURE_DEF}, not {fields}")
        response = get_model_metadata_pb2.GetModelMetadataResponse()
        with self._store.use(spec) as servable:
            response.model_spec.name = request.model_spec.name
            response.model_spec.version.value = servable.version
            response.metadata[_SIGNATURE_DEF].Pack(servable.definitions)
        return response

    async def GetModelStatus(self, request: Any, context: Any) -> Any:  # noqa: N802
        return self._store.statuses(_spec(request))

    async def HandleReloadConfigRequest(self, request: Any, context: Any) -> Any:  # noqa: N802
        """Replaces the labels; the folder, the name and the version policy are fixed here."""
        if not self._allow_reload:
            message = "labels cannot be moved here: see swar serve --allow-reload"
            raise tf.errors.PermissionDeniedError(None, None, message)
        configs = request.config.model_config_list.config
        if [config.name for config in configs] != [self._store.model_name]:
            raise invalid(
                f"the stand-in serves one model: the config must list {self._store.model_name}"
            )
        path = configs[0].base_path
        if path and os.path.abspath(path) != os.path.abspath(self._store.model_dir):
            raise invalid("the stand-in serves one folder: the config must name no other base_path")
        if len(configs[0].version_labels) > _MAX_LABELS:
            raise invalid(f"the config names more than {_MAX_LABELS} labels")
        await self._store.set_labels(dict(configs[0].version_labels))
        return model_management_pb2.ReloadConfigResponse()


def _spec(request: Any) -> Any:
    """The model and version that a request names; raises INVALID_ARGUMENT if it names none."""
    if not request.HasField("model_spec"):
        raise invalid("Missing ModelSpec")
    return request.model_spec


def _wanted(output_filter: Sequence[str], signature: Signature) -> list[str]:
    for key in output_filter:
        if key not in signature.outputs:
            raise invalid(
                f"output tensor alias not found in signature: {key} "
                f"Outputs expected to be in the set {{{','.join(signature.outputs)}}}."
            )
        if list(output_filter).count(key) > 1:
            raise invalid(f"duplicate output tensor alias: {key}")
    return list(output_filter) or list(signature.outputs)
