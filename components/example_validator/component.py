"""The ExampleValidator: no training on data that contradict the schema."""

from collections.abc import Sequence

from tfx import types
from tfx.dsl.components.base import base_component, executor_spec
from tfx.types import component_spec, standard_artifacts, standard_component_specs
from tfx.utils import json_utils

from components.example_validator.executor import REQUIRED_SPLITS_KEY, Executor


class ExampleValidatorSpec(component_spec.ComponentSpec):
    """TFX's ExampleValidatorSpec, with the required splits."""

    PARAMETERS = {REQUIRED_SPLITS_KEY: component_spec.ExecutionParameter(type=str)}
    INPUTS = standard_component_specs.ExampleValidatorSpec.INPUTS
    OUTPUTS = standard_component_specs.ExampleValidatorSpec.OUTPUTS


class ExampleValidator(base_component.BaseComponent):
    """TFX's ExampleValidator that fails the run at an anomaly or an empty split."""

    SPEC_CLASS = ExampleValidatorSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(Executor)

    def __init__(
        self,
        statistics: types.BaseChannel,
        schema: types.BaseChannel,
        required_splits: Sequence[str],
    ):
        """Validates all splits of `statistics`; the required ones must be among them.

        Output: `anomalies`, of type ExampleAnomalies.
        """
        super().__init__(
            ExampleValidatorSpec(
                statistics=statistics,
                schema=schema,
                required_splits=json_utils.dumps(list(required_splits)),
                anomalies=types.Channel(type=standard_artifacts.ExampleAnomalies),
            )
        )
