"""Validates statistics against the schema and stops the run at an anomaly."""

import os
from collections.abc import Iterator
from typing import Any, Final

from tensorflow_metadata.proto.v0 import anomalies_pb2
from tfx import types
from tfx.components.example_validator import executor
from tfx.components.statistics_gen import stats_artifact_utils
from tfx.dsl.io import fileio
from tfx.proto.orchestration import execution_result_pb2
from tfx.types import artifact_utils, standard_component_specs
from tfx.utils import json_utils

from components.artifacts import ArtifactDict
from components.errors import SwarError

REQUIRED_SPLITS_KEY: Final = "required_splits"


class Executor(executor.Executor):
    """TFX's ExampleValidator executor that fails where TFX only records an anomaly."""

    def Do(
        self, input_dict: ArtifactDict, output_dict: ArtifactDict, exec_properties: dict[str, Any]
    ) -> execution_result_pb2.ExecutorOutput:
        """Writes `anomalies` for every split of `statistics`.

        Raises SwarError for a required split that `statistics` lacks, for a split
        without examples, and for any anomaly, naming split and feature.
        """
        statistics = artifact_utils.get_single_instance(
            input_dict[standard_component_specs.STATISTICS_KEY]
        )
        splits = artifact_utils.decode_split_names(statistics.split_names)
        required = json_utils.loads(exec_properties[REQUIRED_SPLITS_KEY])
        _require_examples(statistics, splits, required)
        output = super().Do(input_dict, output_dict, exec_properties)
        anomalies_artifact = artifact_utils.get_single_instance(
            output_dict[standard_component_specs.ANOMALIES_KEY]
        )
        faults = [
            fault
            for split in splits
            for fault in _faults(split, _read_anomalies(anomalies_artifact, split))
        ]
        if faults:
            raise SwarError(
                f"the data contradict the schema: {'; '.join(faults)} "
                "(correct the data or the settings that made them; "
                "if they are as meant, change the schema)"
            )
        return output


def _require_examples(statistics: types.Artifact, splits: list[str], required: list[str]) -> None:
    missing = sorted(set(required) - set(splits))
    # TFX ignores `data_missing`, TFDV's only report of a split without examples.
    empty = [split for split in splits if not _example_count(statistics, split)]
    if missing or empty:
        raise SwarError(
            f"no examples in split {', '.join(missing + empty)} "
            "(give more recordings or speakers, or a larger share of them to the split)"
        )


def _example_count(statistics: types.Artifact, split: str) -> int:
    datasets = stats_artifact_utils.load_statistics(statistics, split).proto().datasets
    return max((dataset.num_examples for dataset in datasets), default=0)


def _read_anomalies(artifact: types.Artifact, split: str) -> anomalies_pb2.Anomalies:
    path = os.path.join(artifact_utils.get_split_uri([artifact], split), executor.DEFAULT_FILE_NAME)
    with fileio.open(path, "rb") as file:
        return anomalies_pb2.Anomalies.FromString(file.read())


def _faults(split: str, anomalies: anomalies_pb2.Anomalies) -> Iterator[str]:
    for feature, info in sorted(anomalies.anomaly_info.items()):
        yield f"split {split}, feature {feature}: {_reasons(info)}"
    if anomalies.HasField("dataset_anomaly_info"):
        yield f"split {split}: {_reasons(anomalies.dataset_anomaly_info)}"


def _reasons(info: anomalies_pb2.AnomalyInfo) -> str:
    reasons = [f"{reason.short_description} ({reason.description})" for reason in info.reason]
    return ", ".join(reasons) or f"{info.short_description} ({info.description})"
