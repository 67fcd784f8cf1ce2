"""The data's own columns (language, device, date) and what two utterances share in them.

A table of utterances has a string column `column_<name>` for each, or `date_<name>` if every cell
that is not empty is an ISO date; an empty cell is None. A table of trials has `column_<name>`, the
value of both sides, "mixed" or "unknown", or for dates `days_<name>`: float, the days between both
sides, NaN where one of the dates is not known.
"""

import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from components.verification.error_rates import TARGET

UNKNOWN: Final = "unknown"
MIXED: Final = "mixed"
SAME: Final = "same"
COLUMN: Final = "column_"
DATE: Final = "date_"
DAYS: Final = "days_"

MOST_VALUES: Final = 20
"""Most values of a column that get a slice each; more are merged into the slice SAME."""

DAY_BINS: Final = (("same_day", 0), ("up_to_a_week", 7), ("up_to_a_month", 31))
"""Names, and the most days between two recordings; more than the last are LONGER."""
LONGER: Final = "longer"

_ISO_DATE: Final = re.compile(r"\d{4}-\d{2}-\d{2}([T ].*)?")
_YES: Final = ("yes", "true", "1")

Columns = Mapping[str, Mapping[str, str]]
"""The cells that are not empty, by recording and column name."""


def with_columns(utterances: pd.DataFrame, columns: Columns) -> pd.DataFrame:
    """The table with the data's columns for each utterance's recording.

    Args:
        utterances: with the column `recording`.
        columns: of the same data.
    """
    added: dict[str, list[str | None]] = {}
    for name in sorted({name for cells in columns.values() for name in cells}):
        cells = {cells[name] for cells in columns.values() if name in cells}
        kind = DATE if all(map(_is_date, cells)) else COLUMN
        added[f"{kind}{name}"] = [
            columns.get(recording, {}).get(name) for recording in utterances["recording"]
        ]
    return utterances.assign(**added)


def columns_in_common(one: pd.DataFrame, other: pd.DataFrame) -> dict[str, npt.NDArray[Any]]:
    """The data's columns of a table of trials, by name.

    Args:
        one, other: tables from `with_columns`, rows of the two sides of each trial.
    """
    found: dict[str, npt.NDArray[Any]] = {}
    for name in one.columns:
        if name.startswith(DATE):
            between = (_days(one[name]) - _days(other[name])).abs()
            found[f"{DAYS}{name.removeprefix(DATE)}"] = between.to_numpy()
        elif name.startswith(COLUMN):
            found[name] = in_common(
                *(side[name].fillna(UNKNOWN).to_numpy(object) for side in (one, other))
            )
    return found


def in_common(
    one: npt.NDArray[np.object_], other: npt.NDArray[np.object_]
) -> npt.NDArray[np.object_]:
    """The value of both sides, MIXED where they differ, UNKNOWN where one is unknown."""
    shared = np.where(one == other, one, MIXED)
    common: npt.NDArray[np.object_] = np.where(
        (one == UNKNOWN) | (other == UNKNOWN), UNKNOWN, shared
    )
    return common


def column_slices(trials: pd.DataFrame) -> Iterator[tuple[str, str, pd.DataFrame]]:
    """Slices the trials of one set and duration by each of the data's columns.

    A column gives a slice for every shared value that has trials of both classes, or SAME for all
    of these if they are more than MOST_VALUES; then MIXED and UNKNOWN. Days give a slice for every
    bin: its same-speaker trials and all different-speaker trials, for which the time between
    recordings does not matter. A column gives none if no value has trials of both
    classes or all trials have the same value.

    Args:
        trials: from `trial_table`.

    Yields:
        The name of the trials' column, the value, the trials.
    """
    for name in trials.columns:
        if name.startswith(COLUMN):
            yield from _by_value(trials, name)
        elif name.startswith(DAYS):
            yield from _by_days(trials, name)


def column_heading(sliced_by: str) -> str:
    """A trial column's name for readers."""
    if sliced_by.startswith(DAYS):
        return f"days between recordings, by {sliced_by.removeprefix(DAYS)}"
    return sliced_by.removeprefix(COLUMN)


def is_of_data(sliced_by: str) -> bool:
    """Whether trials are sliced by one of the data's own columns."""
    return sliced_by.startswith((COLUMN, DAYS))


def synthetic_speakers(utterances: pd.DataFrame) -> int:
    """Number of speakers that the data calls synthetic: "yes" in the column `synthetic`.

    Args:
        utterances: with the column `speaker`, from `with_columns`.
    """
    name = f"{COLUMN}synthetic"
    if name not in utterances:
        return 0
    is_synthetic = utterances[name].astype(str).str.lower().isin(_YES)
    return int(utterances["speaker"][is_synthetic].nunique())


def _is_date(cell: str) -> bool:
    try:
        datetime.fromisoformat(cell)
    except ValueError:
        return False
    return _ISO_DATE.fullmatch(cell) is not None


def _days(cells: pd.Series) -> "pd.Series[float]":
    """Whole days since year 1, float [N], with a new index; NaN for an empty cell."""
    numbers = [
        np.nan if pd.isna(cell) else datetime.fromisoformat(cell).toordinal() for cell in cells
    ]
    return pd.Series(numbers, dtype=np.float64)


def _by_value(trials: pd.DataFrame, name: str) -> Iterator[tuple[str, str, pd.DataFrame]]:
    value = trials[name]
    both = _with_both_classes(value, trials["label"])
    shared = [each for each in both if each not in (MIXED, UNKNOWN)]
    if len(shared) > MOST_VALUES:
        value = value.where(~value.isin(shared), SAME)
        shared = [SAME]
    if not both or len(trials) == (value == both[0]).sum():
        return
    for each in (*shared, MIXED, UNKNOWN):
        if len(part := trials[value == each]):
            yield name, each, part


def _with_both_classes(value: pd.Series, label: pd.Series) -> list[str]:
    classes = label.groupby(value).nunique()
    return sorted(classes.index[classes == 2])


def _by_days(trials: pd.DataFrame, name: str) -> Iterator[tuple[str, str, pd.DataFrame]]:
    is_target = trials["label"] == TARGET
    binned = _bins(trials[name])
    for each in (*(bin_name for bin_name, _ in DAY_BINS), LONGER, UNKNOWN):
        is_in = is_target & (binned == each)
        if is_in.any():
            yield name, each, trials[is_in | ~is_target]


def _bins(days: pd.Series) -> npt.NDArray[np.object_]:
    is_at_most = [days.to_numpy() <= most for _, most in DAY_BINS]
    names = [bin_name for bin_name, _ in DAY_BINS]
    found: npt.NDArray[np.object_] = np.select(
        [days.isna().to_numpy(), *is_at_most], [UNKNOWN, *names], LONGER
    ).astype(object)
    return found
