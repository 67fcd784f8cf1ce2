"""Which features of recordings have drifted, by TFDV's measure."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from components.errors import SwarError
from components.model.files import MODEL_CARD
from components.settings import SpeechSettings
from pipeline.models.drift import ACOUSTICS, USED, Compared, Drift, compare, drift, measured
from pipeline.models.drift_settings import OUTCOME, DriftSettings
from tests.bad_recordings import encoded, speech_like
from tests.pipeline.models.support_records import Output

RECORDINGS = 400


def _table(seed: int, outcome: str = "used", **shift: float) -> pd.DataFrame:
    """Normal measures around 0, each moved by its shift in standard deviations."""
    rng = np.random.default_rng(seed)
    columns: dict[str, Any] = {OUTCOME: [outcome] * RECORDINGS}
    for name in ACOUSTICS:
        columns[name] = rng.normal(shift.get(name, 0.0), 1.0, RECORDINGS)
    return pd.DataFrame(columns)


def _drifted(compared: list[Compared]) -> list[str]:
    return [each.feature for each in compared if each.has_drifted]


def test_what_differs_by_chance_has_not_drifted() -> None:
    compared = compare(_table(0), _table(1), DriftSettings())
    assert [each.feature for each in compared] == [*ACOUSTICS, OUTCOME]
    assert _drifted(compared) == []
    assert all(each.divergence is not None and each.divergence < 0.1 for each in compared)


def test_what_moved_has_drifted_and_nothing_else() -> None:
    compared = compare(_table(0), _table(1, treble_db=3.0), DriftSettings())
    assert _drifted(compared) == ["treble_db"]
    (treble,) = (each for each in compared if each.feature == "treble_db")
    assert treble.training == pytest.approx(0.0, abs=0.2)
    assert treble.serving == pytest.approx(3.0, abs=0.2)


def test_the_bounds_are_the_settings() -> None:
    compared = compare(_table(0), _table(1, level_dbfs=3.0), DriftSettings(max_level_dbfs=1.0))
    assert _drifted(compared) == []


def test_other_outcomes_are_drift_and_what_was_not_measured_is_not_told() -> None:
    silent = _table(1, outcome="silent")
    silent[list(ACOUSTICS)] = np.nan
    compared = compare(_table(0), silent, DriftSettings())
    assert _drifted(compared) == [OUTCOME]
    assert {each.divergence for each in compared if each.feature != OUTCOME} == {None}
    assert (compared[-1].training, compared[-1].serving) == (1.0, 0.0)


def test_recordings_that_were_not_used_are_no_measures() -> None:
    part = _table(1)
    part.loc[: RECORDINGS // 4, list(ACOUSTICS)] = np.nan
    assert _drifted(compare(_table(0), part, DriftSettings())) == []


SPEECH = SpeechSettings(require_voice=False)


@pytest.fixture
def calls(tmp_path: Path) -> Path:
    """Three recordings, and a link to their folder."""
    folder = tmp_path / "calls" / "asha"
    folder.mkdir(parents=True)
    (folder / "0.txt").write_text("a transcript, which is no call")
    for number in range(3):
        samples = speech_like(number, SPEECH.sample_rate)
        (folder / f"{number}.wav").write_bytes(encoded(samples, SPEECH.sample_rate))
    (folder.parent / "again").symlink_to("asha")
    return folder.parent


def _output(
    folder: Path,
    rows: list[dict[str, Any]],
    rejects: list[dict[str, Any]] | None = None,
    card: dict[str, Any] | None = None,
) -> Path:
    output = Output(folder)
    named = [{"recording": str(number), "speaker": "", "splits": {}} for number in range(len(rows))]
    rows = [name | row for name, row in zip(named, rows, strict=True)]
    output.publish(output.train("one", rows, rejects or []), 100)
    told = {"model_digest": "one", "sample_rate": SPEECH.sample_rate}
    told |= {"embedding_size": 2, "threshold": 1.0}
    told |= {"speech": SPEECH.model_dump(mode="json")} if card is None else card
    (folder / "published/100" / MODEL_CARD).write_text(json.dumps(told))
    return folder


def _drift(output: Path, calls: Path) -> Drift:
    return drift(output, calls, DriftSettings(min_recordings=2), lambda *_: None)


def _measured(calls: Path) -> list[dict[str, Any]]:
    return [row for row in measured(calls, SPEECH, lambda *_: None) if row[OUTCOME] == USED]


def test_duplicates_of_the_training_data_are_no_drift_of_it(calls: Path, tmp_path: Path) -> None:
    duplicates = [{"file": f"{number}.wav", "reason": "duplicate"} for number in range(3)]
    found = _drift(_output(tmp_path / "out", _measured(calls), duplicates), calls)
    assert (found.training_recordings, found.serving_recordings) == (3, 3)
    assert found.compared[-1].feature == OUTCOME
    assert not found.has_drifted


@pytest.mark.parametrize("card", [{}, {"speech": {"of_old": 1}}], ids=["lacking", "other"])
def test_a_model_of_another_version_is_told(
    calls: Path, tmp_path: Path, card: dict[str, Any]
) -> None:
    output = _output(tmp_path / "out", _measured(calls), card=card)
    with pytest.raises(SwarError, match=r"published/100 was published by another version of swar"):
        _drift(output, calls)


def test_records_of_another_version_are_told(calls: Path, tmp_path: Path) -> None:
    rows = [{key: row[key] for key in row if key != "treble_db"} for row in _measured(calls)]
    told = r"recordings\.jsonl was written by another version .* 'treble_db': train anew"
    with pytest.raises(SwarError, match=told):
        _drift(_output(tmp_path / "out", rows), calls)
