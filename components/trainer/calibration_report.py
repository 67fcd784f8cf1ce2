"""The error rates to expect of other speakers, measured on those of `calibration`."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from components.json_text import without_nan
from components.trainer.calibration import Calibration
from components.trainer.utterances import EmbeddedWindows
from components.verification.error_rates import (
    CLLR,
    EER,
    FALSE_ACCEPT_RATE,
    FALSE_REJECT_RATE,
    NONTARGET,
    TARGET,
)
from components.verification.operating_points import operating_points, to_card
from components.verification.slices import estimate_metrics
from components.verification.trials import choose_trials

EXPECTED_RATES: Final = (EER, CLLR, FALSE_ACCEPT_RATE, FALSE_REJECT_RATE)
ALL_NONTARGETS: Final = "strangers"
NEAREST_NONTARGETS: Final = "nearest_strangers"
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

    Every trial counts once, and utterances do not overlap, as in `swar evaluate`: an evaluation on
    speakers like these should find the like. The trials that the threshold is
    learnt from are others: they overlap, and count every pair of speakers alike.

    Args:
        embedded: the calibration speakers.
        calibration: learnt on them, so that their rates are a little better than those of others.
        nearest_fraction: of the other speakers, that count as near.
        window_counts: windows of an utterance, a row for each.
        seed: of the sample of too many trials, and of the intervals.

    Returns:
        `speakers`, how many, and rows by length, each with `seconds`, `similar`, `dissimilar` and
        for every one of EXPECTED_RATES `value`, `low` and `high`, None where they are too few for
        an interval: `strangers`, with nontarget trials of all pairs of speakers, and
        `nearest_strangers`, of those pairs alone of which one speaker is among the nearest of the
        other; and `operating_points`, the thresholds for several shares of false accepts among all
        nontarget trials, whatever the length of their utterances.
    """
    near = embedded.near_speakers(nearest_fraction)
    rows: dict[str, list[dict[str, Any]]] = {ALL_NONTARGETS: [], NEAREST_NONTARGETS: []}
    tables = [_trials(embedded, calibration, count, seed) for count in window_counts]
    for count, trials in zip(window_counts, tables, strict=True):
        compared = near[trials["speaker_a"], trials["speaker_b"]]
        for kind, part in ((ALL_NONTARGETS, trials), (NEAREST_NONTARGETS, trials[compared])):
            rows[kind].append({"seconds": count * embedded.window_seconds, **_rates(part, seed)})
    points = operating_points(pd.concat(tables), resamples=RESAMPLES, seed=seed)
    return {"speakers": len(near), **rows, OPERATING_POINTS: list(map(to_card, points))}


def _trials(
    embedded: EmbeddedWindows, calibration: Calibration, count: int, seed: int
) -> pd.DataFrame:
    """Scored, of utterances of so many windows that follow each other."""
    utterances = embedded.utterances(count, count * embedded.window_seconds)
    speaker = utterances.speaker
    chosen = choose_trials(
        pd.DataFrame(
            {
                "speaker": speaker.astype(str),
                "recording": [name.decode() for name in utterances.recording],
            }
        ),
        MAX_TRIALS_PER_CLASS,
        seed,
    )
    distance = embedded.distances(utterances, chosen.first, chosen.second)
    probability = calibration.probability(distance).astype(np.float32)
    return pd.DataFrame(
        {
            "speaker_a": speaker[chosen.first],
            "speaker_b": speaker[chosen.second],
            "label": chosen.label,
            "distance": distance,
            "probability": probability,
            "same_speaker": probability >= 0.5,
        }
    )


def _rates(trials: pd.DataFrame, seed: int) -> Mapping[str, Any]:
    label: npt.NDArray[np.int64] = trials["label"].to_numpy()
    figures = estimate_metrics(trials, resamples=RESAMPLES, seed=seed)
    return {
        "similar": int(np.sum(label == TARGET)),
        "dissimilar": int(np.sum(label == NONTARGET)),
        **{name: without_nan(asdict(figures[name])) for name in EXPECTED_RATES},
    }
