"""A second run does again exactly what depends on what changed."""

import json
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import soundfile

from components.model.files import MODEL_CARD
from components.verification_report import component
from pipeline import code_digest, pipeline
from tests.e2e.conftest import Run
from tests.e2e.support_runs import (
    EVALUATOR,
    NODES,
    PUSHER,
    REPORT,
    SCHEMA,
    SERVING_CHECK,
    STATISTICS,
    TRAINER,
    VALIDATOR,
    Ended,
    Store,
    digests,
    states,
)

pytestmark = pytest.mark.slow
Rerun = Callable[..., Ended]


def _versions(finished: Run) -> list[str]:
    return sorted(path.name for path in finished.published.parent.iterdir())


def test_an_identical_run_is_cached_to_the_end(finished: Run, rerun: Rerun) -> None:
    before = digests(finished.published.parent)
    ended = rerun()
    assert (ended.status, ended.err) == (0, "")
    assert ended.states() == states()
    assert digests(finished.published.parent) == before
    executions = Store(finished.output).executions()
    assert {node: executions[node, "COMPLETE"] for node in NODES} == {
        node: 2 if node == "Baseline" else 1 for node in NODES
    }
    summary = json.loads((finished.output / "summary.json").read_text())
    assert summary["metrics"] == finished.summary.metrics
    assert summary["published_model"] == str(finished.published)


def test_a_changed_recording_changes_all_but_the_schema(finished: Run, rerun: Rerun) -> None:
    recording = min(finished.data.glob("*/*.wav"))
    samples, rate = soundfile.read(recording)
    noise = np.random.default_rng(0).standard_normal(samples.shape)
    soundfile.write(recording, samples + 1e-3 * noise, rate)
    ended = rerun()
    assert ended.states() == states(*NODES) | {SCHEMA: "cached"}
    assert ended.status == 0
    assert len(_versions(finished)) == 2
    summary = json.loads((finished.output / "summary.json").read_text())
    assert summary["data_digest"] != finished.summary.data_digest


def test_edited_code_of_the_trainer_trains_again(
    finished: Run, rerun: Rerun, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    tree = tmp_path / "tree"
    for package in ("components", "pretrained"):
        shutil.copytree(code_digest.SOURCE_ROOT / package, tree / package)
    digest = partial(code_digest.code_digest, source_root=tree)
    monkeypatch.setattr(pipeline, "code_digest", digest)
    assert rerun().states() == states()

    with (tree / "components" / "trainer" / "losses.py").open("a") as module:
        module.write("# edited\n")
    ended = rerun()
    assert ended.states() == states(TRAINER, SERVING_CHECK, EVALUATOR, PUSHER, REPORT)
    assert ended.status == 0
    first, second = _versions(finished)
    assert first == finished.published.name
    card = json.loads((finished.published.with_name(second) / MODEL_CARD).read_text())
    assert card["code_digest"] == digest("components.trainer")


def test_an_edited_schema_is_validated_against_and_stops_before_training(
    finished: Run, rerun: Rerun, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    original = pipeline.PAIR_SCHEMA.read_text()
    edited = tmp_path / "edited.pbtxt"
    monkeypatch.setattr(pipeline, "PAIR_SCHEMA", edited)
    contradictions = {
        "gender_a": ('value: "female" value: "male" value: "unknown"', 'value: "female"'),
        "level_dbfs_a": ("max: 0.0", "max: -90.0"),
    }
    for feature, (right, wrong) in contradictions.items():
        edited.write_text(original.replace(right, wrong, 1))
        ended = rerun()
        assert ended.states() == {
            node: state
            for node, state in states(SCHEMA, STATISTICS).items()
            if NODES.index(node) < NODES.index(VALIDATOR)
        } | {VALIDATOR: "failed"}
        assert ended.status == 2
        assert ended.err.startswith("swar: error: the data contradict the schema: ")
        assert f"feature {feature}:" in ended.err
        assert ended.err.count("\n") == 1
        assert _versions(finished) == [finished.published.name]


def test_edited_code_or_settings_of_the_report_write_another_one(
    finished: Run, rerun: Rerun, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended = rerun("report.resamples=30")
    assert (ended.status, ended.states()) == (0, states(REPORT))
    summary = json.loads((finished.output / "summary.json").read_text())
    assert summary["report"] != finished.summary.report
    assert Path(summary["report"]).is_file()
    assert _versions(finished) == [finished.published.name]

    monkeypatch.setattr(component, "template_digest", lambda: "edited")
    assert rerun("report.resamples=30").states() == states(REPORT)
