"""The data's own columns (language, device, date): what two utterances have in common in them.

A table of utterances has a column `column_<name>` for each, or `date_<name>` where every cell that
is not empty is an ISO date: strings, None for an empty cell. A table of trials has `column_<name>`,
what both sides have in common, "mixed" or "unknown", and of dates `days_<name>`: float, the days
between both, NaN where one of the dates is not known.
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
"""Of a column that are slices of their own; of more, all that both sides share are one slice."""

DAY_BINS: Final = (("same_day", 0), ("up_to_a_week", 7), ("up_to_a_month", 31))
"""Names, and the most days between two recordings; what is above the last is LONGER."""
LONGER: Final = "longer"

_ISO_DATE: Final = re.compile(r"\d{4}-\d{2}-\d{2}([T ].*)?")
_YES: Final = ("yes", "true", "1")

Columns = Mapping[str, Mapping[str, str]]
"""The cells that are not empty, by recording and the column's name."""


def with_columns(utterances: pd.DataFrame, columns: Columns) -> pd.DataFrame:
    """The table with what the data says of each utterance's recording.

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
    """The columns of a table of trials, by name.

    Args:
        one, other: tables as `with_columns` makes them, the rows of both sides of each trial.
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
    """What both sides have, MIXED where they differ, UNKNOWN where one of them is."""
    shared = np.where(one == other, one, MIXED)
    common: npt.NDArray[np.object_] = np.where(
        (one == UNKNOWN) | (other == UNKNOWN), UNKNOWN, shared
    )
    return common


def column_slices(trials: pd.DataFrame) -> Iterator[tuple[str, str, pd.DataFrame]]:
    """The trials of one set and duration by each of the data's columns.

    Of a column: every common value that has trials of both classes, or SAME for all of these
    where they are more than MOST_VALUES; then MIXED and UNKNOWN. Of days: the same-speaker trials
    of every bin beside all different-speaker trials, since these have no time between them that
    would matter. A column that tells no trials of both classes from others is no slice.

    Args:
        trials: as `trial_table` makes them.

    Yields:
        The name of the trials' column, the value, the trials.
    """
    for name in trials.columns:
        if name.startswith(COLUMN):
            yield from _by_value(trials, name)
        elif name.startswith(DAYS):
            yield from _by_days(trials, name)


def column_heading(sliced_by: str) -> str:
    """What a column of trials is called where people read it."""
    if sliced_by.startswith(DAYS):
        return f"days between recordings, by {sliced_by.removeprefix(DAYS)}"
    return sliced_by.removeprefix(COLUMN)


def is_of_data(sliced_by: str) -> bool:
    """Whether trials are sliced by a column of the data's own."""
    return sliced_by.startswith((COLUMN, DAYS))


def synthetic_speakers(utterances: pd.DataFrame) -> int:
    """How many speakers the data calls synthetic: "yes" in the column `synthetic`.

    Args:
        utterances: with the column `speaker`, as `with_columns` makes it.
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
    """float [N], whole days since the first year, without the index; NaN where there is no cell."""
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
