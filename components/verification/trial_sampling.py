"""Which utterances are compared: all with all, or a seeded sample of that."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from components.trials import DISSIMILAR, SIMILAR

Indices = npt.NDArray[np.int64]


class ChosenTrials(NamedTuple):
    """Trials, and of how many they were chosen."""

    first: Indices
    """[N], row of one utterance."""
    second: Indices
    """[N], row of the other."""
    label: Indices
    """[N], 1 same speaker, 0 different."""
    similar_possible: int
    dissimilar_possible: int


def choose_trials(utterances: pd.DataFrame, max_per_class: int, seed: int) -> ChosenTrials:
    """Every utterance against every other, once; a class with too many is sampled.

    Utterances of one speaker are compared if they come from two recordings, or if the speaker
    has only one. Both classes are counted and drawn by rank, without listing what is possible:
    memory grows with what is chosen.

    Args:
        utterances: columns `speaker` and `recording`, a row each; none overlaps another.
        max_per_class: of same- and of different-speaker trials.
        seed: the same one gives the same trials.
    """
    speaker, _ = pd.factorize(utterances["speaker"])
    recording, _ = pd.factorize(utterances["speaker"] + "\0" + utterances["recording"])
    row = np.lexsort((recording, speaker))
    speaker_start, speaker_end = _runs(speaker[row])
    recording_start, recording_end = _runs(recording[row])
    following = np.arange(len(row)) + 1
    only_one = (recording_start == speaker_start) & (recording_end == speaker_end)
    rng = np.random.default_rng(seed)
    similar = _Ranges(np.where(only_one, following, recording_end), speaker_end)
    dissimilar = _Ranges(speaker_end, np.full_like(speaker_end, len(row)))
    similar_first, similar_second = similar.draw(max_per_class, rng)
    dissimilar_first, dissimilar_second = dissimilar.draw(max_per_class, rng)
    return ChosenTrials(
        first=row[np.concatenate([similar_first, dissimilar_first])],
        second=row[np.concatenate([similar_second, dissimilar_second])],
        label=np.repeat([SIMILAR, DISSIMILAR], [len(similar_first), len(dissimilar_first)]),
        similar_possible=similar.pairs,
        dissimilar_possible=dissimilar.pairs,
    )


def _runs(values: Indices) -> tuple[Indices, Indices]:
    """First position, and the one behind the last, of the run of equals around each position."""
    is_first = np.concatenate([[True], values[1:] != values[:-1]])[: len(values)]
    run = np.cumsum(is_first) - 1
    bounds = np.append(np.flatnonzero(is_first), len(values))
    return bounds[run], bounds[run + 1]


class _Ranges:
    """Pairs of each position i with the positions `starts[i]` to `ends[i]`, in one order."""

    def __init__(self, starts: Indices, ends: Indices) -> None:
        self._starts = starts
        lengths = ends - starts
        self._pairs_before = np.concatenate([[0], np.cumsum(lengths)])
        self.pairs = int(self._pairs_before[-1])

    def draw(self, most: int, rng: np.random.Generator) -> tuple[Indices, Indices]:
        """All pairs, or so many of them, as two arrays in order."""
        if self.pairs <= most:
            rank = np.arange(self.pairs)
        else:
            rank = np.sort(rng.choice(self.pairs, most, replace=False, shuffle=False))
        first = np.searchsorted(self._pairs_before, rank, side="right") - 1
        return first, self._starts[first] + rank - self._pairs_before[first]
