"""Each speaker's reference embedding, and the nearest of them.

The search is exact and in memory: one product of a matrix with a vector, 0.5 GB for a million
speakers of 128 dimensions. An index would be approximate, though a decision depends on the first
place, would lag behind enrolments, and would hold copies of vectors that `forget` must find.
"""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from components.mean_embedding import have_unit_norm, like_embeddings
from serving.answers import Vector


@dataclass(frozen=True)
class Neighbour:
    """A speaker, and the distance of their reference from the query."""

    speaker: str
    distance: float
    """Euclidean."""
    reference: Vector
    """float32 [D]."""


class References:
    """One vector per speaker, the mean of the speaker's recordings.

    Args:
        speakers: string [N], the speaker of each recording.
        vectors: float32 [N, D], of one model.
    """

    def __init__(self, speakers: Any, vectors: Vector) -> None:
        coded = pc.dictionary_encode(pa.array(speakers))
        self._names = coded.dictionary
        self._vectors = vectors
        if len(self._names) < len(vectors):
            self._vectors = like_embeddings(
                _grouped_means(vectors, coded.indices.to_numpy()),
                unit_norm=have_unit_norm(vectors),
            )
        self._squared_norms = np.einsum("sd,sd->s", self._vectors, self._vectors)

    def __len__(self) -> int:
        return len(self._names)

    def nearest(
        self, vector: Vector, top: int, among: Collection[str] | None = None
    ) -> list[Neighbour]:
        """The `top` speakers nearest to a float32 [D], nearest first; None for all."""
        is_candidate = np.ones(len(self), bool)
        if among is not None:
            named = pc.is_in(self._names, pa.array(list(among), self._names.type))
            is_candidate = named.to_numpy(zero_copy_only=False)
        top = min(top, int(np.count_nonzero(is_candidate)))
        if not top:
            return []
        # |r - q|^2 without |q|^2, which is the same for all.
        order = self._squared_norms - 2.0 * (self._vectors @ vector)
        order[~is_candidate] = np.inf
        found = np.argpartition(order, top - 1)[:top]
        # Again, exactly: the short form loses digits if both are close.
        distances = np.linalg.norm(self._vectors[found] - vector, axis=1)
        return [
            Neighbour(
                self._names[int(found[at])].as_py(), float(distances[at]), self._vectors[found[at]]
            )
            for at in np.argsort(distances, kind="stable")
        ]


def _grouped_means(vectors: Vector, groups: np.ndarray) -> Vector:
    """float32 [G, D]: the mean of the rows of each group, numbered from 0."""
    order = np.argsort(groups, kind="stable")
    starts = np.flatnonzero(np.diff(groups[order], prepend=-1))
    sums = np.add.reduceat(vectors[order], starts, axis=0)
    counts = np.bincount(groups)[:, np.newaxis]
    return np.divide(sums, counts, dtype=np.float32)
