"""A linear-phase high-pass that stops mains hum.

What lies below the voice has so little bandwidth that it is computed at a low rate: decimated,
low-passed, interpolated, and subtracted from the samples. That is faster than FFTs of them all.
"""

import math
from typing import Final

import numpy as np
import scipy.signal
import tensorflow as tf

# Mains hum of 50 and 60 Hz is stopped; the lowest voices' harmonics from 100 Hz on pass.
HIGH_PASS_HZ: Final = 80.0
TRANSITION_HZ: Final = 40.0
STOP_DB: Final = 45.0
"""Attenuation given to Kaiser's formula; at 60 Hz, where the stop band ends, it is 42 dB."""
LOW_RATE_HZ: Final = 500
ALIAS_DB: Final = 58.0
"""Attenuation of decimation's aliases and interpolation's images."""
FFT_SIZE: Final = 576
FFT_STEP: Final = 512
"""Step of the low-pass's FFTs, in low-rate samples; FFT_SIZE exceeds it by the taps or more."""


class HighPass:
    """Zero-phase filter that removes a constant voltage entirely and keeps what is above 100 Hz.

    Args:
        sample_rate: Hz, at least twice `LOW_RATE_HZ`.

    Attributes:
        block_samples: a long recording may be filtered in parts that start at multiples of this.
        context_samples: number of samples before and after a part that its filtering needs.
    """

    def __init__(self, sample_rate: int) -> None:
        self.block_samples = sample_rate // LOW_RATE_HZ
        low_rate = sample_rate / self.block_samples
        highest = HIGH_PASS_HZ + TRANSITION_HZ / 2
        taps, beta = scipy.signal.kaiserord(ALIAS_DB, (low_rate - 2 * highest) / (sample_rate / 2))
        self._blocks = math.ceil(taps / self.block_samples)
        self._anti_alias = scipy.signal.firwin(
            self._blocks * self.block_samples,
            low_rate / 2,
            window=("kaiser", beta),
            fs=sample_rate,
        ).reshape(self._blocks, self.block_samples)
        taps, beta = scipy.signal.kaiserord(STOP_DB, TRANSITION_HZ / (low_rate / 2))
        self._low_pass = scipy.signal.firwin(
            taps | 1, HIGH_PASS_HZ, window=("kaiser", beta), fs=low_rate
        )
        self._context = len(self._low_pass) // 2 + self._blocks - 1
        self.context_samples: int = self._context * self.block_samples

    def __call__(self, samples: tf.Tensor) -> tf.Tensor:
        """Removes what lies below the voice.

        Args:
            samples: float32 [context_samples + n + context_samples], n a multiple of
                `block_samples`.

        Returns:
            float32 [n].
        """
        blocks = tf.reshape(samples, [-1, self.block_samples])
        count = tf.shape(blocks)[0] - 2 * self._context
        below = self._interpolated(self._low_passed(self._decimated(blocks)), count)
        here = blocks[self._context : self._context + count]
        return tf.reshape(here - tf.cast(below, tf.float32), [-1])

    # In float64, so that the order of additions does not change the 16-bit samples.

    def _decimated(self, blocks: tf.Tensor) -> tf.Tensor:
        """float64 [low-rate samples] from float32 [blocks, block_samples]."""
        weights = tf.constant(self._anti_alias, tf.float64)
        parts = tf.matmul(weights, tf.cast(blocks, tf.float64), transpose_b=True)
        count = tf.shape(blocks)[0] - self._blocks + 1
        return tf.add_n([parts[start, start : start + count] for start in range(self._blocks)])

    def _low_passed(self, low: tf.Tensor) -> tf.Tensor:
        """float64 [n - taps + 1] from float64 [n] at the low rate."""
        before = len(self._low_pass) - 1
        frames = tf.signal.frame(low, FFT_SIZE, FFT_STEP, pad_end=True)
        response = tf.constant(np.fft.rfft(self._low_pass, FFT_SIZE), tf.complex128)
        filtered = tf.signal.irfft(tf.signal.rfft(frames) * response, [FFT_SIZE])
        whole = tf.reshape(filtered[:, before : before + FFT_STEP], [-1])
        return whole[: tf.size(low) - before]

    def _interpolated(self, low: tf.Tensor, count: tf.Tensor) -> tf.Tensor:
        """float64 [count, block_samples] from float64 [count + blocks of the filter - 1]."""
        # Each phase adds up to 1, so that a constant voltage is removed entirely.
        weights = tf.constant(self._anti_alias / self._anti_alias.sum(axis=0), tf.float64)
        delayed = tf.stack([low[start : start + count] for start in reversed(range(self._blocks))])
        return tf.matmul(delayed, weights, transpose_a=True)
