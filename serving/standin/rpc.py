"""TF Serving's gRPC services on grpc.aio and its stock stubs."""

import functools
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

import grpc
import tensorflow as tf
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    model_management_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)

from serving.standin.batcher import Batcher
from serving.standin.servable import Signature, decode
from serving.standin.status import Metrics, invalid, outcome
from serving.standin.store import ModelStore

_SIGNATURE_DEF: Final = "signature_def"


def build(
    store: ModelStore, batcher: Batcher, metrics: Metrics, *, max_request_bytes: int
) -> grpc.aio.Server:
    """The server, without a port yet; a longer message is refused with RESOURCE_EXHAUSTED."""
    server = grpc.aio.server(
        options=[
            ("grpc.max_receive_message_length", max_request_bytes),
            ("grpc.max_send_message_length", -1),
            ("grpc.so_reuseport", 0),  # else a second server would share the port in silence
        ]
    )
    services = _Services(store, batcher, metrics)
    prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(services, server)
    model_service_pb2_grpc.add_ModelServiceServicer_to_server(services, server)
    return server


def _call(answer: Callable[[Any, Any], Awaitable[Any]]) -> Callable[[Any, Any, Any], Any]:
    """A servicer's call, which ends with the code of an error that is raised."""

    @functools.wraps(answer)
    async def call(self: Any, request: Any, context: grpc.aio.ServicerContext) -> Any:
        try:
            names_a_model = "model_spec" in request.DESCRIPTOR.fields_by_name
            if names_a_model and not request.HasField("model_spec"):
                raise invalid("Missing ModelSpec")
            return await answer(self, request)
        except tf.errors.OpError as error:
            await context.abort(*outcome(error))

    return call


class _Services(
    prediction_service_pb2_grpc.PredictionServiceServicer,
    model_service_pb2_grpc.ModelServiceServicer,
):
    """Both services; the stock bases answer what is not here with UNIMPLEMENTED."""

    def __init__(self, store: ModelStore, batcher: Batcher, metrics: Metrics) -> None:
        self._store = store
        self._batcher = batcher
        self._metrics = metrics

    @_call
    async def Predict(self, request: Any) -> predict_pb2.PredictResponse:  # noqa: N802
        with self._metrics.timed("GRPC"), self._store.use(request.model_spec) as servable:
            signature = servable.signature(request.model_spec.signature_name)
            wanted = _wanted(request.output_filter, signature)
            outputs = await self._batcher.run(servable, signature, decode(request.inputs))
            response = predict_pb2.PredictResponse()
            response.model_spec.name = request.model_spec.name
            response.model_spec.version.value = servable.version
            response.model_spec.signature_name = signature.name
            for key in wanted:
                response.outputs[key].CopyFrom(tf.make_tensor_proto(outputs[key]))
            return response

    @_call
    async def GetModelMetadata(self, request: Any) -> Any:  # noqa: N802
        if set(request.metadata_field) != {_SIGNATURE_DEF}:
            fields = ", ".join(request.metadata_field) or "none"
            raise invalid(f"metadata_field must be {_SIGNATURE_DEF}, not {fields}")
        response = get_model_metadata_pb2.GetModelMetadataResponse()
        with self._store.use(request.model_spec) as servable:
            response.model_spec.name = request.model_spec.name
            response.model_spec.version.value = servable.version
            response.metadata[_SIGNATURE_DEF].Pack(servable.definitions)
        return response

    @_call
    async def GetModelStatus(self, request: Any) -> Any:  # noqa: N802
        return self._store.statuses(request.model_spec)

    @_call
    async def HandleReloadConfigRequest(self, request: Any) -> Any:  # noqa: N802
        """Replaces the labels; the folder, the name and the version policy are fixed here."""
        configs = request.config.model_config_list.config
        if [config.name for config in configs] != [self._store.model_name]:
            raise invalid(
                f"the stand-in serves one model: the config must list {self._store.model_name}"
            )
        await self._store.set_labels(dict(configs[0].version_labels))
        return model_management_pb2.ReloadConfigResponse()


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
