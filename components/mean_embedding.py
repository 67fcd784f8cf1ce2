"""Mean embeddings, which have norm 1 if the model's embeddings have.

A model with a pooled head gives unit vectors; one with a flattened head does not.
"""

from typing import Final

import numpy as np
import numpy.typing as npt

Vectors = npt.NDArray[np.float32]

_UNIT_NORM_TOLERANCE: Final = 1e-3


def have_unit_norm(embeddings: Vectors) -> bool:
    """Whether all embeddings, float32 [N, D], are unit vectors."""
    norms = np.sqrt(np.einsum("nd,nd->n", embeddings, embeddings))
    return bool(np.allclose(norms, 1.0, rtol=0.0, atol=_UNIT_NORM_TOLERANCE))


def mean_embedding(embeddings: Vectors) -> Vectors:
    """The mean of embeddings [N, D], float32 [D]; it has norm 1 if all of them have."""
    mean = embeddings.mean(axis=0, keepdims=True)
    found: Vectors = like_embeddings(mean, unit_norm=have_unit_norm(embeddings))[0]
    return found


def like_embeddings(means: Vectors, *, unit_norm: bool) -> Vectors:
    """Means of embeddings, with the norm that the embeddings have.

    Args:
        means: float32 [M, D].
        unit_norm: whether the embeddings, and thus the means, have norm 1; a mean of 0 stays 0.

    Returns:
        float32 [M, D].
    """
    if not unit_norm:
        return means
    lengths = np.linalg.norm(means, axis=1, keepdims=True)
    unit: Vectors = means / np.maximum(lengths, np.finfo(np.float32).tiny)
    return unit
