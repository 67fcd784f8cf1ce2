"""Which channels of a recording are used: those that are dead or cancel each other are not."""

from typing import Final

import numpy as np
import numpy.typing as npt

FAINT_POWER: Final = 0.01
"""A channel is dead, or the mean of the channels has cancelled, at so little of the power."""

MOST_CHANNELS: Final = 16
"""Of more, which no microphone gives, the mean is used: comparing them all would be costly."""


def used_channels(covariance: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
    """The channels whose mean is the recording.

    A channel with less than a hundredth of the loudest one's power is dead, whatever constant
    voltage it has. Where the mean of the others has less than a hundredth of their mean power they
    are of opposite phase, as with an inverted lead: the loudest alone is used then.

    Args:
        covariance: [channels, channels], of the samples.

    Returns:
        bool [channels]; all of them in digital silence.
    """
    power = np.diagonal(covariance)
    used: npt.NDArray[np.bool_] = power >= FAINT_POWER * power.max()
    of_mean = covariance[np.ix_(used, used)].mean()
    if of_mean < FAINT_POWER * power[used].mean():
        used = np.arange(len(power)) == np.argmax(power)
    return used
