"""Every figure of a set of scored trials, for weights of any kind."""

from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from components.trials import (
    SIMILAR,
    DistinctDistances,
    area_under_roc,
    equal_error_rate,
    min_detection_cost,
)

MIN_DCF_P_TARGETS: Final = (0.01, 0.05)

EER: Final = "eer"
AUC: Final = "auc"
CLLR: Final = "cllr"
BALANCED_PRECISION: Final = "balanced_precision"
RECALL: Final = "recall"
F1: Final = "f1"
FALSE_ACCEPT_RATE: Final = "false_accept_rate"
FALSE_REJECT_RATE: Final = "false_reject_rate"
MEAN_SIMILAR_DISTANCE: Final = "mean_similar_distance"
MEAN_DISSIMILAR_DISTANCE: Final = "mean_dissimilar_distance"

# A float32 sigmoid tells no probability nearer to 1, or to 0, from it.
_NEAREST_TO_ONE: Final = 2.0**-25
_NEAREST_TO_ZERO: Final = float(np.finfo(np.float32).smallest_subnormal)


def min_dcf_name(p_target: float) -> str:
    """The name of minDCF at this prior: `min_dcf_0.01`."""
    return f"min_dcf_{p_target:g}"


class Scores(NamedTuple):
    """What a model says about N trials, and what is true. All [N]."""

    label: npt.NDArray[np.int64]
    """1 same speaker, 0 different."""
    distance: npt.NDArray[np.float32]
    """Finite, not negative."""
    probability: npt.NDArray[np.float32]
    """Calibrated P(same speaker) at equal priors."""
    same_speaker: npt.NDArray[np.bool_]
    """The model's decision, at the threshold stored in it."""


class Measures:
    """The figures of some trials; what does not depend on the weights is computed once.

    Args:
        scores: of the trials; ValueError where a distance is not finite.
    """

    def __init__(self, scores: Scores) -> None:
        self._distinct = DistinctDistances(scores.label, scores.distance)
        similar = scores.label == SIMILAR
        probability = scores.probability.astype(np.float64)
        surprise_similar = -np.log2(np.maximum(probability, _NEAREST_TO_ZERO))
        surprise_dissimilar = -np.log2(np.maximum(1.0 - probability, _NEAREST_TO_ONE))
        self._sums_of = np.stack(
            [
                similar,
                ~similar,
                similar & scores.same_speaker,
                ~similar & scores.same_speaker,
                np.where(similar, surprise_similar, 0.0),
                np.where(similar, 0.0, surprise_dissimilar),
                np.where(similar, scores.distance, 0.0),
                np.where(similar, 0.0, scores.distance),
            ]
        ).astype(np.float64)

    def figures(self, weights: npt.NDArray[np.float64]) -> dict[str, float]:
        """Each figure by name, NaN where a class that it needs has no weight.

        Precision and F1 are those at equal numbers of same- and different-speaker trials,
        and with recall, false acceptance and false rejection at the stored threshold.
        Cllr is in bits, 0 is perfect, 1 is no information: Brummer and du Preez,
        "Application-independent evaluation of speaker detection", 2006, equation 18; at equal
        priors the odds of a calibrated probability are the likelihood ratio.

        Args:
            weights: float64 [N], how often each trial counts.
        """
        counts = self._distinct.weighed(weights)
        (
            similar,
            dissimilar,
            true_accepts,
            false_accepts,
            similar_surprise,
            dissimilar_surprise,
            similar_distance,
            dissimilar_distance,
        ) = map(float, np.einsum("fn,n->f", self._sums_of, weights))
        recall = _ratio(true_accepts, similar)
        false_accept_rate = _ratio(false_accepts, dissimilar)
        return {
            EER: equal_error_rate(counts),
            **{min_dcf_name(p): min_detection_cost(counts, p) for p in MIN_DCF_P_TARGETS},
            AUC: area_under_roc(counts),
            CLLR: 0.5
            * (_ratio(similar_surprise, similar) + _ratio(dissimilar_surprise, dissimilar)),
            BALANCED_PRECISION: _ratio(recall, recall + false_accept_rate),
            RECALL: recall,
            F1: 2.0 * recall / (1.0 + recall + false_accept_rate),
            FALSE_ACCEPT_RATE: false_accept_rate,
            FALSE_REJECT_RATE: 1.0 - recall,
            MEAN_SIMILAR_DISTANCE: _ratio(similar_distance, similar),
            MEAN_DISSIMILAR_DISTANCE: _ratio(dissimilar_distance, dissimilar),
        }


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole != 0.0 else float("nan")
