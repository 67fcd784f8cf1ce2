"""The Pusher: publishes a blessed model for TensorFlow Serving."""

from collections.abc import Mapping
from typing import Any

from tfx import types
from tfx.components import Pusher as TfxPusher
from tfx.dsl.components.base import executor_spec
from tfx.proto import pusher_pb2

from components.pusher.executor import Executor


class Pusher(TfxPusher):
    """TFX's Pusher; its published versions are complete or absent, and passed the ServingCheck."""

    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(Executor)

    def __init__(
        self,
        model: types.BaseChannel,
        model_blessing: types.BaseChannel,
        infra_blessing: types.BaseChannel,
        base_directory: str,
    ):
        """Pushes `model` to `base_directory/<version>/` if both blessings allow it."""
        super().__init__(
            model=model,
            model_blessing=model_blessing,
            infra_blessing=infra_blessing,
            push_destination=pusher_pb2.PushDestination(
                filesystem=pusher_pb2.PushDestination.Filesystem(base_directory=base_directory)
            ),
        )


def make_pusher(
    model: types.BaseChannel,
    model_blessing: types.BaseChannel,
    infra_blessing: types.BaseChannel,
    base_directory: str,
    vertex_endpoint: Mapping[str, Any] | None = None,
) -> TfxPusher:
    """The Pusher node.

    Args:
        model: of this run.
        model_blessing: whether it is good enough to be published.
        infra_blessing: whether it answers correctly when served.
        base_directory: gets the model, as `<version>/`.
        vertex_endpoint: custom config of TFX's Vertex Pusher, to deploy the model there
            instead.
    """
    if vertex_endpoint is None:
        return Pusher(model, model_blessing, infra_blessing, base_directory)
    # Google's libraries take long to import, and only Vertex needs them.
    from tfx.extensions.google_cloud_ai_platform.pusher.component import Pusher as VertexPusher

    return VertexPusher(
        model=model,
        model_blessing=model_blessing,
        infra_blessing=infra_blessing,
        custom_config=dict(vertex_endpoint),
    )
