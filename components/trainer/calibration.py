"""From distance to probability and decision, learnt on the `calibration` split."""

from dataclasses import dataclass

import numpy as np
from sklearn.linear_model import LogisticRegression

from components.errors import SwarError

# Hardly any regularisation: just enough for a finite slope where the classes do not overlap.
INVERSE_REGULARISATION = 100.0


@dataclass(frozen=True)
class Calibration:
    """`P(same speaker) = sigmoid(slope * (threshold - distance))` at equal priors."""

    threshold: float
    slope: float


def calibrate(distance: np.ndarray, label: np.ndarray) -> Calibration:
    """Logistic regression with both classes weighing the same.

    Args:
        distance: float32 [N].
        label: int64 [N], 1 same speaker, 0 different.

    Raises:
        SwarError: a class is missing, or similar pairs are not nearer than dissimilar ones.
    """
    if len(np.unique(label)) < 2:
        raise SwarError(
            "the calibration split has pairs of one kind only: add speech, or raise "
            "speech.calibration_fraction"
        )
    regression = LogisticRegression(C=INVERSE_REGULARISATION, class_weight="balanced")
    regression.fit(distance.reshape(-1, 1), label)
    slope = -float(regression.coef_[0, 0])
    if slope <= 0.0:
        raise SwarError(
            "the model has learnt nothing: on the calibration split one speaker's windows are no "
            "nearer than two speakers': train longer (trainer.epochs) or on more speech"
        )
    return Calibration(threshold=float(regression.intercept_[0]) / slope, slope=slope)
