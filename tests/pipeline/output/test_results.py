import json
import math
from pathlib import Path

import pytest
from google.protobuf import json_format
from ml_metadata.proto import metadata_store_pb2
from tensorflow_model_analysis.proto import validation_result_pb2

from components.errors import SwarError
from components.evaluator.results import Slice
from pipeline.output import results


def test_rejects_are_counted_by_reason(tmp_path: Path) -> None:
    rows = [{"file": f"{n}.wav", "reason": reason} for n, reason in enumerate(["b", "a", "a"])]
    (tmp_path / "rejects.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert list(results.count_rejects(str(tmp_path)).items()) == [("a", 2), ("b", 1)]


def test_metrics_are_those_of_whole_splits() -> None:
    metrics = {
        Slice(): {"eer": 0.5},
        Slice(split="unseen"): {"eer": 0.2},
        Slice(split="eval"): {"recall": 0.9, "eer": math.nan},
        Slice(split="eval", gender_pair="mixed"): {"eer": 0.1},
    }
    shown = results.metrics_by_split(metrics)
    assert shown == {"eval": {"eer": None, "recall": 0.9}, "unseen": {"eer": 0.2}}
    assert list(shown) == ["eval", "unseen"]


def test_error_rates_under_conditions_are_those_of_their_split() -> None:
    metrics = {
        Slice(split="eval"): {"eer": 0.1},
        Slice(split="unseen_conditions", condition="mp3"): {"eer": math.nan},
        Slice(split="eval_conditions", condition="mp3"): {"eer": 0.3, "auc": 0.7},
        Slice(split="eval_conditions", condition="telephone"): {"eer": 0.2},
    }
    assert results.eer_by_condition(metrics) == {
        "eval": {"telephone": 0.2, "mp3": 0.3},
        "unseen": {"mp3": None},
    }


def test_a_model_is_published_only_if_it_was_pushed() -> None:
    artifact = metadata_store_pb2.Artifact()
    artifact.custom_properties["pushed_destination"].string_value = "/out/published/7"
    artifact.custom_properties["pushed"].int_value = 0
    assert results.published_model(artifact) is None
    artifact.custom_properties["pushed"].int_value = 1
    assert results.published_model(artifact) == "/out/published/7"


def test_unmet_bounds_are_told_with_value_and_bound() -> None:
    eval_slice = {"singleSliceKeys": [{"column": "split", "bytesValue": "ZXZhbA=="}]}
    failures = [
        {
            "metricKey": {"name": "eer"},
            "metricValue": {"doubleValue": 0.3},
            "metricThreshold": {"valueThreshold": {"upperBound": 0.15}},
        },
        {
            "metricKey": {"name": "eer", "isDiff": True},
            "metricValue": {"doubleValue": 0.05},
            "metricThreshold": {"changeThreshold": {"absolute": 0.01}},
        },
    ]
    validation = validation_result_pb2.ValidationResult()
    json_format.ParseDict(
        {
            "metricValidationsPerSlice": [{"sliceKey": eval_slice, "failures": failures}],
            "missingSlices": [
                {"featureValues": {"split": "unseen"}},
                {"featureValues": {"split": "eval_conditions", "condition": "telephone"}},
            ],
        },
        validation,
    )
    assert results.unmet_thresholds(validation) == [
        "eer of eval is 0.3000, allowed 0.15",
        "eer of eval rose by 0.0500, allowed 0.01",
        "no trials in eval under telephone",
        "no trials in unseen",
    ]


@pytest.mark.parametrize("name", ["recordings.jsonl", "rejects.jsonl"])
@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b'{"recording": "a", "spe', "Unterminated string"),
        (b"\xff\xfe\n", "codec can't decode"),
        (b"[1]\n", "a row without"),
        (b'{"other": 1}\n', "a row without"),
        (b"[" * 100_000, "recursion"),
        (None, "No such file"),
    ],
)
def test_rows_that_are_damaged_are_told(
    tmp_path: Path, name: str, content: bytes | None, reason: str
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(SwarError, match=rf"{name} cannot be read \(.*{reason}.*train anew"):
        results.read_rows(tmp_path / name)
