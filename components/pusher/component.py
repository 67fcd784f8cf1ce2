"""The Pusher: publishes a blessed model for TensorFlow Serving."""

from tfx import types
from tfx.components import Pusher as TfxPusher
from tfx.dsl.components.base import executor_spec
from tfx.proto import pusher_pb2

from components.pusher.executor import Executor


class Pusher(TfxPusher):
    """TFX's Pusher whose published versions are complete or absent."""

    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(Executor)

    def __init__(
        self, model: types.BaseChannel, model_blessing: types.BaseChannel, base_directory: str
    ):
        """Pushes `model` to `base_directory/<version>/` if `model_blessing` allows it."""
        super().__init__(
            model=model,
            model_blessing=model_blessing,
            push_destination=pusher_pb2.PushDestination(
                filesystem=pusher_pb2.PushDestination.Filesystem(base_directory=base_directory)
            ),
        )
