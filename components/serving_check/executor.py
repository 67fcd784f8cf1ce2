"""Writes the InfraBlessing of a model that answers correctly when served."""

import os
from typing import Any, Final

from tfx.dsl.components.base import base_executor
from tfx.types import artifact_utils, standard_component_specs
from tfx.utils import io_utils, path_utils

from components.artifacts import ArtifactDict
from components.serving_check.check import check_served

# As TFX's InfraValidator writes it.
_BLESSED_FILE: Final = "INFRA_BLESSED"
_BLESSED_PROPERTY: Final = "blessed"


class Executor(base_executor.BaseExecutor):
    """Stops the run where the model does not answer as when it was exported."""

    def Do(
        self, input_dict: ArtifactDict, output_dict: ArtifactDict, exec_properties: dict[str, Any]
    ) -> None:
        """Writes `infra_blessing`. Raises SwarError, see `check_served`."""
        self._log_startup(input_dict, output_dict, exec_properties)
        model = artifact_utils.get_single_instance(input_dict[standard_component_specs.MODEL_KEY])
        check_served(path_utils.serving_model_path(model.uri))
        blessing = artifact_utils.get_single_instance(
            output_dict[standard_component_specs.INFRA_BLESSING_KEY]
        )
        io_utils.write_string_file(os.path.join(blessing.uri, _BLESSED_FILE), "")
        blessing.set_int_custom_property(_BLESSED_PROPERTY, 1)
