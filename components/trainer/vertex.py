"""Training as a custom job of Vertex AI."""

from tfx.components import Trainer as TfxTrainer
from tfx.dsl.components.base import executor_spec
from tfx.extensions.google_cloud_ai_platform.trainer import executor

from components.trainer.executor import Executor


class VertexExecutor(executor.GenericExecutor):
    """Starts a custom job, in whose container Executor trains, and waits for it to end."""

    def _GetExecutorClass(self) -> type[Executor]:  # noqa: N802 - TFX's name
        return Executor


class VertexTrainer(TfxTrainer):
    """TFX's Trainer, whose custom config says which machine trains."""

    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(VertexExecutor)
