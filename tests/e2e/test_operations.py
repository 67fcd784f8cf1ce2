"""Lineage, drift and rollback of a model that was really trained."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from components.model.files import MODEL_CARD
from components.recordings.sources import list_recordings
from components.rolled_back import mark_rolled_back
from tests.bad_recordings import encoded, speech_like
from tests.e2e.conftest import Run
from tests.e2e.support_runs import BASELINE, EVALUATOR, PUSHER, TRAINER, Ended, Store, states

pytestmark = pytest.mark.slow
RATE = 16_000
FEW = ("--set", "drift.min_recordings=5")


def test_lineage_tells_what_the_model_card_and_the_summary_tell(
    finished: Run, swar: Callable[[list[str]], Ended]
) -> None:
    ended = swar(["lineage", str(finished.published), "--json"])
    assert (ended.status, ended.err) == (0, "")
    answer = json.loads(ended.out)
    card = json.loads((finished.published / MODEL_CARD).read_text())
    for key in ("model_digest", "data_digest", "config_digest"):
        assert answer[key] == card[key]
    assert answer["code"]["Trainer"] == card["code_digest"]
    assert answer["data"] == str(finished.data)
    assert answer["recordings"] == finished.summary.recordings
    assert answer["metrics"] == finished.summary.metrics
    assert answer["settings"]["trainer"] == finished.config.trainer.model_dump(mode="json")
    assert answer["settings"]["pairs"] == finished.config.pairs.model_dump(mode="json")
    assert list(answer["published"]) == [finished.published.name]
    assert answer["calibrated_on"] is None
    assert (answer["blessed"], answer["is_served"], answer["rolled_back"]) == (True, True, None)
    shown = swar(["lineage", str(finished.published)])
    assert (shown.status, shown.err) == (0, "")
    assert answer["model_digest"] in shown.out


def test_every_recording_leads_to_the_model(
    finished: Run, swar: Callable[[list[str]], Ended]
) -> None:
    recordings = list_recordings(str(finished.data)).recordings
    ended = swar(["lineage", str(finished.output), "--recording", str(finished.data), "--json"])
    (seen,) = json.loads(ended.out)
    assert (ended.status, seen["recordings"]) == (0, len(recordings))
    assert set(seen["seconds"]) == {"train", "calibration", "eval", "unseen"}
    stranger = swar(["lineage", str(finished.output), "--recording", str(finished.output)])
    assert (stranger.status, stranger.out) == (1, f"no model saw {finished.output}\n")


def test_the_same_recordings_have_not_drifted(
    finished: Run, swar: Callable[[list[str]], Ended]
) -> None:
    ended = swar(["drift", str(finished.output), "--data", str(finished.data), *FEW, "--json"])
    answer = json.loads(ended.out)
    assert (ended.status, answer["has_drifted"]) == (0, False)
    assert answer["training_recordings"] == answer["serving_recordings"]
    assert [each["divergence"] for each in answer["compared"]] == pytest.approx([0.0] * 6, abs=1e-6)


def test_a_telephone_line_and_silence_are_drift(
    finished: Run, swar: Callable[[list[str]], Ended], tmp_path: Path
) -> None:
    for number in range(12):
        samples = speech_like(number, RATE)
        spectrum = np.fft.rfft(samples)
        spectrum[len(spectrum) * 3_400 // (RATE // 2) :] = 0
        narrow = np.fft.irfft(spectrum, len(samples)) if number % 2 else np.zeros(len(samples))
        (tmp_path / f"{number}.wav").write_bytes(encoded(narrow.astype(np.float32), RATE))
    ended = swar(["drift", str(finished.published), "--data", str(tmp_path), *FEW, "--json"])
    assert (ended.status, ended.err) == (1, "")
    drifted = {
        each["feature"]
        for each in json.loads(ended.out)["compared"]
        if each["divergence"] > each["allowed"]
    }
    assert {"treble_db", "outcome"} <= drifted


def test_too_few_recordings_are_no_drift_but_an_error(
    finished: Run, swar: Callable[[list[str]], Ended], tmp_path: Path
) -> None:
    (tmp_path / "calls").mkdir()
    for folder, answer in ((tmp_path / "calls", "too few"), (tmp_path / "absent", "is no folder")):
        ended = swar(["drift", str(finished.output), "--data", str(folder), *FEW])
        (line,) = ended.err.splitlines()
        assert (ended.status, answer in line) == (2, True)


def test_a_model_that_was_rolled_back_is_not_published_again(
    finished: Run, rerun: Callable[..., Ended]
) -> None:
    model = Store(finished.output).outputs()["model"]
    mark_rolled_back(model.uri, "2026-01-02T03:04:05Z")
    shutil.rmtree(finished.published)
    same = rerun()
    assert (same.status, same.states()) == (1, states(PUSHER))  # its version is gone
    assert "rolled back" in same.out
    anew = rerun("evaluator.max_eer_eval=0.47")
    assert anew.status == 1
    ran = {node for node, state in anew.states().items() if state == "done"}
    assert {EVALUATOR, PUSHER} <= ran
    assert BASELINE in ran
    assert list(finished.published.parent.iterdir()) == []


def test_a_model_that_was_cleaned_up_and_rolled_back_is_trained_anew(
    finished: Run, rerun: Callable[..., Ended]
) -> None:
    model = Store(finished.output).outputs()["model"]
    shutil.rmtree(model.uri)
    mark_rolled_back(model.uri, "2026-01-02T03:04:05Z")
    anew = rerun()
    assert (anew.status, anew.states()[TRAINER]) == (0, "done")


def test_nothing_to_go_back_to_is_told(finished: Run, swar: Callable[[list[str]], Ended]) -> None:
    ended = swar(["rollback", str(finished.output)])
    (line,) = ended.err.splitlines()
    assert (ended.status, "has published no other model" in line) == (2, True)
