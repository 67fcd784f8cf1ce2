"""Distinguishes a voice from noise, tones and music, however loud and regular these are.

A quadratic logistic regression on how the bands of a recording change and whether it is voiced.
Its weights are `pretrained/speech_gate.json`, fitted by `benchmarks/quality/speech_gate.py`.
"""

import json
from importlib import resources
from typing import Any, Final

import keras
import numpy as np
import tensorflow as tf

from components.frontend import to_waveform
from components.mel import mel_bands

MOST_SECONDS: Final = 8
"""A longer recording is classified by this many seconds, spread over it."""
FRAME_SECONDS: Final = 0.032
FITTED_SIZE: Final = 512
"""Samples of a frame at 16 kHz, the rate of the fit."""
HOP_SECONDS: Final = 0.01
BANDS: Final = 20
BAND_HZ: Final = (150.0, 3_800.0)
"""Band of the features, roughly what a telephone passes."""
LAGS_FRAMES: Final = (1, 2, 4, 8, 16, 32)
VOICED_HZ: Final = (100.0, 2_000.0)
PITCH_HZ: Final = (70.0, 400.0)
FEATURES: Final = 27
WEIGHTS_FILE: Final = "speech_gate.json"
_LEAST_POWER: Final = 1e-4
_TINY: Final = 1e-6
_STEADY_PITCH: Final = 0.005  # change from frame to frame, relative
_LARGEST_PITCH_CHANGE: Final = 0.3


class SpeechGate(keras.layers.Layer):
    """Whether there is a voice in a recording without its silence.

    Args:
        sample_rate: Hz.
        weights: of the regression; None reads those that come with Swar.
    """

    def __init__(
        self, sample_rate: int, weights: dict[str, Any] | None = None, **kwargs: Any
    ) -> None:
        super().__init__(**({"trainable": False, "dtype": "float32"} | kwargs))
        self.sample_rate = sample_rate
        self.regression = _released_weights() if weights is None else weights
        self._size = round(FRAME_SECONDS * sample_rate)
        self._hop = round(HOP_SECONDS * sample_rate)
        # So that the same sound has the same power at every rate.
        self._taper = (np.hanning(self._size) * FITTED_SIZE / self._size).astype(np.float32)
        hertz = np.fft.rfftfreq(self._size, 1.0 / sample_rate)
        highest = min(BAND_HZ[1], 0.95 * sample_rate / 2)
        bands = mel_bands(
            sample_rate,
            self._size,
            BANDS,
            lowest_hertz=BAND_HZ[0],
            highest_hertz=highest,
            norm=None,
        )
        self._bands = bands.T.astype(np.float32)
        self._band = _between(hertz, BAND_HZ[0], highest)
        self._voiced = _between(hertz, *VOICED_HZ)

    def call(self, pcm16: tf.Tensor) -> tf.Tensor:
        """Whether the samples hold a voice.

        Args:
            pcm16: int16 [samples], a recording without its silence.

        Returns:
            bool scalar; false for no samples.
        """
        return tf.cond(
            tf.size(pcm16) > 0,
            lambda: self.is_speech(self.seconds(pcm16)),
            lambda: tf.constant(False),
        )

    def starts(self, samples: tf.Tensor) -> tf.Tensor:
        """Where the seconds to classify begin, int64 [n].

        Args:
            samples: int64 scalar, length of the speech, at least one second.
        """
        count = tf.clip_by_value(samples // self.sample_rate, 1, MOST_SECONDS)
        return tf.range(count) * ((samples - self.sample_rate) // tf.maximum(count - 1, 1))

    def seconds(self, pcm16: tf.Tensor) -> tf.Tensor:
        """The seconds to classify; less speech is repeated to one second.

        Args:
            pcm16: int16 [samples], one at least.

        Returns:
            int16 [n, sample_rate].
        """
        rate = self.sample_rate
        repeated = tf.tile(pcm16, [tf.maximum(1, -(-rate // tf.size(pcm16)))])
        return tf.map_fn(
            lambda start: repeated[start : start + rate],
            self.starts(tf.size(repeated, out_type=tf.int64)),
            fn_output_signature=tf.TensorSpec([rate], tf.int16),
        )

    def is_speech(self, seconds: tf.Tensor) -> tf.Tensor:
        """Whether int16 [n, sample_rate], at least one, holds a voice: a bool scalar."""
        return self.logit(self.features(seconds)) > 0.0

    def logit(self, features: tf.Tensor) -> tf.Tensor:
        """The logit of float32 [FEATURES], float32 scalar; above 0 for speech."""
        mean, scale, weights = (
            tf.constant(self.regression[name], tf.float32) for name in ("mean", "scale", "weights")
        )
        normal = (features - mean) / scale
        of_products = np.zeros((FEATURES, FEATURES), np.float32)
        of_products[np.triu_indices(FEATURES)] = self.regression["weights"][FEATURES:]
        slopes = weights[:FEATURES] + tf.linalg.matvec(of_products, normal)
        return tf.reduce_sum(normal * slopes) + self.regression["bias"]

    def features(self, seconds: tf.Tensor) -> tf.Tensor:
        """The features of the regression.

        Args:
            seconds: int16 [n, sample_rate], one at least.

        Returns:
            float32 [FEATURES].
        """
        frames = tf.signal.frame(to_waveform(seconds), self._size, self._hop)
        spectrum = tf.signal.rfft(frames * self._taper)
        power = tf.square(tf.math.real(spectrum)) + tf.square(tf.math.imag(spectrum))
        return tf.stack(
            _changes(self._decibels(power)) + self._voicing(power) + self._entropy(power)
        )

    def _decibels(self, power: tf.Tensor) -> tf.Tensor:
        """float32 [n, frames, BANDS]."""
        mel = tf.tensordot(power, tf.constant(self._bands, tf.float32), 1)
        return 10.0 / np.log(10.0) * tf.math.log(mel + _LEAST_POWER)

    def _voicing(self, power: tf.Tensor) -> list[tf.Tensor]:
        """How periodic the frames are, and how steady the pitch is where they are."""
        first, last = (round(self.sample_rate / hertz) for hertz in reversed(PITCH_HZ))
        of_taper = np.fft.irfft(np.abs(np.fft.rfft(self._taper)) ** 2, self._size)
        shape = np.maximum(of_taper[first:last] / of_taper[0], 0.2)
        # The autocorrelation of a few frequencies at a few lags is one small product.
        cosines = np.fft.irfft(np.eye(self._size // 2 + 1)[self._voiced], self._size)
        weights = np.c_[cosines[:, 0], cosines[:, first:last] / shape].astype(np.float32)
        correlation = tf.tensordot(power[..., self._voiced], weights, 1)
        periodic = correlation[..., 1:]
        voiced = tf.reduce_max(periodic, axis=-1) / (correlation[..., 0] + _TINY)
        lag = tf.cast(first + tf.argmax(periodic, axis=-1, output_type=tf.int32), tf.float32)
        change = tf.minimum(_difference(tf.math.log(lag), 1), _LARGEST_PITCH_CHANGE)
        weight = tf.maximum(voiced[:, 1:] * voiced[:, :-1], 0.0)
        total = tf.reduce_sum(weight) + _TINY
        steady = tf.cast(change < _STEADY_PITCH, tf.float32)
        return [
            tf.reduce_mean(voiced),
            tf.math.reduce_std(voiced),
            tf.reduce_mean(_difference(voiced, 1)),
            tf.reduce_sum(weight * change) / total,
            tf.reduce_sum(weight * steady) / total,
        ]

    def _entropy(self, power: tf.Tensor) -> list[tf.Tensor]:
        """Entropy of each frame's spectrum: low for tones, high for noise, both in speech."""
        band = power[..., self._band]
        share = band / (tf.reduce_sum(band, axis=-1, keepdims=True) + _TINY)
        entropy = -tf.reduce_sum(share * tf.math.log(share + _TINY), axis=-1)
        return [
            tf.reduce_mean(entropy),
            tf.math.reduce_std(entropy),
            tf.reduce_mean(_difference(entropy, 1)),
        ]


def _changes(decibels: tf.Tensor) -> list[tf.Tensor]:
    """How the level and the spectrum's shape change over time, and how rough the shape is.

    Args:
        decibels: float32 [n, frames, BANDS].
    """
    level = tf.reduce_mean(decibels, axis=2, keepdims=True)
    shape = decibels - level
    changes = [
        tf.reduce_mean(_difference(values, lag)) for lag in LAGS_FRAMES for values in (level, shape)
    ]
    frames = tf.reshape(decibels, [-1, BANDS])
    shapes = tf.reshape(shape, [-1, BANDS])
    centred = frames - tf.reduce_mean(frames, axis=0)
    normal = centred / (tf.math.reduce_std(frames, axis=0) + _TINY)
    together = tf.reduce_mean(tf.square(tf.reduce_sum(normal, axis=1)))
    neighbours = shape[..., 1:] - shape[..., :-1]
    mean_shape = tf.reduce_mean(shapes, axis=0)
    return [
        tf.reduce_mean(tf.math.reduce_std(frames, axis=0)),
        tf.math.reduce_std(level),
        *changes,
        tf.reduce_mean(tf.math.reduce_std(shapes, axis=0)),
        (together - BANDS) / (BANDS * (BANDS - 1)),  # the bands' mean correlation
        tf.reduce_mean(tf.abs(neighbours)),
        tf.reduce_mean(tf.abs(neighbours[..., 1:] - neighbours[..., :-1])),
        tf.reduce_mean(tf.abs(mean_shape[1:] - mean_shape[:-1])),
    ]


def _between(hertz: np.ndarray, lowest: float, highest: float) -> slice:
    """The slice of rising frequencies from `lowest` to `highest`."""
    return slice(int(np.searchsorted(hertz, lowest)), int(np.searchsorted(hertz, highest, "right")))


def _difference(values: tf.Tensor, lag: int) -> tf.Tensor:
    """Magnitude of the change over `lag` frames of [n, frames, ...]."""
    return tf.abs(values[:, lag:] - values[:, :-lag])


def _released_weights() -> dict[str, Any]:
    text = resources.files("pretrained").joinpath(WEIGHTS_FILE).read_text("utf-8")
    weights: dict[str, Any] = json.loads(text)
    return weights
