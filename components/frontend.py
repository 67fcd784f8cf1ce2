"""From waveform to quantised log-mel window: the one implementation of the front end.

Beam calls these layers when it prepares data and the served model contains them, so
training and serving cannot differ. Everything is built from core TensorFlow ops.
"""

import math
from typing import Any, Self

import keras
import numpy as np
import tensorflow as tf

from components.mel import hann, mel_bands
from components.settings import SpectrogramSettings

INT16_PEAK = 32767.0
INT16_FULL_SCALE = 32768.0
UINT8_PEAK = 255.0
# librosa.power_to_db's default; keeps the logarithm finite.
MIN_POWER = 1e-10


def to_pcm16(waveform: tf.Tensor, full_scale: tf.Tensor) -> tf.Tensor:
    """16-bit samples, truncated towards zero and clipped.

    Args:
        waveform: float32 of any shape.
        full_scale: float32 scalar, the magnitude that becomes full scale, above zero.

    Returns:
        int16, `waveform / full_scale * 32767`.
    """
    scaled = waveform / full_scale * INT16_PEAK
    return tf.cast(tf.clip_by_value(scaled, -INT16_PEAK, INT16_PEAK), tf.int16)


def to_waveform(pcm16: tf.Tensor) -> tf.Tensor:
    """int16 samples of any shape as float32, full scale 1."""
    return tf.cast(pcm16, tf.float32) / INT16_FULL_SCALE


def rms_dbfs(pcm16: np.ndarray) -> float:
    """RMS level of int16 samples in dB relative to full scale; -inf for digital silence."""
    mean_square = np.mean(np.square(pcm16.astype(np.float64)))
    with np.errstate(divide="ignore"):
        return float(10.0 * np.log10(mean_square / INT16_FULL_SCALE**2))


class LogMelSpectrogram(keras.layers.Layer):
    """Log-mel power of windows in dB below each window's peak.

    librosa's `power_to_db(melspectrogram(...), ref=max, top_db=top_db)`: centred frames
    over zero padding, periodic Hann window, Slaney mel bands. Sums are in float64, so that their
    order on a machine, in an optimised graph or in a batch does not change the quantised bytes.
    """

    def __init__(
        self,
        sample_rate: int,
        n_fft: int,
        hop_samples: int,
        n_mels: int,
        top_db: float,
        **kwargs: Any,
    ) -> None:
        super().__init__(**({"trainable": False, "dtype": "float32"} | kwargs))
        self.n_fft = n_fft
        self.hop_samples = hop_samples
        self.n_mels = n_mels
        self.top_db = top_db
        self._taper = hann(n_fft).astype(np.float32)
        basis = mel_bands(sample_rate, n_fft, n_mels)
        # Sparse: a frequency lies in two bands at most, a dense product would be the slowest step.
        self._band_frequency = np.argwhere(basis)
        self._weight = basis[basis != 0.0]
        self._bands_by_frequencies = basis.shape

    @classmethod
    def of(cls, sample_rate: int, settings: SpectrogramSettings) -> Self:
        """Makes the layer from settings, for samples at a rate in Hz."""
        return cls(
            sample_rate=sample_rate,
            n_fft=settings.n_fft,
            hop_samples=settings.hop_samples,
            n_mels=settings.n_mels,
            top_db=settings.top_db,
        )

    def call(self, waveform: tf.Tensor) -> tf.Tensor:
        """Spectrograms of windows.

        Args:
            waveform: float32 [windows, samples], full scale 1.

        Returns:
            float32 [windows, n_mels, frames], in [-top_db, 0].
        """
        half = self.n_fft // 2
        padded = tf.pad(waveform, [[0, 0], [half, half]])
        frames = tf.signal.frame(padded, self.n_fft, self.hop_samples)
        spectrum = tf.signal.rfft(frames * self._taper, [self.n_fft])
        parts = (tf.math.real(spectrum), tf.math.imag(spectrum))
        power = tf.add_n([tf.square(tf.cast(part, tf.float64)) for part in parts])
        mel = self._mel_power(power)
        decibels = tf.math.log(tf.maximum(mel, MIN_POWER)) * (10.0 / math.log(10.0))
        peak = tf.reduce_max(decibels, axis=[1, 2], keepdims=True)
        return tf.cast(tf.maximum(decibels - peak, -self.top_db), tf.float32)

    def _mel_power(self, power: tf.Tensor) -> tf.Tensor:
        """float64 [windows, n_mels, frames] from float64 [windows, frames, frequencies]."""
        shape = tf.shape(power)
        basis = tf.SparseTensor(self._band_frequency, self._weight, self._bands_by_frequencies)
        by_frequency = tf.transpose(tf.reshape(power, [-1, self._bands_by_frequencies[1]]))
        mel = tf.sparse.sparse_dense_matmul(basis, by_frequency)
        return tf.transpose(tf.reshape(mel, [self.n_mels, shape[0], shape[1]]), [1, 0, 2])


class Quantise(keras.layers.Layer):
    """Quantises dB in [-top_db, 0] to uint8: 0 is -top_db, 255 the window's peak."""

    def __init__(self, top_db: float, **kwargs: Any) -> None:
        super().__init__(**({"trainable": False, "dtype": "float32"} | kwargs))
        self.top_db = top_db

    def call(self, decibels: tf.Tensor) -> tf.Tensor:
        """Rounds float32 of any shape to the nearest step, uint8."""
        steps = tf.round((decibels + self.top_db) * (UINT8_PEAK / self.top_db))
        return tf.cast(steps, tf.uint8)
