"""Writes the schema where TFX's components look for it."""

import os
from typing import Any, Final

from google.protobuf import text_format
from tensorflow_metadata.proto.v0 import schema_pb2
from tfx.components.schema_gen.executor import DEFAULT_FILE_NAME
from tfx.dsl.components.base import base_executor
from tfx.types import artifact_utils
from tfx.utils import io_utils

from components.artifacts import ArtifactDict

TEXT_KEY: Final = "schema_text"
SCHEMA_KEY: Final = "schema"


class Executor(base_executor.BaseExecutor):
    """Writes `schema`."""

    def Do(
        self, input_dict: ArtifactDict, output_dict: ArtifactDict, exec_properties: dict[str, Any]
    ) -> None:
        """Writes the text unchanged. Raises text_format.ParseError if it is not a schema."""
        text = exec_properties[TEXT_KEY]
        text_format.Parse(text, schema_pb2.Schema())
        folder = artifact_utils.get_single_uri(output_dict[SCHEMA_KEY])
        io_utils.write_string_file(os.path.join(folder, DEFAULT_FILE_NAME), text)
