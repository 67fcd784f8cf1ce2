"""Which channels of a recording are used: not those that are dead, noise, or cancel others."""

from typing import Final

import numpy as np
import numpy.typing as npt

FAINT_POWER: Final = 0.01
"""A channel is dead at so little of the power of the loudest."""

CANCELLED: Final = 0.5
"""The mean of channels has cancelled at so little of the power that it has where they have nothing
in common: of two at a quarter of theirs. A lossy codec leaves up to a quarter of opposite ones."""

STEADY: Final = 0.95
"""A channel of this steadiness or more holds no speech that could be heard in its noise."""

VARYING: Final = 0.8
"""One of this steadiness or less may: speech alone has 0.05 to 0.54 (120 recordings)."""

FRAME_SECONDS: Final = 0.1
"""Of which the power is taken: steady of any steady noise, and not of syllables."""

MOST_CHANNELS: Final = 16
"""Of more, which no microphone gives, the mean is used: comparing them all would be costly."""


class ChannelStatistics:
    """What is summed up of a recording's channels, block by block."""

    def __init__(self, channels: int, rate: int) -> None:
        self._frame = max(1, round(FRAME_SECONDS * rate))
        self._rest = np.zeros((0, channels))
        self._count = self._frames = 0
        self._total, self._products = np.zeros(channels), np.zeros((channels, channels))
        self._power, self._squared_power = np.zeros(channels), np.zeros(channels)

    def add(self, block: npt.NDArray[np.float32]) -> None:
        """Takes the next samples, [samples, channels]."""
        wide = block.astype(np.float64)
        self._count += len(wide)
        self._total += wide.sum(axis=0)
        self._products += wide.T @ wide
        waiting = np.concatenate([self._rest, wide])
        whole = len(waiting) // self._frame * self._frame
        self._rest = waiting[whole:]
        power = waiting[:whole].reshape(-1, self._frame, wide.shape[1]).var(axis=1)
        self._frames += len(power)
        self._power += power.sum(axis=0)
        self._squared_power += np.square(power).sum(axis=0)

    def used(self) -> npt.NDArray[np.bool_]:
        """The channels whose mean is the recording, bool [channels]; see `used_channels`."""
        mean = self._total / self._count
        covariance = self._products / self._count - np.outer(mean, mean)
        squared_mean = np.square(self._power)
        mean_square = self._frames * self._squared_power
        steadiness = np.divide(
            squared_mean, mean_square, out=np.ones_like(mean_square), where=mean_square > 0.0
        )
        return used_channels(covariance, steadiness)


def used_channels(
    covariance: npt.NDArray[np.float64], steadiness: npt.NDArray[np.float64]
) -> npt.NDArray[np.bool_]:
    """The channels whose mean is the recording.

    A channel that is steady beside one that varies as speech does is an open line, however loud
    its hiss or hum. A channel with less than a hundredth of the loudest other's power is dead,
    whatever constant voltage it has. Where the mean of the other n has less than half of an n-th of
    their mean power they are of opposite phase, as with an inverted lead: the loudest of them alone
    is used then.

    Args:
        covariance: [channels, channels], of the samples.
        steadiness: [channels], squared mean of the power of frames over its mean square: 1 of what
            never changes, and of a recording of less than a frame.

    Returns:
        bool [channels]; all of them in digital silence.
    """
    varies = np.any(steadiness <= VARYING)
    power = np.where(varies & (steadiness >= STEADY), -1.0, np.diagonal(covariance))
    used: npt.NDArray[np.bool_] = power >= FAINT_POWER * power.max()
    of_mean = covariance[np.ix_(used, used)].mean()
    if of_mean < CANCELLED * power[used].mean() / np.count_nonzero(used):
        used = np.arange(len(power)) == np.argmax(power)
    return used
