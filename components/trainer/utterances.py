"""Utterances made of several windows of held-out speakers, and their distances."""

import itertools
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from components.mean_embedding import like_embeddings
from components.model.normalisation import CohortNormalisation, distances, speaker_means
from components.model.tower import all_pairs_distance

# Trials at a time: their embeddings, not their distances, take the memory.
BLOCK: Final = 200_000
DEGRADED: Final = b" degraded"
"""Appended to the name of a recording whose windows are degraded."""
ROUNDING_SECONDS: Final = 1e-3
"""Starts are float32: a window may seem to start this much before the last one's end."""

Indices = npt.NDArray[np.int64]


@dataclass(frozen=True)
class WindowOrigins:
    """Speakers and recordings of N windows, and where they begin in these."""

    speaker: npt.NDArray[Any]  # bytes [N]
    recording: npt.NDArray[Any]  # bytes [N]
    start_seconds: npt.NDArray[np.float32]  # [N]


class Utterances(NamedTuple):
    """Embeddings [N, D] of utterances; their speakers, recordings, starts and ends [N]."""

    embedding: npt.NDArray[np.float32]
    speaker: Indices
    """Index into the speakers' sorted names."""
    recording: npt.NDArray[np.bytes_]
    start_seconds: npt.NDArray[np.float32]
    end_seconds: npt.NDArray[np.float32]


@dataclass(frozen=True)
class EmbeddedWindows:
    """Windows and a tower's embeddings of them.

    embedding: float32 [windows, D].
    windows: where they are from.
    window_seconds: length of a window.
    unit_norm: whether embeddings of windows, and so of utterances, have the length 1.
    normalisation: of the distances; None for Euclidean ones.
    """

    embedding: npt.NDArray[np.float32]
    windows: WindowOrigins
    window_seconds: float
    unit_norm: bool
    normalisation: CohortNormalisation | None = None

    @property
    def speakers(self) -> list[str]:
        """The speakers' names, in the order of their numbers."""
        names: list[bytes] = np.unique(self.windows.speaker).tolist()
        return [name.decode() for name in names]

    def utterances(self, count: int, every_seconds: float) -> Utterances:
        """Utterances of `count` windows of one recording, which do not overlap.

        Args:
            count: of windows.
            every_seconds: least time between the starts of two utterances.
        """
        windows = self.windows
        order = np.lexsort((windows.start_seconds, windows.recording))
        found = []
        for _, recording in itertools.groupby(order, key=lambda row: windows.recording[row]):
            rows = np.array(list(recording))
            start = windows.start_seconds[rows]
            for first in _apart(start, every_seconds):
                chosen = first + _apart(start[first:], self.window_seconds)[:count]
                if len(chosen) == count:
                    found.append(rows[chosen])
        rows = np.array(found, np.int64).reshape(-1, count)
        mean = like_embeddings(self.embedding[rows].mean(axis=1), unit_norm=self.unit_norm)
        _, speaker = np.unique(windows.speaker, return_inverse=True)
        return Utterances(
            mean,
            speaker[rows[:, 0]],
            windows.recording[rows[:, 0]],
            windows.start_seconds[rows[:, 0]],
            windows.start_seconds[rows[:, -1]] + np.float32(self.window_seconds),
        )

    def distances(
        self, utterances: Utterances, first: Indices, second: Indices
    ) -> npt.NDArray[np.float32]:
        """Distances [N] of pairs of utterances, rows [N] and [N], as the served model's."""
        blocks = [
            distances(
                utterances.embedding,
                first[at : at + BLOCK],
                second[at : at + BLOCK],
                self.normalisation,
            )
            for at in range(0, len(first), BLOCK)
        ]
        return np.concatenate([np.zeros(0, np.float32), *blocks])

    def near_speakers(self, fraction: float) -> npt.NDArray[np.bool_]:
        """[speakers, speakers]: whether one is among the other's nearest, or is the other.

        Args:
            fraction: share of the other speakers that count as near, by mean embeddings.
        """
        means = speaker_means(self.embedding, self.windows.speaker, unit_norm=False)
        distance = all_pairs_distance(means).numpy()
        np.fill_diagonal(distance, np.inf)
        count = max(1, round(fraction * (len(means) - 1)))
        near = np.zeros(distance.shape, bool)
        np.put_along_axis(near, np.argsort(distance, axis=1)[:, :count], True, axis=1)
        both: npt.NDArray[np.bool_] = near | near.T | np.eye(len(means), dtype=bool)
        return both


def _apart(start_seconds: npt.NDArray[np.float32], seconds: float) -> Indices:
    """Indices of sorted starts: the first, then each next one at least `seconds` later."""
    kept = [0]
    while True:
        least = start_seconds[kept[-1]] + seconds - ROUNDING_SECONDS
        after = int(np.searchsorted(start_seconds, least))
        if after == len(start_seconds):
            return np.array(kept)
        kept.append(after)
