"""Utterances under conditions, and the clean ones' trials between them."""

from collections import Counter
from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from components.conditions import CLEAN, CONDITIONS
from components.degradation import Samples
from components.keyed_random import keyed_generator
from components.pcm16 import to_pcm16
from components.verification.trial_table import BOTH_SIDES, ONE_SIDE, Scorer, trial_table
from components.verification.utterances import Cut, Embedded

PEAK: Final = 0.5
"""Of every utterance before a condition, full scale 1: what a condition adds does not clip."""


class ConditionTrials(NamedTuple):
    """The trials of one set and duration, with no side, one or both under a condition."""

    set: str
    duration_seconds: float
    condition: str
    changed_sides: str
    utterances: int
    """That the model was given under the condition."""
    refused: int
    """Of these; their trials are missing."""
    trials: pd.DataFrame
    """See `trial_table`."""


def under_conditions(
    cuts: Sequence[Cut], names: Sequence[str], duration_seconds: float, seed: int
) -> list[Cut]:
    """Every utterance at PEAK, and those of one duration also under each condition.

    What a condition draws depends on the seed, its name and the utterance's. Nothing is
    normalised behind it; what exceeds full scale is scaled down to it.

    Args:
        cuts: clean utterances.
        names: of conditions.
        duration_seconds: of the utterances that are put under them.
        seed: of what is drawn.
    """
    found = [cut._replace(pcm16=to_pcm16(_at_half_scale(cut.pcm16))) for cut in cuts]
    for name in names:
        for cut in cuts:
            utterance = cut.utterance
            if utterance.duration_seconds != duration_seconds:
                continue
            samples = CONDITIONS[name](
                _at_half_scale(cut.pcm16),
                cut.sample_rate,
                keyed_generator(seed, name, utterance.utterance),
            )
            changed = utterance._replace(condition=name)
            found.append(Cut(changed, to_pcm16(samples), cut.sample_rate))
    return found


def score_conditions(
    embedded: Embedded,
    clean_trials: pd.DataFrame,
    names: Sequence[str],
    score: Scorer,
    *,
    set_name: str,
    duration_seconds: float,
) -> list[ConditionTrials]:
    """The clean trials, then the same with the second side, and both, under each condition.

    Without conditions there is nothing to compare, and the result is empty.

    Args:
        embedded: of one set and duration, clean and under all of the conditions, with what the
            model refused under these.
        clean_trials: the table of these utterances' clean trials.
        names: of the conditions.
        score: the model.
        set_name, duration_seconds: of the utterances.
    """
    taken = embedded.utterances["condition"].value_counts()
    refused = Counter(each.condition for each in embedded.unusable)
    given = int(taken.get(names[0], 0)) + refused[names[0]] if names else 0

    def scored(condition: str, changed_sides: str, trials: pd.DataFrame) -> ConditionTrials:
        missing = given - int(taken.get(condition, 0))
        return ConditionTrials(
            set_name, duration_seconds, condition, changed_sides, given, missing, trials
        )

    found = [scored(CLEAN, CLEAN, clean_trials)] if names else []
    for name in names:
        for sides, first in ((ONE_SIDE, CLEAN), (BOTH_SIDES, name)):
            trials = _scored_under(first, name, embedded, clean_trials, score)
            found.append(scored(name, sides, trials))
    return found


def _scored_under(
    first: str, second: str, embedded: Embedded, clean_trials: pd.DataFrame, score: Scorer
) -> pd.DataFrame:
    """The trials of which the model took both sides, these being under two conditions."""
    keys = zip(embedded.utterances["condition"], embedded.utterances["utterance"], strict=True)
    row_of = {key: row for row, key in enumerate(keys)}
    rows = [
        (row_of.get((first, one)), row_of.get((second, other)), label)
        for one, other, label in zip(
            clean_trials["utterance_a"],
            clean_trials["utterance_b"],
            clean_trials["label"],
            strict=True,
        )
    ]
    usable = np.array([row for row in rows if None not in row], np.int64).reshape(-1, 3)
    one, other, label = usable.T
    return trial_table(embedded.utterances, embedded.embeddings, one, other, label, score)


def _at_half_scale(pcm16: npt.NDArray[np.int16]) -> Samples:
    """float32 [samples] with the peak PEAK; silence stays silence."""
    samples = pcm16.astype(np.float32)
    peak = np.max(np.abs(samples), initial=np.float32(1.0))
    scaled: Samples = samples * np.float32(PEAK / peak)
    return scaled
