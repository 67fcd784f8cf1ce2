"""Which features of recordings have drifted, by TFDV's measure."""

from typing import Any

import numpy as np
import pandas as pd
import pytest

from pipeline.drift import MEASURES, Compared, compare
from pipeline.drift_settings import OUTCOME, DriftSettings

RECORDINGS = 400


def _table(seed: int, outcome: str = "used", **shift: float) -> pd.DataFrame:
    """Normal measures around 0, each moved by its shift in standard deviations."""
    rng = np.random.default_rng(seed)
    columns: dict[str, Any] = {OUTCOME: [outcome] * RECORDINGS}
    for name in MEASURES:
        columns[name] = rng.normal(shift.get(name, 0.0), 1.0, RECORDINGS)
    return pd.DataFrame(columns)


def _drifted(compared: list[Compared]) -> list[str]:
    return [each.feature for each in compared if each.has_drifted]


def test_what_differs_by_chance_has_not_drifted() -> None:
    compared = compare(_table(0), _table(1), DriftSettings())
    assert [each.feature for each in compared] == [*MEASURES, OUTCOME]
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
    silent[list(MEASURES)] = np.nan
    compared = compare(_table(0), silent, DriftSettings())
    assert _drifted(compared) == [OUTCOME]
    assert {each.divergence for each in compared if each.feature != OUTCOME} == {None}
    assert (compared[-1].training, compared[-1].serving) == (1.0, 0.0)


def test_recordings_that_were_not_used_are_no_measures() -> None:
    part = _table(1)
    part.loc[: RECORDINGS // 4, list(MEASURES)] = np.nan
    assert _drifted(compare(_table(0), part, DriftSettings())) == []
