"""TF Serving's gRPC services on grpc.aio and its stock stubs."""

import contextlib
from collections.abc import AsyncIterator
from typing import Any, Final

import grpc
import tensorflow as tf
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_management_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)

from serving.standin.batcher import Batcher
from serving.standin.metrics import Metrics
from serving.standin.servable import Signature
from serving.standin.status import ServingError, invalid
from serving.standin.store import ModelStore

_SIGNATURE_DEF: Final = "signature_def"


def build(
    store: ModelStore, batcher: Batcher, metrics: Metrics, *, max_request_bytes: int
) -> grpc.aio.Server:
    """The server, without a port yet.

    Args:
        store: the versions.
        batcher: runs the requests.
        metrics: where they are counted.
        max_request_bytes: a longer message is refused with RESOURCE_EXHAUSTED.
    """
    server = grpc.aio.server(
        options=[
            ("grpc.max_receive_message_length", max_request_bytes),
            ("grpc.max_send_message_length", -1),
            ("grpc.so_reuseport", 0),  # else a second server would share the port in silence
        ]
    )
    prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(
        _PredictionService(store, batcher, metrics), server
    )
    model_service_pb2_grpc.add_ModelServiceServicer_to_server(_ModelService(store), server)
    return server


class _PredictionService(prediction_service_pb2_grpc.PredictionServiceServicer):
    """Predict and GetModelMetadata; the stock base answers the rest with UNIMPLEMENTED."""

    def __init__(self, store: ModelStore, batcher: Batcher, metrics: Metrics) -> None:
        self._store = store
        self._batcher = batcher
        self._metrics = metrics

    async def Predict(  # noqa: N802
        self, request: predict_pb2.PredictRequest, context: grpc.aio.ServicerContext
    ) -> predict_pb2.PredictResponse:
        async with _told(context):
            with self._metrics.timed("GRPC"):
                return await self._predict(request)

    async def _predict(self, request: predict_pb2.PredictRequest) -> predict_pb2.PredictResponse:
        _check_spec(request)
        with self._store.use(request.model_spec) as servable:
            signature = servable.signature(request.model_spec.signature_name)
            wanted = _wanted(request.output_filter, signature)
            outputs = await self._batcher.run(servable, signature, signature.decode(request.inputs))
            response = predict_pb2.PredictResponse()
            response.model_spec.name = request.model_spec.name
            response.model_spec.version.value = servable.version
            response.model_spec.signature_name = signature.name
            for key in wanted:
                response.outputs[key].CopyFrom(tf.make_tensor_proto(outputs[key]))
            return response

    async def GetModelMetadata(  # noqa: N802
        self,
        request: get_model_metadata_pb2.GetModelMetadataRequest,
        context: grpc.aio.ServicerContext,
    ) -> get_model_metadata_pb2.GetModelMetadataResponse:
        async with _told(context):
            _check_spec(request)
            if not request.metadata_field:
                raise invalid("GetModelMetadataRequest must specify at least one metadata_field")
            for field in request.metadata_field:
                if field != _SIGNATURE_DEF:
                    raise invalid(f"Metadata field {field} is not supported")
            response = get_model_metadata_pb2.GetModelMetadataResponse()
            with self._store.use(request.model_spec) as servable:
                response.model_spec.name = request.model_spec.name
                response.model_spec.version.value = servable.version
                response.metadata[_SIGNATURE_DEF].Pack(servable.definitions)
            return response


class _ModelService(model_service_pb2_grpc.ModelServiceServicer):
    def __init__(self, store: ModelStore) -> None:
        self._store = store

    async def GetModelStatus(  # noqa: N802
        self, request: get_model_status_pb2.GetModelStatusRequest, context: grpc.aio.ServicerContext
    ) -> get_model_status_pb2.GetModelStatusResponse:
        async with _told(context):
            _check_spec(request)
            return self._store.statuses(request.model_spec)

    async def HandleReloadConfigRequest(  # noqa: N802
        self, request: model_management_pb2.ReloadConfigRequest, context: grpc.aio.ServicerContext
    ) -> model_management_pb2.ReloadConfigResponse:
        """Replaces the labels; the folder, the name and the version policy are fixed here."""
        async with _told(context):
            configs = request.config.model_config_list.config
            if [config.name for config in configs] != [self._store.model_name]:
                raise invalid(
                    f"the stand-in serves one model: the config must list {self._store.model_name}"
                )
            await self._store.set_labels(dict(configs[0].version_labels))
            return model_management_pb2.ReloadConfigResponse()


def _check_spec(request: Any) -> None:
    if not request.HasField("model_spec"):
        raise invalid("Missing ModelSpec")


def _wanted(output_filter: Any, signature: Signature) -> list[str]:
    for key in output_filter:
        if key not in signature.outputs:
            raise invalid(
                f"output tensor alias not found in signature: {key} "
                f"Outputs expected to be in the set {{{','.join(signature.outputs)}}}."
            )
        if list(output_filter).count(key) > 1:
            raise invalid(f"duplicate output tensor alias: {key}")
    return list(output_filter) or list(signature.outputs)


@contextlib.asynccontextmanager
async def _told(context: grpc.aio.ServicerContext) -> AsyncIterator[None]:
    """Ends the call with the status of a ServingError that is raised inside."""
    try:
        yield
    except ServingError as error:
        await context.abort(error.code, error.message)
