"""From a distance to a probability."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class Calibration:
    """`P(same speaker) = sigmoid(slope * (threshold - distance))` at equal priors."""

    threshold: float
    slope: float

    def probability(self, distance: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
        """P(same speaker) for distances of any shape."""
        odds = self.slope * (self.threshold - distance.astype(np.float64))
        probability: npt.NDArray[np.float64] = np.exp(-np.logaddexp(0.0, -odds))
        return probability
