"""The error rates to expect of other speakers, measured on those of `calibration`."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from functools import partial
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from components import features
from components.conditions import CLEAN
from components.json_text import without_nan
from components.model.calibration import Calibration
from components.trainer.utterances import EmbeddedWindows, Utterances
from components.verification.bootstrap import Estimate, of_other_speakers
from components.verification.error_rates import (
    ALL_NONTARGETS,
    CLLR,
    EXPECTED_RATES,
    NEAREST_NONTARGETS,
    NONTARGET,
    TARGET,
)
from components.verification.manifest_columns import UNKNOWN
from components.verification.operating_points import (
    OperatingPoint,
    operating_points,
    to_card,
)
from components.verification.slices import estimate_metrics
from components.verification.trials import Embeddings, choose_trials, compare

OPERATING_POINTS: Final = "operating_points"
MAX_TRIALS_PER_CLASS: Final = 100_000
RESAMPLES: Final = 500


def calibration_report(
    embedded: EmbeddedWindows,
    calibration: Calibration,
    nearest_fraction: float,
    window_counts: Sequence[int],
    seed: int,
) -> dict[str, Any]:
    """Counts, and rates at the threshold with their 95 % intervals, for the model's card.

    Every trial counts once and utterances do not overlap, as in `swar evaluate`, whose rates on
    similar speakers should be similar. The threshold is learnt from other trials, whose utterances
    overlap and in which every pair of speakers counts alike.

    Args:
        embedded: the calibration speakers.
        calibration: learnt on them, so that their rates are a little better than those of others.
        nearest_fraction: share of the other speakers that count as near.
        window_counts: windows of an utterance; a row of rates for each.
        seed: of the sample of too many trials, and of the intervals.

    Returns:
        `speakers`: how many there are.
        `nontargets`: a row of rates for each length, with nontarget trials of all pairs of
            speakers. A row has `seconds`, the number of `speakers` with trials of that length,
            the numbers of `similar` and `dissimilar` trials and, for each of EXPECTED_RATES,
            `value`, `low` and `high`. For the same number of other speakers, the value lies between
            `low` and `high` 95 % of the time; None with too few speakers.
        `nearest_nontargets`: the same, only of pairs with one speaker among the other's nearest.
        `operating_points`: thresholds for several shares of false accepts among the nontarget
            trials of all lengths.
    """
    near = embedded.near_speakers(nearest_fraction)
    number = {name: place for place, name in enumerate(embedded.speakers)}
    rows: dict[str, list[dict[str, Any]]] = {ALL_NONTARGETS: [], NEAREST_NONTARGETS: []}
    tables = []
    for count in window_counts:
        seconds = count * embedded.window_seconds
        utterances = embedded.utterances(count, seconds)
        table = _table(embedded, utterances, seconds)
        trials, _ = compare(
            table,
            # Rows, not embeddings: an utterance's moments are computed once.
            np.arange(len(table), dtype=np.float32)[:, np.newaxis],
            choose_trials(table, MAX_TRIALS_PER_CLASS, seed),
            partial(_score, embedded, calibration, utterances),
            set_name=features.CALIBRATION,
            duration_seconds=seconds,
            utterances_possible=len(table),
        )
        tables.append(trials)
        first, second = (trials[f"speaker_{side}"].map(number) for side in features.SIDES)
        is_near = near[first.to_numpy(int), second.to_numpy(int)]
        for kind, part in ((ALL_NONTARGETS, trials), (NEAREST_NONTARGETS, trials[is_near])):
            rows[kind].append({"seconds": seconds, **_rates(part, seed)})
    points = operating_points(pd.concat(tables), resamples=RESAMPLES, seed=seed)
    return {
        "speakers": len(near),
        **rows,
        OPERATING_POINTS: [to_card(_of_other_speakers(point)) for point in points],
    }


def _of_other_speakers(point: OperatingPoint) -> OperatingPoint:
    if point.false_accept_rate is None or point.false_reject_rate is None:
        return point
    return replace(
        point,
        false_accept_rate=_expected_rate(point.false_accept_rate),
        false_reject_rate=_expected_rate(point.false_reject_rate),
    )


def _expected_rate(rate: Estimate) -> Estimate:
    """The rate of other speakers, limited to 1."""
    expected = of_other_speakers(rate)
    return replace(expected, high=np.minimum(expected.high, 1.0).item())


def _table(embedded: EmbeddedWindows, utterances: Utterances, seconds: float) -> pd.DataFrame:
    """Table of utterances; what the pairs do not tell is unknown."""
    recording = [name.decode() for name in utterances.recording]
    table = pd.DataFrame(
        {
            "utterance": [
                f"{name}#{start:.3f}-{end:.3f}"
                for name, start, end in zip(
                    recording, utterances.start_seconds, utterances.end_seconds, strict=True
                )
            ],
            "speaker": np.array(embedded.speakers, object)[utterances.speaker],
            "recording": recording,
            "start_seconds": utterances.start_seconds,
        }
    )
    return table.assign(
        set=features.CALIBRATION,
        duration_seconds=seconds,
        speech_seconds=seconds,
        session=None,
        gender=UNKNOWN,
        channel=UNKNOWN,
        condition=CLEAN,
    )


def _score(
    embedded: EmbeddedWindows,
    calibration: Calibration,
    utterances: Utterances,
    one: Embeddings,
    other: Embeddings,
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32], npt.NDArray[np.bool_]]:
    """Distance, probability and decision of N pairs of utterances, by their rows [N, 1]."""
    first, second = (rows[:, 0].astype(np.int64) for rows in (one, other))
    distance = embedded.distances(utterances, first, second)
    probability = calibration.probability(distance).astype(np.float32)
    return distance, probability, probability >= 0.5


def _rates(trials: pd.DataFrame, seed: int) -> Mapping[str, Any]:
    label: npt.NDArray[np.int64] = trials["label"].to_numpy()
    metrics = estimate_metrics(trials, resamples=RESAMPLES, seed=seed)
    return {
        "speakers": len({*trials["speaker_a"], *trials["speaker_b"]}),
        "similar": int(np.sum(label == TARGET)),
        "dissimilar": int(np.sum(label == NONTARGET)),
        **{
            name: without_nan(
                asdict(
                    of_other_speakers(metrics[name])
                    if name == CLLR
                    else _expected_rate(metrics[name])
                )
            )
            for name in EXPECTED_RATES
        },
    }
