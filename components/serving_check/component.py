"""The ServingCheck: a model is judged and published only if a server can answer from it."""

from tfx import types
from tfx.dsl.components.base import base_component, executor_spec
from tfx.types import component_spec, standard_artifacts, standard_component_specs

from components.serving_check.executor import Executor


class ServingCheckSpec(component_spec.ComponentSpec):
    """Inputs and outputs of ServingCheck."""

    PARAMETERS = {"code_digest": component_spec.ExecutionParameter(type=str)}
    INPUTS = {
        standard_component_specs.MODEL_KEY: component_spec.ChannelParameter(
            type=standard_artifacts.Model
        )
    }
    OUTPUTS = {
        standard_component_specs.INFRA_BLESSING_KEY: component_spec.ChannelParameter(
            type=standard_artifacts.InfraBlessing
        )
    }


class ServingCheck(base_component.BaseComponent):
    """Replaces TFX's InfraValidator, which needs a Docker daemon and compares no answers."""

    SPEC_CLASS = ServingCheckSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(Executor)

    def __init__(self, model: types.BaseChannel, code_digest: str) -> None:
        """Makes the node.

        Args:
            model: the Trainer's, with its warm-up requests and golden answers.
            code_digest: of the code behind the check, so that an edit reruns the node.

        Output: `infra_blessing`, of type InfraBlessing.
        """
        super().__init__(
            ServingCheckSpec(
                model=model,
                code_digest=code_digest,
                infra_blessing=types.Channel(type=standard_artifacts.InfraBlessing),
            )
        )
