"""What a run left behind: its records in MLMD, and what its artifacts hold."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from ml_metadata import MetadataStore
from ml_metadata.proto import metadata_store_pb2
from tensorflow_model_analysis.proto import validation_result_pb2

from components import artifacts, features
from components.conditions import CLEAN, CONDITIONS
from components.errors import SwarError
from components.evaluator.results import Slice
from components.features import CONDITION
from components.json_text import without_nan
from components.model.files import BASE
from components.verification.error_rates import EER

_NEEDED: Final = {
    artifacts.RECORDINGS_FILE: {"recording", "speaker", "splits"},
    artifacts.REJECTS_FILE: {"file", "reason"},
}
"""Columns that every row of a file must have."""


def latest_outputs(store: MetadataStore) -> dict[str, metadata_store_pb2.Artifact]:
    """The output artifacts (MLMD protos) of the newest run, by their output key."""
    run = max(store.get_contexts_by_type("pipeline_run"), key=lambda context: context.id)
    executions = [execution.id for execution in store.get_executions_by_context(run.id)]
    return artifacts_by_key(store, executions, metadata_store_pb2.Event.OUTPUT)


def artifacts_by_key(
    store: MetadataStore, executions: Sequence[int], kind: int
) -> dict[str, metadata_store_pb2.Artifact]:
    """Artifacts that executions read (kind Event.INPUT) or wrote (OUTPUT); the last of a key."""
    keys = {
        event.artifact_id: event.path.steps[0].key
        for event in store.get_events_by_execution_ids(executions)
        if event.type == kind
    }
    return {keys[item.id]: item for item in store.get_artifacts_by_id(list(keys))}


def count_rejects(uri: str) -> dict[str, int]:
    """How many recordings were rejected for each reason, the commonest first."""
    rows = read_rows(Path(uri) / artifacts.REJECTS_FILE)
    return dict(Counter(row["reason"] for row in rows).most_common())


def read_rows(file: Path) -> list[dict[str, Any]]:
    """The rows that SpeechExampleGen wrote about recordings or rejects.

    Raises:
        SwarError: the file is missing or damaged.
    """
    try:
        rows = list(map(json.loads, file.read_text("utf-8").splitlines()))
        if all(isinstance(row, dict) and _NEEDED[file.name] <= row.keys() for row in rows):
            return rows
        reason = f"a row without {', '.join(sorted(_NEEDED[file.name]))}"
    except OSError as error:
        reason = error.strerror or str(error)
    except (ValueError, RecursionError) as error:
        reason = str(error)
    raise SwarError(
        f"{file} cannot be read ({reason}): it tells what the model was made from, put it back or "
        "train anew"
    )


def split_counts(artifact: metadata_store_pb2.Artifact) -> dict[str, int]:
    """Examples of each split, as the component counted them."""
    counts: dict[str, int] = json.loads(
        artifact.custom_properties[artifacts.SPLIT_COUNTS].string_value
    )
    order = {split: place for place, split in enumerate(features.PAIR_SPLITS)}
    return dict(sorted(counts.items(), key=lambda item: order.get(item[0], len(order))))


def is_blessed(artifact: metadata_store_pb2.Artifact) -> bool:
    """Whether the Evaluator blessed the model."""
    return bool(artifact.custom_properties["blessed"].int_value == 1)


def published_model(artifact: metadata_store_pb2.Artifact) -> str | None:
    """Where the Pusher published the model; None if it did not."""
    properties = artifact.custom_properties
    if properties["pushed"].int_value != 1:
        return None
    return str(properties["pushed_destination"].string_value)


def metrics_by_split(
    metrics: Mapping[Slice, Mapping[str, float]],
) -> dict[str, dict[str, float | None]]:
    """The metrics of each whole split; NaN, which JSON lacks, is None."""
    return {
        split: without_nan(dict(sorted(metrics[Slice(split=split)].items())))
        for split in features.SPLITS
        if Slice(split=split) in metrics
    }


def eer_by_condition(
    metrics: Mapping[Slice, Mapping[str, float]],
) -> dict[str, dict[str, float | None]]:
    """The EER of each held-out split under each condition; NaN, which JSON lacks, is None."""
    found: dict[str, dict[str, float | None]] = {}
    for split, under_conditions in features.UNDER_CONDITIONS.items():
        for condition in CONDITIONS:
            part = Slice(split=under_conditions, condition=condition)
            if part in metrics:
                found.setdefault(split, {})[condition] = without_nan(metrics[part][EER])
    return found


def unmet_thresholds(validation: validation_result_pb2.ValidationResult) -> list[str]:
    """The bounds that a model misses by a TFMA ValidationResult: a phrase for each, sorted."""
    reasons = []
    for by_slice in validation.metric_validations_per_slice:
        keys = by_slice.slice_key.single_slice_keys
        where = _slice_name({key.column: key.bytes_value.decode() for key in keys})
        for failure in by_slice.failures:
            name = failure.metric_key.name
            value = failure.metric_value.double_value.value
            if failure.metric_key.is_diff:
                bound = failure.metric_threshold.change_threshold.absolute.value
                is_over_base = failure.metric_key.model_name == BASE
                over = " over the base model's" if is_over_base else ""
                reasons.append(f"{name} of {where} rose by {value:.4f}{over}, allowed {bound:g}")
            else:
                bound = failure.metric_threshold.value_threshold.upper_bound.value
                reasons.append(f"{name} of {where} is {value:.4f}, allowed {bound:g}")
    for missing in validation.missing_slices:
        reasons.append(f"no trials in {_slice_name(missing.feature_values)}")
    return sorted(reasons)


def _slice_name(values: Mapping[str, str]) -> str:
    """`eval` or `eval under telephone`, from a slice's values by feature."""
    splits = {name: split for split, name in features.UNDER_CONDITIONS.items()}
    others = [splits.get(value, value) for key, value in values.items() if key != CONDITION]
    name = ", ".join(others) or "all"
    condition = values.get(CONDITION, CLEAN)
    return name if condition == CLEAN else f"{name} under {condition}"
