"""Selects the channels of a recording to use: none that is dead, only noise, or cancels others."""

from typing import Final

import numpy as np
import numpy.typing as npt

FAINT_POWER: Final = 0.01
"""A channel with less than this share of the loudest one's power is dead."""

CANCELLED: Final = 0.5
"""Channels cancel each other if their mean has less than this share of the power that it has for
uncorrelated ones: for two, a quarter of theirs. A lossy codec leaves opposite ones up to 1/4."""

STEADY: Final = 0.95
"""A channel at least this steady holds no speech that is audible in its noise."""

VARYING: Final = 0.8
"""A channel at most this steady may hold speech, which alone has 0.05 to 0.54 (120 recordings)."""

FRAME_SECONDS: Final = 0.1
"""Length of frames, whose power is steady for any steady noise, but not for syllables."""

MOST_CHANNELS: Final = 16
"""The mean of more channels, which no microphone has, is used: comparing them would be costly."""


class ChannelStatistics:
    """Statistics of a recording's channels, summed up block by block."""

    def __init__(self, channels: int, rate: int) -> None:
        self._frame = max(1, round(FRAME_SECONDS * rate))
        self._rest = np.zeros((0, channels))
        self._count = self._frames = 0
        self._total, self._products = np.zeros(channels), np.zeros((channels, channels))
        self._power, self._squared_power = np.zeros(channels), np.zeros(channels)

    def add(self, block: npt.NDArray[np.float32]) -> None:
        """Adds the next samples, [samples, channels]."""
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

    A steady channel beside one that varies as speech does is an open line, however loud its hiss
    or hum. A channel with less than a hundredth of the loudest other's power is dead, whatever its
    constant voltage. If the mean of the n remaining channels has less than half of an n-th of
    their mean power, they are of opposite phase, as with an inverted lead, and only the loudest of
    them is used.

    Args:
        covariance: [channels, channels], of the samples.
        steadiness: [channels], squared mean of the frames' power over its mean square: 1 for
            constant power, and for a recording shorter than a frame.

    Returns:
        bool [channels]; all true for digital silence.
    """
    varies = np.any(steadiness <= VARYING)
    power = np.where(varies & (steadiness >= STEADY), -1.0, np.diagonal(covariance))
    used: npt.NDArray[np.bool_] = power >= FAINT_POWER * power.max()
    of_mean = covariance[np.ix_(used, used)].mean()
    if of_mean < CANCELLED * power[used].mean() / np.count_nonzero(used):
        used = np.arange(len(power)) == np.argmax(power)
    return used
