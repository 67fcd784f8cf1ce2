"""Publishes the model of this run if it is blessed."""

import os
from typing import Any

from tfx.components.pusher import executor
from tfx.proto import pusher_pb2
from tfx.types import artifact_utils, standard_component_specs
from tfx.utils import io_utils, proto_utils

from components.artifacts import ArtifactDict
from components.errors import SwarError
from components.pusher.publish import publish
from components.rolled_back import is_rolled_back

_BLESSINGS = (
    standard_component_specs.MODEL_BLESSING_KEY,
    standard_component_specs.INFRA_BLESSING_KEY,
)


class Executor(executor.Executor):
    """TFX's Pusher executor; the version that it writes is complete or absent."""

    def Do(
        self, input_dict: ArtifactDict, output_dict: ArtifactDict, exec_properties: dict[str, Any]
    ) -> None:
        """Publishes `model` below the push destination, if both blessings allow it.

        A model that was rolled back is not published again; `swar rollback --to` does that.

        The `pushed_model` artifact gets TFX's custom properties `pushed` (1 or 0),
        `pushed_destination`, `pushed_version`, and a copy of the model.

        Raises SwarError where a blessing is missing, which TFX's executor would accept.
        """
        self._log_startup(input_dict, output_dict, exec_properties)
        pushed_model = artifact_utils.get_single_instance(
            output_dict[standard_component_specs.PUSHED_MODEL_KEY]
        )
        model = artifact_utils.get_single_instance(input_dict[standard_component_specs.MODEL_KEY])
        if missing := [name for name in _BLESSINGS if not input_dict.get(name)]:
            raise SwarError(f"{model.uri} has no {missing[0]}: run the pipeline again")
        if not self.CheckBlessing(input_dict) or is_rolled_back(model.uri):
            self._MarkNotPushed(pushed_model)
            return
        push_destination = pusher_pb2.PushDestination()
        proto_utils.json_to_proto(
            exec_properties[standard_component_specs.PUSH_DESTINATION_KEY], push_destination
        )
        model_path = self.GetModelPath(input_dict)
        destination = publish(model_path, push_destination.filesystem.base_directory)
        io_utils.copy_dir(model_path, pushed_model.uri)
        self._MarkPushed(
            pushed_model,
            pushed_destination=destination,
            pushed_version=os.path.basename(destination),
        )
