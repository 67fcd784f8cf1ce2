"""ImportSchemaGen: the curated schema as an artifact."""

from tfx import types
from tfx.dsl.components.base import base_component, executor_spec
from tfx.types import standard_artifacts
from tfx.types.component_spec import ChannelParameter, ComponentSpec, ExecutionParameter

from components.import_schema_gen.executor import SCHEMA_KEY, TEXT_KEY, Executor


class ImportSchemaGenSpec(ComponentSpec):
    """Inputs and outputs of ImportSchemaGen."""

    PARAMETERS = {TEXT_KEY: ExecutionParameter(type=str)}
    INPUTS: dict[str, ChannelParameter] = {}
    OUTPUTS = {SCHEMA_KEY: ChannelParameter(type=standard_artifacts.Schema)}


class ImportSchemaGen(base_component.BaseComponent):
    """TFX's ImportSchemaGen, given the schema itself instead of its path.

    A path on the machine that compiles the pipeline need not exist in a container, and an edited
    file would not rerun the component.
    """

    SPEC_CLASS = ImportSchemaGenSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(Executor)

    def __init__(self, schema_text: str) -> None:
        """Makes the node; `schema_text` is a Schema in protobuf's text format.

        Output: `schema`.
        """
        super().__init__(
            ImportSchemaGenSpec(
                schema_text=schema_text, schema=types.Channel(type=standard_artifacts.Schema)
            )
        )
