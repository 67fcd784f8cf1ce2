"""The numbers of the article that the idea comes from, beside those of this model.

Source: "Audio Based Nepali Political Figure", 2023: a siamese DenseNet121 with the contrastive
loss, on 34 Nepali politicians. Numbers that it does not give are None.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from components import features
from components.verification import error_rates

SECONDS: Final = 5.0
"""Length of an utterance, in the author's public code."""
EPOCHS: Final = 30
THRESHOLD: Final = 1.8
"""Chosen on the article's test set."""
SPEAKERS: Final = 34
_TRAIN: Final = {"precision": 0.87, "recall": 0.84, "similar": 1.4, "dissimilar": 4.7}
_TEST: Final = {"precision": 0.8, "recall": 0.8, "similar": 1.8, "dissimilar": 4.4}

ROWS: Final = ("speakers", "precision", "recall", "eer", "similar", "dissimilar", "ratio")
"""Rows of the comparison; `similar` and `dissimilar` are mean distances."""


def comparison(
    slices: Sequence[Mapping[str, Any]],
    best: Mapping[str, Any] | None,
    trained_on: int,
) -> dict[str, dict[str, Any]]:
    """Columns `article_train`, `article_test`, `train`, `eval`, `unseen`, each with all ROWS.

    Args:
        slices: whole splits at the duration to compare, SliceMetrics as dicts.
        best: the training's record of the kept epoch; None where there is none.
        trained_on: number of speakers.
    """
    best = best or {}
    columns: dict[str, dict[str, Any]] = {
        "article_train": _column(speakers=SPEAKERS, **_TRAIN),
        "article_test": _column(speakers=SPEAKERS, **_TEST),
        "train": _column(
            speakers=trained_on,
            similar=best.get("train_mean_similar_distance"),
            dissimilar=best.get("train_mean_dissimilar_distance"),
        ),
        features.EVAL: _column(),
        features.UNSEEN: _column(),
    }
    for part in slices:
        value = {name: figure["value"] for name, figure in part["figures"].items()}
        columns[part["set"]] = _column(
            speakers=part["speakers"],
            precision=value[error_rates.BALANCED_PRECISION],
            recall=value[error_rates.RECALL],
            eer=value[error_rates.EER],
            similar=value[error_rates.MEAN_TARGET_DISTANCE],
            dissimilar=value[error_rates.MEAN_NONTARGET_DISTANCE],
        )
    return columns


def _column(**found: float | None) -> dict[str, Any]:
    similar, dissimilar = found.get("similar"), found.get("dissimilar")
    ratio = dissimilar / similar if similar and dissimilar is not None else None
    return {name: found.get(name) for name in ROWS} | {"ratio": ratio}
