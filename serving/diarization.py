"""Who speaks when, from embeddings of short windows: groups of windows, and turns of the groups.

Windows are grouped by average linkage of the model's distances, up to a threshold. Then each window
goes to the group whose mean is most similar to it, at a cost for each change of speaker (Viterbi).
Nothing here knows who is enrolled. Everything is deterministic.
"""

import itertools
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from components.mean_embedding import like_embeddings
from serving.answers import Vector

WINDOWS_AT_ONCE: Final = 256
"""Windows that are all compared with each other: 32,640 pairs."""
GROUPS_AT_ONCE: Final = 64
"""Groups of windows that are all compared with each other: 2,016 pairs."""
PAIRS_OF_GROUPS: Final = 16
"""Most pairs of windows that the mean distance of two groups is of."""
CHANGE_COST: Final = 0.1
"""Of a change of speaker between two windows, in units of cosine similarity."""
_ROUNDS: Final = 2

Ranges = npt.NDArray[np.int64]
"""int64 [n, 2], start and end in samples, in order."""
Numbers = npt.NDArray[np.int64]
Distances = Callable[[Vector, Vector], npt.NDArray[np.float64]]
"""From the rows of two float32 [N, D] to float64 [N]."""


class Turn(NamedTuple):
    """One speaker's speech, with the pauses in it."""

    start: int
    """In samples."""
    end: int
    speech: int
    """Samples without the pauses."""
    group: int


def islands(ranges: Ranges, longest_pause: int) -> list[Ranges]:
    """Ranges of speech, divided at pauses longer than so many samples."""
    if not len(ranges):
        return []
    pauses = ranges[1:, 0] - ranges[:-1, 1]
    return np.split(ranges, np.flatnonzero(pauses > longest_pause) + 1)


def window_positions(samples: int, window: int, hop: int) -> Ranges:
    """Evenly spaced windows over so many samples of speech, at most `hop` apart.

    Speech that is shorter than a window is a window by itself.
    """
    if samples <= window:
        return np.array([[0, samples]], np.int64)
    count = 1 + -(-(samples - window) // hop)
    starts = np.arange(count, dtype=np.int64) * (samples - window) // (count - 1)
    return np.stack([starts, starts + window], axis=1)


def pieces(island: Ranges, start: int, end: int) -> Ranges:
    """The ranges in the recording of samples `start:end` of an island's joined speech."""
    ends = np.cumsum(island[:, 1] - island[:, 0])
    offset = island[:, 1] - ends
    first = np.maximum(start + offset, island[:, 0])
    last = np.minimum(end + offset, island[:, 1])
    return np.stack([first, last], axis=1)[np.flatnonzero(first < last)]


def group_windows(vectors: Vector, distances: Distances, threshold: float) -> list[Numbers]:
    """Groups windows by speaker.

    At most WINDOWS_AT_ONCE windows, or GROUPS_AT_ONCE groups of them, are all compared with each
    other, unless there are more speakers than that: a long recording is grouped part by part, and
    the parts' groups are joined in the same way.

    Args:
        vectors: float32 [N, D], in the order of time.
        distances: of the model.
        threshold: the mean distance up to which two groups are joined.

    Returns:
        The windows of each group, rising; groups by their first window.
    """

    def joined(groups: Sequence[Numbers]) -> list[Numbers]:
        return _join(groups, vectors, distances, threshold)

    windows = np.arange(len(vectors), dtype=np.int64)[:, np.newaxis]
    at_once, groups = WINDOWS_AT_ONCE, list(windows)
    while len(groups) > at_once:
        parts = [groups[first : first + at_once] for first in range(0, len(groups), at_once)]
        fewer = [group for part in parts for group in joined(part)]
        if len(fewer) == len(groups) and at_once == GROUPS_AT_ONCE:
            break
        at_once, groups = GROUPS_AT_ONCE, fewer
    return sorted(joined(groups), key=lambda group: int(group[0]))


def _join(
    groups: Sequence[Numbers], vectors: Vector, distances: Distances, threshold: float
) -> list[Numbers]:
    """Average linkage of groups, each counting as one."""
    from scipy.cluster.hierarchy import fcluster, linkage  # takes half a second to import

    if len(groups) < 2:
        return list(groups)
    pairs = [_pairs(one, other) for one, other in itertools.combinations(groups, 2)]
    ends = np.cumsum([len(pair) for pair in pairs])
    every = np.concatenate(pairs)
    apart = distances(vectors[every[:, 0]], vectors[every[:, 1]])
    mean = np.add.reduceat(apart, np.r_[0, ends[:-1]]) / np.diff(ends, prepend=0)
    label = fcluster(linkage(mean, "average"), threshold, "distance")
    return [
        np.sort(np.concatenate([groups[at] for at in np.flatnonzero(label == number).tolist()]))
        for number in np.unique(label)
    ]


def _pairs(one: Numbers, other: Numbers) -> Numbers:
    """int64 [n, 2]: windows of two groups, spread over both, early ones beside late ones."""
    count = min(PAIRS_OF_GROUPS, max(len(one), len(other)))
    at = np.arange(count)
    return np.stack([one[at * len(one) // count], other[at[::-1] * len(other) // count]], axis=1)


def follow_speakers(vectors: Vector, groups: Sequence[Numbers], least_windows: int) -> Numbers:
    """The group of each window, with its neighbours taken into account.

    Groups of too few windows are dropped, except the largest; their windows go to the others.

    Args:
        vectors: float32 [N, D]; NaN for an unusable window, which then follows its neighbours.
        groups: of windows, at least one.
        least_windows: fewest windows of a group that is kept.

    Returns:
        int64 [N], groups numbered from 0 on in the order in which they first speak. Each has a
        usable window.
    """
    unusable = np.flatnonzero(np.isnan(vectors).any(axis=1))
    directions = like_embeddings(np.nan_to_num(vectors), unit_norm=True)
    directions[unusable] = 0.0
    group = np.zeros(len(vectors), np.int64)
    kept = list(groups)
    for _ in range(_ROUNDS):
        kept = [each for each in kept if len(each) >= least_windows] or [max(kept, key=len)]
        means = np.stack([directions[each].mean(axis=0) for each in kept])
        group = best_sequence(directions @ like_embeddings(means, unit_norm=True).T, CHANGE_COST)
        members = [
            np.setdiff1d(np.flatnonzero(group == number), unusable) for number in range(len(kept))
        ]
        kept = [each for each in members if len(each)]
    _, first, group = np.unique(group, return_index=True, return_inverse=True)
    in_order = np.argsort(np.argsort(first))
    return in_order[group].astype(np.int64)


def best_sequence(similarity: npt.NDArray[np.floating], change_cost: float) -> Numbers:
    """The states with the largest sum of similarities less the costs of changes: Viterbi.

    Args:
        similarity: [N, states], N > 0.
        change_cost: of two neighbours in different states.

    Returns:
        int64 [N]; of equal sequences the one that changes less.
    """
    count, states = similarity.shape
    before = np.tile(np.arange(states), (count, 1))
    total = similarity[0].astype(np.float64)
    for at in range(1, count):
        best = int(np.argmax(total))
        changes = total[best] - change_cost > total
        before[at, changes] = best
        total = np.where(changes, total[best] - change_cost, total) + similarity[at]
    sequence = np.empty(count, np.int64)
    sequence[-1] = np.argmax(total)
    for at in range(count - 1, 0, -1):
        sequence[at - 1] = before[at, sequence[at]]
    return sequence


def turns_of(island: Ranges, windows: Ranges, group: Numbers) -> list[Turn]:
    """Turns of an island of speech.

    A change lies midway between the middles of two windows, or in a pause that is no farther from
    there than these middles are from each other.

    Args:
        island: in samples of the recording.
        windows: int64 [n, 2], n > 0, in samples of the island's joined speech.
        group: int64 [n].
    """
    ends = np.cumsum(island[:, 1] - island[:, 0])
    middles = windows.sum(axis=1) // 2
    changes = np.flatnonzero(group[1:] != group[:-1])
    edges = (middles[changes] + middles[changes + 1]) // 2
    pauses = ends[np.argmin(np.abs(ends[:, np.newaxis] - edges), axis=0)]
    reach = middles[changes + 1] - middles[changes]
    edges = np.maximum.accumulate(np.where(np.abs(pauses - edges) <= reach, pauses, edges))
    turns = []
    speakers = group[np.r_[0, changes + 1]]
    for start, end, speaker in zip(np.r_[0, edges], np.r_[edges, ends[-1]], speakers, strict=True):
        if start < end:  # else two changes lie in one pause
            parts = pieces(island, int(start), int(end))
            first, last = int(parts[0, 0]), int(parts[-1, 1])
            turns.append(Turn(first, last, int(end - start), int(speaker)))
    return turns
