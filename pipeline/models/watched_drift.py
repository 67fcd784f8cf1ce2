"""Has what a model gets changed? Cumulative sums over the rows of a watch log.

The first rows are the reference. Of every series of numbers later ones are compared with it, one
after another, by two charts: one for a rise, one for a fall. A chart adds up how much likelier each
row is if the reference were tilted to that side than if nothing had changed, and starts again at 0
where the sum falls below (Page 1954). Since it is a likelihood ratio, whatever the reference's
distribution is, a chart goes beyond ln(n) less often than once in n rows without a change (Lorden
1971, Procedures for reacting to a change in distribution). Two things are allowed for: that
requests come in runs, and that the reference is itself drawn by chance.
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
"""A chart is quickest for a change of so many standard deviations, and for larger ones quick."""
_LONGEST_RUN: Final = 20
"""Of rows that are alike for one reason."""
_SIDES: Final = (_TILT, -_TILT)

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Series:
    """One number of the rows of one kind."""

    kind: str
    name: str
    """Of a value; `ok` or `same` for the share of rows with that status."""
    rows: int
    """After the reference."""
    reference: float
    """Median of the reference; of a status its share."""
    latest: float
    """Of the rows since the change, or of all after the reference."""
    changed_at: str | None
    """Time of the first row that is other than the reference, as far as the rows show."""
    alarm_at: str | None
    """Time of the row by which that is certain; None where nothing has changed."""
    rows_to_alarm: int | None
    """From the one to the other."""


@dataclass(frozen=True)
class WatchedDrift:
    """What a watch log says of one model, the one of its last row."""

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
    """Places in a series, after the reference."""

    change: int
    """The first value that is other than the reference, as far as the rows show."""
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
        settings: how much of it is the reference, and how seldom a false alarm may be.

    Raises:
        SwarError: it holds too few rows to tell anything.
        OSError: it cannot be read.
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
    """What a chart must exceed, so that all together are wrong so seldom."""
    return math.log(len(_SIDES) * series * requests_per_false_alarm)


def first_alarm(values: Floats, reference: int, limit: float) -> Alarm | None:
    """The first time that a series is certainly other than its beginning.

    Args:
        values: [N], in their order.
        reference: how many of them are what is normal.
        limit: see `alarm_limit`.
    """
    normal = np.sort(values[:reference])
    known, scores = (
        _normal_scores(part, normal) for part in (values[:reference], values[reference:])
    )
    inflation = _variance_inflation(known)
    standard_error = math.sqrt(inflation / reference)  # of the reference's mean, which is by chance
    # What lies beyond the reference may come too: as often as if it had been seen once.
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
    """How much more the sum of rows varies than that of as many independent ones; at least 1.

    Requests come in runs: a caller tries again, both recordings of a comparison are of a kind. A
    chart of rows that vary so much more needs a limit that is so much higher. Source: Newey and
    West 1987, A simple, positive semi-definite, heteroskedasticity and autocorrelation consistent
    covariance matrix.
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
    """Standard normal quantiles of the values' ranks among sorted ones; of ties the middle one."""
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
    """The rows, and how many lines are none; a last line that is not ended is being written."""
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
