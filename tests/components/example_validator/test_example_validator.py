"""An anomaly, a missing split and an empty split each stop the run."""

import re

import pandas as pd
import pytest
import tensorflow_data_validation as tfdv
from tensorflow_metadata.proto.v0 import anomalies_pb2, schema_pb2, statistics_pb2
from tfx.components.statistics_gen import stats_artifact_utils
from tfx.types import artifact_utils, channel_utils, standard_artifacts
from tfx.utils import io_utils, json_utils

from components.errors import SwarError
from components.example_validator.component import ExampleValidator
from components.example_validator.executor import Executor

GOOD = pd.DataFrame({"label": [0, 1, 1], "gender_pair": ["female", "male", "mixed"]})


@pytest.fixture(scope="module")
def schema_artifact(tmp_path_factory):
    schema = tfdv.infer_schema(tfdv.generate_statistics_from_dataframe(GOOD))
    label = tfdv.get_feature(schema, "label")
    label.int_domain.CopyFrom(schema_pb2.IntDomain(min=0, max=1))
    directory = tmp_path_factory.mktemp("schema")
    io_utils.write_pbtxt_file(str(directory / "pairs.pbtxt"), schema)
    artifact = standard_artifacts.Schema()
    artifact.uri = str(directory)
    return artifact


def _statistics(directory, frames):
    """A statistics artifact as StatisticsGen writes it; a frame for each split."""
    artifact = standard_artifacts.ExampleStatistics()
    artifact.uri = str(directory / "statistics")
    artifact.split_names = artifact_utils.encode_split_names(list(frames))
    artifact.span = 0
    for split, frame in frames.items():
        statistics = (
            tfdv.generate_statistics_from_dataframe(frame)
            if len(frame)
            else statistics_pb2.DatasetFeatureStatisticsList(
                datasets=[statistics_pb2.DatasetFeatureStatistics(num_examples=0)]
            )
        )
        folder = directory / "statistics" / f"Split-{split}"
        folder.mkdir(parents=True)
        path = folder / stats_artifact_utils.BINARY_PB_BASENAME
        path.write_bytes(statistics.SerializeToString())
    return artifact


def _validate(directory, frames, schema, required):
    anomalies = standard_artifacts.ExampleAnomalies()
    anomalies.uri = str(directory / "anomalies")
    Executor().Do(
        {"statistics": [_statistics(directory, frames)], "schema": [schema]},
        {"anomalies": [anomalies]},
        {"required_splits": json_utils.dumps(required)},
    )
    return anomalies


def _read(directory, split):
    path = directory / "anomalies" / f"Split-{split}" / "SchemaDiff.pb"
    return anomalies_pb2.Anomalies.FromString(path.read_bytes())


def test_good_data_pass_and_anomalies_are_written(tmp_path, schema_artifact):
    frames = {"train": GOOD, "eval": GOOD}
    artifact = _validate(tmp_path, frames, schema_artifact, ["train", "eval"])
    assert artifact_utils.decode_split_names(artifact.split_names) == ["train", "eval"]
    for split in frames:
        assert not _read(tmp_path, split).anomaly_info


def test_an_anomaly_names_split_feature_and_fault(tmp_path, schema_artifact):
    bad = GOOD.assign(label=[0, 1, 7], gender_pair=["female", "male", "robot"])
    with pytest.raises(SwarError) as raised:
        _validate(tmp_path, {"train": GOOD, "eval": bad}, schema_artifact, ["train", "eval"])
    message = str(raised.value)
    assert "split eval, feature label: Out-of-range values" in message
    assert re.search(r"split eval, feature gender_pair: .*robot", message)
    assert "split train" not in message
    assert "change the schema" in message
    assert "\n" not in message
    assert set(_read(tmp_path, "eval").anomaly_info) == {"label", "gender_pair"}


def test_a_missing_feature_stops_the_run(tmp_path, schema_artifact):
    frames = {"train": GOOD.drop(columns="label")}
    with pytest.raises(SwarError, match="split train, feature label: Column dropped"):
        _validate(tmp_path, frames, schema_artifact, ["train"])


def test_a_missing_split_stops_the_run(tmp_path, schema_artifact):
    with pytest.raises(SwarError, match="no examples in split calibration, eval "):
        _validate(tmp_path, {"train": GOOD}, schema_artifact, ["train", "eval", "calibration"])


def test_an_empty_split_stops_the_run(tmp_path, schema_artifact):
    frames = {"train": GOOD, "unseen": GOOD[:0]}
    with pytest.raises(SwarError, match="no examples in split unseen "):
        _validate(tmp_path, frames, schema_artifact, ["train"])


def test_component_takes_required_splits(schema_artifact):
    statistics = standard_artifacts.ExampleStatistics()
    component = ExampleValidator(
        channel_utils.as_channel([statistics]),
        channel_utils.as_channel([schema_artifact]),
        required_splits=("train", "eval"),
    )
    assert component.exec_properties == {"required_splits": '["train", "eval"]'}
    assert component.outputs["anomalies"].type is standard_artifacts.ExampleAnomalies
