"""TFX's Trainer executor, which also takes values known only when a run starts."""

import json
from typing import Any, Final

from tfx.components.trainer import executor
from tfx.types import standard_component_specs
from tfx.utils import json_utils

from components.artifacts import ArtifactDict

EPOCHS_KEY: Final = "epochs"
DATA_DIGEST_KEY: Final = "data_digest"


class Executor(executor.GenericExecutor):
    """Runs `run_fn` in this process."""

    def Do(
        self, input_dict: ArtifactDict, output_dict: ArtifactDict, exec_properties: dict[str, Any]
    ) -> None:
        """Writes `model` and `model_run`."""
        super().Do(input_dict, output_dict, with_run_values(exec_properties))


def with_run_values(exec_properties: dict[str, Any]) -> dict[str, Any]:
    """Puts `epochs` and `data_digest` into the custom config.

    They are exec properties of their own because a runtime parameter of Kubeflow can stand
    for a whole property only, not for a part of one.
    """
    config_key = standard_component_specs.CUSTOM_CONFIG_KEY
    config = json_utils.loads(exec_properties[config_key])
    trainer = json.loads(config["trainer"]) | {"epochs": exec_properties[EPOCHS_KEY]}
    provenance = config["provenance"] | {"data_digest": exec_properties[DATA_DIGEST_KEY]}
    completed = config | {"trainer": json.dumps(trainer), "provenance": provenance}
    return exec_properties | {config_key: json_utils.dumps(completed)}
