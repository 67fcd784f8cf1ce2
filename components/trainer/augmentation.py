"""Rooms, noise, microphones and lines, drawn anew for every batch of spectrograms.

Their effects can be applied to mel power: noise adds power band by band, a microphone or a line
multiplies bands, a room spreads power over later frames. This takes a few dense operations on the
device; changes of the waveform are made by Beam and would have to be stored.
"""

import math
from typing import Final

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from components.degradation import (
    DECAY_DB,
    LOWEST_HZ,
    MAINS_HERTZ,
    NOISE_COLOURS,
    RIPPLE_DB,
    TELEPHONE_BAND_HZ,
    TELEPHONE_RATE,
)
from components.frontend import UINT8_PEAK
from components.mel import mel_bands, mel_edges
from components.settings import AugmentationSettings, SpectrogramSettings

_Floats = npt.NDArray[np.float64]

_BABBLE_SHARE: Final = 0.5  # of the noises
_BABBLING: Final = 3
_OVERTONE_POWER: Final = 0.1  # of the mains' third harmonic
_NARROW_BAND_ORDER: Final = 8  # of Butterworth filters
_TELEPHONE_ORDER: Final = 4
_TELEPHONE_SNR_DB: Final = 37.0  # of 8-bit mu-law, within the band


class BatchAugmentation:
    """Degrades uint8 spectrograms [N, n_mels, frames] of a batch, each with draws of its own.

    The order is that in which sound meets them: room, other sounds in it, microphone, line. The
    result is relative to its own peak, as the front end would have made it. The functions
    of `components.degradation` do the same to a waveform.
    """

    def __init__(
        self, settings: AugmentationSettings, spectrogram: SpectrogramSettings, sample_rate: int
    ) -> None:
        """Computes the constants of the bands.

        Args:
            settings: probabilities and ranges. Codecs and recorded sounds, which work on samples,
                are not in TrainerSettings.
            spectrogram: of the windows.
            sample_rate: of their speech, Hz.
        """
        self._settings = settings
        self._top_db = spectrogram.top_db
        self._frame_seconds = spectrogram.hop_samples / sample_rate
        weights = mel_bands(sample_rate, spectrogram.n_fft, spectrogram.n_mels)
        edge = mel_edges(spectrogram.n_mels, 0.0, sample_rate / 2)
        # Slaney's bands are means over frequency: a sound's power is their width-weighted sum.
        width = edge[2:] - edge[:-2]
        self._width = _constant(width[:, np.newaxis])
        frequency = np.fft.rfftfreq(spectrogram.n_fft, 1.0 / sample_rate).astype(np.float64)
        audible = np.maximum(frequency, LOWEST_HZ)
        self._noises = _constant(
            [_of_power_1(weights @ audible**-colour, width) for colour in NOISE_COLOURS]
        )
        self._hums = _constant(
            [_of_power_1(weights @ _hum(frequency, mains), width) for mains in MAINS_HERTZ]
        )
        # Band power is a weighted sum of powers at frequencies, each exponentially distributed
        # for Gaussian noise: nearly a gamma distribution with this shape.
        freedom = np.sum(weights, axis=1) ** 2 / np.sum(np.square(weights), axis=1)
        self._freedom = _constant(freedom[:, np.newaxis])
        centre = edge[1:-1]
        self._centre_hertz = _constant(centre[:, np.newaxis])
        octave = np.log2(np.maximum(centre, LOWEST_HZ) / 1_000.0)
        self._octave = _constant(octave[:, np.newaxis])
        nodes = np.arange(math.floor(octave[0]), math.ceil(octave[-1]) + 1)
        # Hat functions, for a microphone's curve that is straight between octaves.
        self._hats = _constant(np.maximum(0.0, 1.0 - np.abs(octave - nodes[:, np.newaxis])))

    def __call__(
        self, spectrograms: tf.Tensor, seed: tf.Tensor, group: tf.Tensor | None = None
    ) -> tf.Tensor:
        """Degraded spectrograms.

        Args:
            spectrograms: uint8 [N, n_mels, frames].
            seed: int64 scalar; the same one gives the same result.
            group: int32 [N], in [0, N): windows of a group share room and line; None: each has its
                own.

        Returns:
            uint8 [N, n_mels, frames].
        """
        windows = tf.shape(spectrograms)[0]
        draws = _Draws(seed, tf.range(windows) if group is None else group)
        decibels = (tf.cast(spectrograms, tf.float32) / UINT8_PEAK - 1.0) * self._top_db
        # Step 0 is the floor: how far below it a sound was is unknown.
        power = tf.where(spectrograms > 0, _power(decibels), 0.0)
        settings = self._settings
        changes = (
            (settings.reverberation_probability, self._reverberated),
            (settings.noise_probability, self._noisy),
            (settings.hum_probability, self._humming),
            (settings.tilt_probability, self._tilted),
            (settings.narrow_band_probability, self._narrow),
            (settings.telephone_probability, self._telephoned),
        )
        for probability, change in changes:
            if probability > 0.0:
                happens = draws.uniform(0.0, 1.0) < probability
                power = tf.where(happens, change(power, draws), power)
        return self._quantised(power)

    def _quantised(self, power: tf.Tensor) -> tf.Tensor:
        peak = tf.reduce_max(power, axis=[1, 2], keepdims=True)
        share = tf.math.divide_no_nan(power, peak)
        decibels = 10.0 / math.log(10.0) * tf.math.log(share + _power(-2.0 * self._top_db))
        steps = tf.round((decibels / self._top_db + 1.0) * UINT8_PEAK)
        return tf.cast(tf.clip_by_value(steps, 0.0, UINT8_PEAK), tf.uint8)

    def _fluctuating(self, power: tf.Tensor, draws: "_Draws") -> tf.Tensor:
        """Makes mean powers [N, n_mels, frames] vary as those of Gaussian noise.

        Source: Wilson and Hilferty, "The Distribution of Chi-Square", PNAS 1931: the cube root of
        a gamma variable is nearly normal.
        """
        ninth = 1.0 / (9.0 * self._freedom)
        root = 1.0 - ninth + tf.sqrt(ninth) * draws.normal(tf.shape(power))
        return power * tf.maximum(root, 0.0) ** 3

    def _reverberated(self, power: tf.Tensor, draws: "_Draws") -> tf.Tensor:
        """Adds a tail, in all as loud as the sound, that falls by 60 dB in the drawn time."""
        seconds = draws.uniform(*self._settings.reverberation_seconds)
        frames = tf.range(power.shape[2] or tf.shape(power)[2])
        lag = tf.cast(frames[tf.newaxis, :] - frames[:, tf.newaxis], tf.float32)
        tail = _power(-DECAY_DB * tf.maximum(lag, 0.0) * self._frame_seconds / seconds)
        tail = tf.where(lag >= 0.0, tail, 0.0)
        tail /= tf.reduce_sum(tail[:, :1], axis=2, keepdims=True)
        return power + self._fluctuating(tf.matmul(power, tail), draws)

    def _noisy(self, power: tf.Tensor, draws: "_Draws") -> tf.Tensor:
        """Adds other speakers of the batch, or coloured noise."""
        shape = tf.shape(power)
        colour = draws.integer(len(NOISE_COLOURS))
        coloured = tf.gather(self._noises, colour)[:, :, tf.newaxis] * tf.ones(shape)
        people = tf.add_n([tf.gather(power, draws.others()) for _ in range(_BABBLING)])
        is_babble = draws.uniform(0.0, 1.0) < _BABBLE_SHARE
        noise = tf.where(is_babble, people, self._fluctuating(coloured, draws))
        return self._mixed(power, noise, draws.uniform(*self._settings.noise_snr_db))

    def _humming(self, power: tf.Tensor, draws: "_Draws") -> tf.Tensor:
        tones = tf.gather(self._hums, draws.integer(len(MAINS_HERTZ)))[:, :, tf.newaxis]
        snr_db = draws.uniform(*self._settings.hum_snr_db)
        return self._mixed(power, tones * tf.ones(tf.shape(power)), snr_db)

    def _tilted(self, power: tf.Tensor, draws: "_Draws") -> tf.Tensor:
        """Applies a slope over the octaves and a random curve."""
        slope = draws.uniform(*self._settings.tilt_db_per_octave)
        nodes = draws.normal([draws.windows, self._hats.shape[0]])
        ripple = RIPPLE_DB * tf.matmul(draws.alike(nodes), self._hats)
        return power * _power(slope * self._octave + ripple[:, :, tf.newaxis])

    def _narrow(self, power: tf.Tensor, draws: "_Draws") -> tf.Tensor:
        hertz = draws.uniform(*self._settings.narrow_band_hertz)
        return power * self._low_pass(hertz, _NARROW_BAND_ORDER)

    def _telephoned(self, power: tf.Tensor, draws: "_Draws") -> tf.Tensor:
        """Keeps a narrow band and adds noise that follows the speech level."""
        low, high = TELEPHONE_BAND_HZ
        band = self._low_pass(high, _TELEPHONE_ORDER) - self._low_pass(low, _TELEPHONE_ORDER)
        band = tf.where(self._centre_hertz < TELEPHONE_RATE / 2, band, 0.0)
        speech = power * band
        level = tf.reduce_sum(speech * self._width, axis=1, keepdims=True)
        white = self._noises[0][tf.newaxis, :, tf.newaxis] * level
        return speech + band * _power(-_TELEPHONE_SNR_DB) * self._fluctuating(white, draws)

    def _mixed(self, power: tf.Tensor, noise: tf.Tensor, snr_db: tf.Tensor) -> tf.Tensor:
        """Adds noise `snr_db` below the power."""
        total, noise_total = (
            tf.reduce_sum(each * self._width, [1, 2], True) for each in (power, noise)
        )
        gain = tf.math.divide_no_nan(total, noise_total) * _power(-snr_db)
        return power + gain * noise

    def _low_pass(self, hertz: tf.Tensor | float, order: int) -> tf.Tensor:
        """A Butterworth filter's power gain in each band."""
        return 1.0 / (1.0 + (self._centre_hertz / hertz) ** (2 * order))


class _Draws:
    """Random numbers that depend on a seed and the number of earlier draws."""

    def __init__(self, seed: tf.Tensor, group: tf.Tensor) -> None:
        self._seed = tf.cast(seed, tf.int64)
        self._group = group
        self.windows = tf.shape(group)[0]
        self._drawn = 0

    def uniform(self, low: float, high: float) -> tf.Tensor:
        """float32 [N, 1, 1], the same within a group."""
        drawn = tf.random.stateless_uniform([self.windows, 1, 1], self._next(), low, high)
        return tf.gather(drawn, self._group)

    def integer(self, below: tf.Tensor | int) -> tf.Tensor:
        """int32 [N], the same within a group."""
        drawn = tf.random.stateless_uniform([self.windows], self._next(), 0, below, tf.int32)
        return tf.gather(drawn, self._group)

    def others(self) -> tf.Tensor:
        """int32 [N]: for each window another one, not a neighbour and so of another pair."""
        further = 2 + self.integer(tf.maximum(1, self.windows - 3))
        return (tf.range(self.windows) + further) % self.windows

    def normal(self, shape: tf.Tensor | list[tf.Tensor | int]) -> tf.Tensor:
        """float32 of the given shape."""
        return tf.random.stateless_normal(shape, self._next())

    def alike(self, values: tf.Tensor) -> tf.Tensor:
        """Values [N, ...], equal for all windows of a group."""
        return tf.gather(values, self._group)

    def _next(self) -> tf.Tensor:
        self._drawn += 1
        return tf.stack([self._seed, tf.constant(self._drawn, tf.int64)])


def _constant(values: object) -> tf.Tensor:
    return tf.constant(np.asarray(values, np.float32))


def _hum(frequency: _Floats, mains_hertz: float) -> _Floats:
    """Power at each frequency of the mains and their third harmonic.

    A taper spreads each tone over the frequencies next to it.
    """
    tones = ((mains_hertz, 1.0), (3.0 * mains_hertz, _OVERTONE_POWER))
    power: _Floats = np.sum(
        [
            strength * np.maximum(0.0, 1.0 - np.abs(frequency - hertz) / (2.0 * frequency[1])) ** 2
            for hertz, strength in tones
        ],
        axis=0,
    )
    return power


def _of_power_1(bands: _Floats, width: _Floats) -> _Floats:
    """Scales a sound's band powers to a total power of 1."""
    scaled: _Floats = bands / np.sum(bands * width)
    return scaled


def _power(decibels: tf.Tensor | float) -> tf.Tensor:
    return 10.0 ** (decibels / 10.0)
