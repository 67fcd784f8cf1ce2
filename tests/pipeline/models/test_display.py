"""The tables of lineage and drift, whatever the recordings are called."""

from dataclasses import replace

import pytest
from rich.console import Console, RenderableType

from pipeline.models.display import drift_table, lineage_table, sightings_table
from pipeline.models.drift import Compared, Drift
from pipeline.models.lineage import ModelLineage, Sighting

# Rich would take this for the end of a style, and fail.
ODD = "voices [/bold] of :smile: 2026"
LINEAGE = ModelLineage(
    version=100,
    published={100: "1970-01-01T00:01:40Z"},
    is_served=True,
    rolled_back=None,
    model_digest="digest",
    calibrated_on=None,
    trained="1970-01-01T00:01:30Z",
    parent=None,
    data=f"/data/{ODD}",
    spans=[],
    data_digest="d",
    recordings=1_200,
    config_digest="c",
    settings={},
    code={"Trainer": "e"},
    blessed=False,
    not_blessed_because=["eer of eval is 0.4, more than 0.1"],
    metrics={"eval": {"eer": 0.4, "recall": None}},
    artifact="/out/artifacts/Trainer/model/6",
)


def rendered(table: RenderableType) -> str:
    console = Console(width=200)
    with console.capture() as capture:
        console.print(table)
    return capture.get()


@pytest.mark.parametrize(
    ("spans", "shown"),
    [([], f"/data/{ODD}\n"), (["2026-01", "2026-02"], f"{ODD} (2 spans, 2026-01 to 2026-02)")],
    ids=["a folder", "spans"],
)
def test_lineage_names_the_data_with_its_spans_if_it_has_any(spans: list[str], shown: str) -> None:
    lines = rendered(lineage_table(replace(LINEAGE, spans=spans)))
    assert shown in "\n".join(line.rstrip() for line in lines.splitlines())
    assert "no: eer of eval is 0.4" in lines
    assert "1,200" in lines
    assert "0.400" in lines


def test_lineage_names_the_recordings_of_a_calibration() -> None:
    assert "the training's own calibration speakers" in rendered(lineage_table(LINEAGE))
    data = {"data": ODD, "data_digest": "f00", "speakers": 12, "recordings": 1_024}
    lines = rendered(lineage_table(replace(LINEAGE, calibrated_on=data)))
    assert f"{ODD} (f00): 12 speakers, 1,024 recordings" in lines


def test_lineage_names_what_the_training_started_from() -> None:
    assert "no other model" in rendered(lineage_table(LINEAGE))
    assert "base (abc)" in rendered(lineage_table(replace(LINEAGE, parent="base (abc)")))


def test_sightings_are_of_a_recording_that_may_be_called_anything() -> None:
    seen = Sighting("digest", [100], True, "1970-01-01T00:01:30Z", 2, {"train": 3.0, "eval": 1.5})
    lines = rendered(sightings_table(ODD, [seen]))
    assert ODD in lines
    assert "100 (served)" in lines
    assert "eval 1.5, train 3.0" in lines
    assert rendered(sightings_table(ODD, [])) == f"no model saw {ODD}\n"


def test_drift_names_the_folder_and_what_drifted() -> None:
    compared = [
        Compared("level_dbfs", -20.0, -30.0, 0.5, 0.2),
        Compared("outcome", 1.0, 0.9, None, 0.2),
    ]
    lines = rendered(drift_table(Drift("/out/published/1", ODD, 1_200, 20, compared)))
    assert f"/out/published/1 and {ODD}" in lines
    (level,) = (line for line in lines.splitlines() if "level dbfs" in line)
    (outcome,) = (line for line in lines.splitlines() if "share that is used" in line)
    assert "yes" in level
    assert "yes" not in outcome
