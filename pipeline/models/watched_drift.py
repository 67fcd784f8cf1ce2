"""Whether a model's input has changed: cumulative sums over the rows of a watch log.

The first rows are the reference. The later numbers of every series are compared with it, one after
another, by two charts: one for a rise, one for a fall. A chart adds up the log-likelihood ratio of
each row between the reference tilted to that side and the reference unchanged, and restarts at 0
when the sum falls below 0 (Page 1954). Whatever the reference's distribution is, a chart exceeds
ln(n) less often than once in n rows without a change (Lorden 1971, Procedures for reacting to a
change in distribution). The charts allow for requests that come in runs, and for the chance by
which the reference itself is drawn.
"""

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import NormalDist
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, FiniteFloat, ValidationError

from components.errors import SwarError
from pipeline.models.drift_settings import DriftSettings
from serving.answers import OK, SAME
from serving.watching import RECORDING

_TILT: Final = 0.5
"""Standard deviations of the change that a chart detects soonest; it is quick for larger ones."""
_LONGEST_RUN: Final = 20
"""Most rows in a run that are alike for one reason."""
_SIDES: Final = (_TILT, -_TILT)

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Series:
    """One number of the rows of one kind."""

    kind: str
    name: str
    """Name of a value; `ok` or `same` for the share of rows with that status."""
    rows: int
    """Rows after the reference."""
    reference: float
    """Median of the reference, or the share of a status in it."""
    latest: float
    """The same of the rows since the change, or of all after the reference."""
    changed_at: str | None
    """Estimated time of the first changed row; None without an alarm."""
    alarm_at: str | None
    """Time of the row that raised the alarm; None where nothing has changed."""
    rows_to_alarm: int | None
    """Rows from the change to the alarm, both included."""


@dataclass(frozen=True)
class WatchedDrift:
    """What a watch log says of the model of its last row."""

    log: str
    model: str
    rows: int
    rows_of_other_models: int
    unreadable_lines: int
    series: list[Series]
    too_short: list[str]
    """Series without a row after the reference."""

    @property
    def has_drifted(self) -> bool:
        """Whether a series has changed."""
        return any(each.alarm_at is not None for each in self.series)


class Alarm(NamedTuple):
    """Places in a series, counted after the reference."""

    change: int
    """Estimated place of the first changed value."""
    alarm: int


class _Row(BaseModel):
    time: str
    model: str
    kind: str
    status: str
    values: dict[str, FiniteFloat]


def watched_drift(log: Path, settings: DriftSettings) -> WatchedDrift:
    """Reads a watch log, see `serving.watching`.

    Args:
        log: the file.
        settings: how much of it is the reference, and how rare false alarms must be.

    Raises:
        SwarError: the log holds too few rows.
        OSError: the log cannot be read.
    """
    rows, unreadable = _read(log)
    if not rows:
        raise SwarError(f"{log} holds no row of a watch log: write one with --watch-log")
    model = rows[-1].model
    of_model = [row for row in rows if row.model == model]
    reference = settings.reference_rows
    numbers, times = _series(of_model)
    short = [" ".join(key) for key, values in numbers.items() if len(values) <= reference]
    watched = [key for key, values in numbers.items() if len(values) > reference]
    if not watched:
        raise SwarError(
            f"{log} has {len(of_model):,} rows of the model {model}, and the first {reference:,} "
            "of a kind only tell what is normal: go on, or lower drift.reference_rows"
        )
    limit = alarm_limit(len(watched), settings.requests_per_false_alarm)
    return WatchedDrift(
        log=str(log),
        model=model,
        rows=len(of_model),
        rows_of_other_models=len(rows) - len(of_model),
        unreadable_lines=unreadable,
        series=[_judged(key, numbers[key], times[key], reference, limit) for key in watched],
        too_short=short,
    )


def alarm_limit(series: int, requests_per_false_alarm: int) -> float:
    """The sum that a chart must exceed, so that false alarms of all charts are so rare."""
    return math.log(len(_SIDES) * series * requests_per_false_alarm)


def first_alarm(values: Floats, reference: int, limit: float) -> Alarm | None:
    """The first alarm that a series differs from its beginning; None without one.

    Args:
        values: [N], in their order.
        reference: how many of the first ones are the reference.
        limit: see `alarm_limit`.
    """
    normal = np.sort(values[:reference])
    known, scores = (
        _normal_scores(part, normal) for part in (values[:reference], values[reference:])
    )
    inflation = _variance_inflation(known)
    standard_error = math.sqrt(inflation / reference)  # of the reference's mean
    # Values beyond the reference may come too, as often as if each side had been seen once.
    lowest, highest = _normal_scores(np.array([-np.inf, np.inf]), normal)
    known = np.append(known, [lowest, highest])
    found = []
    for tilt in _SIDES:
        steps = tilt * scores - math.log(float(np.mean(np.exp(tilt * known))))
        steps -= abs(tilt) * standard_error
        total = np.cumsum(steps)
        lowest_total = np.minimum.accumulate(np.append(0.0, total))[:-1]
        beyond = np.flatnonzero(total - lowest_total > limit * inflation)
        if len(beyond):
            alarm = int(beyond[0])
            change = int(np.argmin(np.append(0.0, total[:alarm])))
            found.append(Alarm(change, alarm))
    return min(found, key=lambda each: each.alarm, default=None)


def _variance_inflation(scores: Floats) -> float:
    """Variance of the sum of rows, relative to that of as many independent ones; at least 1.

    Requests come in runs: a caller tries again, and both recordings of a comparison are alike. A
    chart's limit is multiplied by this factor. Source: Newey and West 1987, A simple, positive
    semi-definite, heteroskedasticity and autocorrelation consistent covariance matrix.
    """
    centred = scores - np.mean(scores)
    variance = float(centred @ centred)
    if variance == 0.0:
        return 1.0
    lags = np.arange(1, _LONGEST_RUN + 1)
    covariances = np.array([centred[lag:] @ centred[:-lag] for lag in lags])
    weights = 1.0 - lags / (_LONGEST_RUN + 1)
    return max(1.0, 1.0 + 2.0 * float(weights @ covariances) / variance)


def _normal_scores(values: Floats, normal: Floats) -> Floats:
    """Standard normal quantiles of the values' ranks in sorted `normal`; ties get the middle."""
    ranks = np.searchsorted(normal, values, "left") + np.searchsorted(normal, values, "right")
    of_rank = NormalDist().inv_cdf
    places = 2 * len(normal) + 1
    quantiles = np.array([of_rank((place + 1) / (places + 1)) for place in range(places)])
    scores: Floats = quantiles[ranks]
    return scores


def _judged(
    key: tuple[str, str], values: Floats, times: Sequence[str], reference: int, limit: float
) -> Series:
    alarm = first_alarm(values, reference, limit)
    middle = np.mean if key[1] in (OK, SAME) else np.median
    later = values[reference:]
    return Series(
        kind=key[0],
        name=key[1],
        rows=len(later),
        reference=float(middle(values[:reference])),
        latest=float(middle(later if alarm is None else later[alarm.change :])),
        changed_at=None if alarm is None else times[reference + alarm.change],
        alarm_at=None if alarm is None else times[reference + alarm.alarm],
        rows_to_alarm=None if alarm is None else alarm.alarm - alarm.change + 1,
    )


def _read(log: Path) -> tuple[list[_Row], int]:
    """The rows, and how many lines are none; an unended last line is still being written."""
    rows, unreadable = [], 0
    with log.open("rb") as file:
        for line in file:
            if not line.endswith(b"\n"):
                break
            try:
                rows.append(_Row.model_validate_json(line))
            except ValidationError:
                unreadable += 1
    return rows, unreadable


def _series(
    rows: Sequence[_Row],
) -> tuple[dict[tuple[str, str], Floats], dict[tuple[str, str], list[str]]]:
    """Numbers by kind and name, and the times of their rows."""
    numbers: dict[tuple[str, str], list[float]] = defaultdict(list)
    times: dict[tuple[str, str], list[str]] = defaultdict(list)
    for row in rows:
        usual = OK if row.kind == RECORDING else SAME
        for name, value in {usual: float(row.status == usual), **row.values}.items():
            numbers[row.kind, name].append(value)
            times[row.kind, name].append(row.time)
    return {key: np.array(values) for key, values in sorted(numbers.items())}, times
