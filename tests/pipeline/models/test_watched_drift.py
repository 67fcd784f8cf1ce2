"""A change in what a model is asked about is noticed soon, and seldom where there is none."""

import json
import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.errors import SwarError
from pipeline import cli
from pipeline.models.drift_settings import DriftSettings
from pipeline.models.watched_drift import alarm_limit, first_alarm, watched_drift

REFERENCE = 500
SETTINGS = DriftSettings(reference_rows=REFERENCE)
LIMIT = alarm_limit(1, SETTINGS.requests_per_false_alarm)
Draw = Callable[[np.random.Generator, int], np.ndarray]
KINDS: dict[str, Draw] = {
    "normal": lambda rng, count: rng.standard_normal(count),
    "mostly zero": lambda rng, count: np.where(rng.random(count) < 0.05, rng.random(count), 0.0),
    "few values": lambda rng, count: rng.integers(0, 4, count).astype(float),
    "a share": lambda rng, count: (rng.random(count) < 0.98).astype(float),
    "heavy tails": lambda rng, count: rng.standard_cauchy(count),
    "constant": lambda rng, count: np.ones(count),
}


@pytest.mark.parametrize("kind", KINDS)
def test_false_alarms_are_rarer_than_once_in_ten_thousand(kind: str) -> None:
    """Of whatever distribution; 20 of 40 logs would be more than one in 20,000 rows."""
    rng = np.random.default_rng(0)
    logs = [KINDS[kind](rng, REFERENCE + 10_000) for _ in range(40)]
    assert sum(first_alarm(log, REFERENCE, LIMIT) is not None for log in logs) < 20


@pytest.mark.parametrize("sign", [-1.0, 1.0])
def test_a_shift_is_told_with_its_beginning(sign: float) -> None:
    rng = np.random.default_rng(0)
    shifted = rng.standard_normal(200) + 2.0 * sign
    alarm = first_alarm(np.append(rng.standard_normal(REFERENCE + 300), shifted), REFERENCE, LIMIT)
    assert alarm is not None
    assert 240 <= alarm.change <= 305
    assert 300 < alarm.alarm < 340


def test_recordings_that_are_refused_are_told_though_none_was_before() -> None:
    log = np.append(np.ones(REFERENCE + 100), np.tile([1.0, 1.0, 1.0, 0.0], 50))
    alarm = first_alarm(log, REFERENCE, LIMIT)
    assert alarm is not None
    assert alarm.alarm < 100 + 60


@given(st.lists(st.floats(-1e9, 1e9), min_size=103, max_size=140))
@settings(max_examples=100, deadline=None)
def test_only_the_order_of_the_numbers_counts(values: list[float]) -> None:
    numbers = np.array(values)
    _, ranks = np.unique(numbers, return_inverse=True)
    limit = math.log(20)
    assert first_alarm(numbers, 100, limit) == first_alarm(np.exp(ranks / 20.0), 100, limit)


def row(at: int, *, kind: str = "recording", status: str = "ok", **values: float) -> dict[str, Any]:
    time = f"2026-11-29T10:{at // 60:02}:{at % 60:02}.000+00:00"
    return {"time": time, "model": "one", "kind": kind, "status": status, "values": values}


@pytest.fixture
def log(tmp_path: Path) -> Callable[[list[Any]], Path]:
    """Writes lines of JSON."""

    def write(rows: list[Any]) -> Path:
        path = tmp_path / "watch.jsonl"
        path.write_text("".join(f"{json.dumps(each)}\n" for each in rows), "utf-8")
        return path

    return write


SHORT = DriftSettings(reference_rows=100)


def normal_rows(count: int) -> list[dict[str, Any]]:
    rng = np.random.default_rng(0)
    return [row(at, snr_db=20.0 + rng.standard_normal()) for at in range(count)]


def test_a_log_is_compared_with_its_beginning(log: Callable[[list[Any]], Path]) -> None:
    rows = normal_rows(200) + [row(200 + at, snr_db=14.0 + at % 3) for at in range(60)]
    found = watched_drift(log(rows), SHORT)
    assert found.has_drifted
    ok, snr = found.series
    assert (ok.name, ok.reference, ok.latest, ok.alarm_at) == ("ok", 1.0, 1.0, None)
    assert (snr.kind, snr.name, snr.rows) == ("recording", "snr_db", 160)
    assert snr.reference == pytest.approx(20.0, abs=0.3)
    assert snr.latest == 15.0
    assert rows[170]["time"] < (snr.changed_at or "") < rows[205]["time"]
    assert 10 < (snr.rows_to_alarm or 0) < 60
    assert not watched_drift(log(rows[:200]), SHORT).has_drifted


def test_each_kind_of_decision_is_a_series_of_its_own(log: Callable[[list[Any]], Path]) -> None:
    rows = normal_rows(150)
    rows += [row(at, kind="verify", status="same", distance=0.5) for at in range(150)]
    rows += [row(at, kind="identify", status="different", distance=1.5) for at in range(100)]
    found = watched_drift(log(rows), SHORT)
    assert [f"{each.kind} {each.name}" for each in found.series] == [
        "recording ok", "recording snr_db", "verify distance", "verify same",
    ]  # fmt: skip
    assert found.too_short == ["identify distance", "identify same"]


def test_only_the_newest_model_is_watched(log: Callable[[list[Any]], Path]) -> None:
    older = [{**each, "model": "older"} for each in normal_rows(300)]
    moved = [row(at, snr_db=each["values"]["snr_db"] + 9.0) for at, each in enumerate(older)]
    found = watched_drift(log([*older, *moved]), SHORT)
    assert (found.model, found.rows, found.rows_of_other_models) == ("one", 300, 300)
    assert not found.has_drifted


def test_what_is_no_row_is_counted(log: Callable[[list[Any]], Path]) -> None:
    path = log([*normal_rows(150), {"time": "now"}, [1], row(0, snr_db=float("nan"))])
    with path.open("ab") as file:
        file.write(b"\xff\n" + b'{"time": "2026')  # of another program, and being written
    found = watched_drift(path, SHORT)
    assert (found.rows, found.unreadable_lines) == (150, 4)


@pytest.mark.parametrize(
    ("rows", "message"), [([], "holds no row"), (normal_rows(100), "lower drift.reference_rows")]
)
def test_too_few_rows_give_no_verdict(
    rows: list[Any], message: str, log: Callable[[list[Any]], Path]
) -> None:
    with pytest.raises(SwarError, match=message):
        watched_drift(log(rows), SHORT)


def test_the_command_ends_with_1_where_something_has_changed(
    log: Callable[[list[Any]], Path],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def swar(*arguments: str) -> int:
        monkeypatch.setattr(
            sys, "argv", ["swar", "drift", *arguments, "--set", "drift.reference_rows=100"]
        )
        with pytest.raises(SystemExit) as ended:
            cli.main()
        return int(ended.value.code or 0)

    rows = normal_rows(200)
    assert swar("--log", str(log(rows))) == 0
    assert "snr_db" in capsys.readouterr().out
    rows += [row(200 + at, snr_db=14.0 + at % 3) for at in range(60)]
    assert swar("--log", str(log(rows)), "--json") == 1
    answer = json.loads(capsys.readouterr().out)
    assert (answer["has_drifted"], answer["series"][1]["latest"]) == (True, 15.0)
    assert swar("--log", str(log(rows))) == 1
    assert "2026-11-29 10:0" in capsys.readouterr().out
    assert swar() == swar("model", "--log", str(log(rows))) == swar("model") == 2
