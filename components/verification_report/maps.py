"""Which speakers are near: mean distances, embeddings on a plane, the worst pairs."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
import pandas as pd
from sklearn.manifold import TSNE
from threadpoolctl import threadpool_limits

from components import features
from components.verification.error_rates import NONTARGET, TARGET
from components.verification.trials import Embeddings

SPEAKERS_SHOWN: Final = 40
HIGHEST_PERPLEXITY: Final = 30.0
FEWEST_ON_A_MAP: Final = 4
PAIR_COLUMNS: Final = ("speaker", "gender", "recording", "start_seconds", "utterance")


def speaker_distances(trials: pd.DataFrame, numbers: Mapping[str, int]) -> dict[str, Any]:
    """The mean distance between each two speakers, and within each one.

    Args:
        trials: of one split and duration.
        numbers: of the speakers; only the first SPEAKERS_SHOWN are taken.

    Returns:
        `numbers` [S]; `mean_distance` [S, S], NaN without trials; `speakers`, their number in
        the trials.
    """
    speakers = sorted({*trials["speaker_a"], *trials["speaker_b"]}, key=lambda name: numbers[name])
    shown = speakers[:SPEAKERS_SHOWN]
    place = {speaker: index for index, speaker in enumerate(shown)}
    total, count = np.zeros((2, len(shown), len(shown)))
    both = trials[trials["speaker_a"].isin(place) & trials["speaker_b"].isin(place)]
    first, second = (both[side].map(place).to_numpy() for side in ("speaker_a", "speaker_b"))
    np.add.at(total, (first, second), both["distance"].to_numpy().astype(np.float64))
    np.add.at(count, (first, second), 1.0)
    # A trial of two speakers counts in both cells, a trial of one speaker once.
    total, count = (each + each.T - np.diag(np.diag(each)) for each in (total, count))
    with np.errstate(invalid="ignore"):
        mean = total / count
    return {
        "numbers": [numbers[speaker] for speaker in shown],
        "mean_distance": mean.tolist(),
        "speakers": len(speakers),
    }


def choose_for_map(utterances: pd.DataFrame, most: int) -> pd.DataFrame:
    """Chooses the same number of utterances of every speaker, at most `most` in all.

    Args:
        utterances: of one duration; the index gives their embeddings.
        most: utterances; of more speakers, only the first `most` have one.
    """
    ordered = utterances.sort_values(["set", "speaker", "recording", "start_seconds"])
    of_each = max(1, most // max(1, ordered["speaker"].nunique()))
    return ordered.groupby("speaker", sort=False).head(of_each).head(most)


def embedding_map(embeddings: Embeddings, seed: int) -> np.ndarray:
    """Places on a plane, float32 [N, 2]: neighbours stay near, other distances mean little.

    Uses t-SNE without approximations and on one thread, to be reproducible: van der Maaten and
    Hinton, "Visualizing data using t-SNE", 2008.

    Args:
        embeddings: float32 [N, D], N at least 4.
        seed: random state of t-SNE.
    """
    perplexity = min(HIGHEST_PERPLEXITY, (len(embeddings) - 1) / 3.0)
    if embeddings.shape[1] == 1:  # the PCA start needs two axes
        embeddings = np.pad(embeddings, [(0, 0), (0, 1)])
    with threadpool_limits(1):
        tsne = TSNE(method="exact", init="pca", perplexity=perplexity, random_state=seed)
        places: np.ndarray = tsne.fit_transform(embeddings)
    return places


def worst_pairs(trials: pd.DataFrame, count: int) -> dict[str, list[dict[str, Any]]]:
    """The most alike pairs of two people, and the least alike ones of one person.

    Each two speakers, and each one speaker, are listed at most once, with their worst pair.

    Args:
        trials: of one split and duration.
        count: most pairs of each kind.
    """
    ordered = trials.sort_values(["distance", "utterance_a", "utterance_b"])
    alike = ordered[ordered["label"] == NONTARGET]
    unlike = ordered[ordered["label"] == TARGET].iloc[::-1]
    return {
        "dissimilar": _pairs(alike, count),
        "similar": _pairs(unlike, count),
    }


def _pairs(ordered: pd.DataFrame, count: int) -> list[dict[str, Any]]:
    two_speakers = [
        tuple(sorted(names))
        for names in zip(ordered["speaker_a"], ordered["speaker_b"], strict=True)
    ]
    is_first = ~pd.Series(two_speakers, index=ordered.index, dtype=object).duplicated()
    return [_pair(row) for row in ordered[is_first].head(count).to_dict("records")]


def _pair(row: Mapping[Any, Any]) -> dict[str, Any]:
    sides = (f"{column}_{side}" for column in PAIR_COLUMNS for side in features.SIDES)
    return {
        **{name: row[name] for name in sides},
        "distance": float(row["distance"]),
        "probability": float(row["probability"]),
        "same_speaker": bool(row["same_speaker"]),
    }


def utterances_of(pairs: Sequence[Mapping[str, Any]]) -> set[str]:
    """The utterances of pairs."""
    return {pair[f"utterance_{side}"] for pair in pairs for side in features.SIDES}
