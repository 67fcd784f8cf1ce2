"""From waveform to quantised log-mel window: the one implementation of the front end.

Beam calls these layers when it prepares data and the served model contains them, so
training and serving cannot differ. Everything is built from core TensorFlow ops.
"""

import math
from typing import Any, Self

import keras
import librosa
import numpy as np
import tensorflow as tf

from components.settings import SpectrogramSettings, SpeechSettings

MILLISECONDS = 1000
INT16_PEAK = 32767.0
INT16_FULL_SCALE = 32768.0
UINT8_PEAK = 255.0
# librosa.power_to_db's default; keeps the logarithm finite.
MIN_POWER = 1e-10


def to_pcm16(waveform: tf.Tensor, peak: tf.Tensor) -> tf.Tensor:
    """Peak-normalised 16-bit samples, truncated towards zero.

    Args:
        waveform: float32 [samples].
        peak: float32 scalar, the recording's largest magnitude, above zero.

    Returns:
        int16 [samples], `waveform / peak * 32767`.
    """
    return tf.cast(waveform / peak * INT16_PEAK, tf.int16)


def to_waveform(pcm16: tf.Tensor) -> tf.Tensor:
    """int16 samples of any shape as float32, full scale 1."""
    return tf.cast(pcm16, tf.float32) / INT16_FULL_SCALE


def rms_dbfs(pcm16: np.ndarray) -> float:
    """RMS level of int16 samples in dB relative to full scale; -inf for digital silence."""
    mean_square = np.mean(np.square(pcm16.astype(np.float64)))
    with np.errstate(divide="ignore"):
        return float(10.0 * np.log10(mean_square / INT16_FULL_SCALE**2))


@keras.saving.register_keras_serializable(package="swar")
class SilenceDetector(keras.layers.Layer):
    """Finds the speech that pydub's `split_on_silence` keeps, without its loop.

    A slice of `min_silence_ms` is silent when its RMS, truncated to an integer, is at
    most `threshold_dbfs`; slices start at every millisecond. Silent slices that touch or
    overlap form one silence; what remains, widened by `keep_silence_ms` on both sides,
    is kept. Source: pydub 0.25.1, `pydub/silence.py`.
    """

    def __init__(
        self,
        sample_rate: int,
        threshold_dbfs: float,
        min_silence_ms: int,
        keep_silence_ms: int,
        **kwargs: Any,
    ) -> None:
        super().__init__(**({"trainable": False, "dtype": "float32"} | kwargs))
        self.sample_rate = sample_rate
        self.threshold_dbfs = threshold_dbfs
        self.min_silence_ms = min_silence_ms
        self.keep_silence_ms = keep_silence_ms

    @classmethod
    def of(cls, settings: SpeechSettings) -> Self:
        """The detector that the settings ask for."""
        return cls(
            sample_rate=settings.sample_rate,
            threshold_dbfs=settings.silence_threshold_dbfs,
            min_silence_ms=settings.min_silence_ms,
            keep_silence_ms=settings.keep_silence_ms,
        )

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return dict(super().get_config()) | {
            "sample_rate": self.sample_rate,
            "threshold_dbfs": self.threshold_dbfs,
            "min_silence_ms": self.min_silence_ms,
            "keep_silence_ms": self.keep_silence_ms,
        }

    def _boundary(self, millisecond: tf.Tensor) -> tf.Tensor:
        """First sample at or after a millisecond, as pydub counts: `ms * rate // 1000`."""
        return millisecond * self.sample_rate // MILLISECONDS

    def millisecond_energy(self, seconds: tf.Tensor) -> tf.Tensor:
        """Sum of squares of each millisecond.

        Exact integers, so that a long recording may be given second by second.

        Args:
            seconds: int16 [n, sample_rate], whole seconds, the last one padded with zeros.

        Returns:
            int64 [n * 1000].
        """
        # Millisecond boundaries repeat after rate / gcd(rate, 1000) samples: summing is one
        # product with a matrix of zeros and ones, exact in float64.
        cycles = math.gcd(self.sample_rate, MILLISECONDS)
        squares = tf.square(
            tf.cast(tf.reshape(seconds, [-1, self.sample_rate // cycles]), tf.float64)
        )
        millisecond = np.arange(MILLISECONDS // cycles + 1) * self.sample_rate // MILLISECONDS
        sample = np.arange(self.sample_rate // cycles)[:, np.newaxis]
        belongs = (millisecond[:-1] <= sample) & (sample < millisecond[1:])
        energy = tf.matmul(squares, tf.constant(belongs, tf.float64))
        return tf.cast(tf.reshape(energy, [-1]), tf.int64)

    def kept_ranges(self, energy: tf.Tensor, samples: tf.Tensor) -> tf.Tensor:
        """Ranges of samples to keep, in order.

        Args:
            energy: int64 [milliseconds], at least as long as the recording.
            samples: int64 scalar, the recording's length.

        Returns:
            int64 [ranges, 2], start and end in samples. The last end may lie up to half a
            millisecond behind the recording: pydub pads it with zeros there.
        """
        # pydub's length: round(), half to even, of the exact milliseconds.
        exact_ms = tf.cast(samples, tf.float64) * MILLISECONDS / self.sample_rate
        length_ms = tf.cast(tf.round(exact_ms), tf.int64)
        silent = self._silent_starts(energy, length_ms)
        ranges_ms = self._between_silences(silent, length_ms)
        return self._boundary(self._widened(ranges_ms, length_ms))

    def _silent_starts(self, energy: tf.Tensor, length_ms: tf.Tensor) -> tf.Tensor:
        """int64 [n]: every millisecond at which a silent slice starts."""
        running = tf.pad(tf.cumsum(energy[:length_ms]), [[1, 0]])
        slices = tf.maximum(length_ms - self.min_silence_ms + 1, 0)
        starts = tf.range(slices)
        square_sum = running[self.min_silence_ms :][:slices] - running[:slices]
        samples = self._boundary(starts + self.min_silence_ms) - self._boundary(starts)
        rms = tf.floor(tf.sqrt(tf.cast(square_sum, tf.float64) / tf.cast(samples, tf.float64)))
        threshold = 10.0 ** (self.threshold_dbfs / 20.0) * INT16_FULL_SCALE
        return tf.boolean_mask(starts, rms <= threshold)

    def _between_silences(self, silent: tf.Tensor, length_ms: tf.Tensor) -> tf.Tensor:
        """int64 [ranges, 2], milliseconds that no silence covers."""
        new_silence = silent[1:] > silent[:-1] + self.min_silence_ms
        silence_starts = tf.concat([silent[:1], tf.boolean_mask(silent[1:], new_silence)], 0)
        last_slices = tf.concat([tf.boolean_mask(silent[:-1], new_silence), silent[-1:]], 0)
        starts = tf.concat([[tf.zeros([], tf.int64)], last_slices + self.min_silence_ms], 0)
        ends = tf.concat([silence_starts, [length_ms]], 0)
        ranges = tf.stack([starts, ends], axis=1)
        return tf.boolean_mask(ranges, ends > starts)

    def _widened(self, ranges: tf.Tensor, length_ms: tf.Tensor) -> tf.Tensor:
        """The ranges with `keep_silence_ms` on both sides; overlaps meet in the middle."""
        starts = ranges[:, 0] - self.keep_silence_ms
        ends = ranges[:, 1] + self.keep_silence_ms
        overlaps = starts[1:] < ends[:-1]
        middle = (starts[1:] + ends[:-1]) // 2
        starts = tf.concat([starts[:1], tf.where(overlaps, middle, starts[1:])], 0)
        ends = tf.concat([tf.where(overlaps, middle, ends[:-1]), ends[-1:]], 0)
        return tf.stack([tf.maximum(starts, 0), tf.minimum(ends, length_ms)], axis=1)

    def call(self, pcm16: tf.Tensor) -> tf.Tensor:
        """The speech of a recording, its pieces joined.

        Args:
            pcm16: int16 [samples].

        Returns:
            int16 [kept samples].
        """
        samples = tf.size(pcm16, out_type=tf.int64)
        padded = tf.pad(pcm16, [[0, tf.math.floormod(-samples, self.sample_rate)]])
        energy = self.millisecond_energy(tf.reshape(padded, [-1, self.sample_rate]))
        ranges = self.kept_ranges(energy, samples)
        # Slices: an index for each sample would cost more than all that finds the silence.
        kept = tf.map_fn(
            lambda kept_range: padded[kept_range[0] : kept_range[1]],
            ranges,
            fn_output_signature=tf.RaggedTensorSpec([None], tf.int16, ragged_rank=0),
        )
        return tf.reshape(kept.values, [-1])


@keras.saving.register_keras_serializable(package="swar")
class LogMelSpectrogram(keras.layers.Layer):
    """Log-mel power of windows in dB below each window's peak.

    librosa's `power_to_db(melspectrogram(...), ref=max, top_db=top_db)`: centred frames
    over zero padding, periodic Hann window, Slaney mel bands. Added up in float64: the order in
    which a machine, a graph optimiser or a batch does it must not show in the quantised bytes.
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
        self.sample_rate = sample_rate
        self.n_fft = n_fft
        self.hop_samples = hop_samples
        self.n_mels = n_mels
        self.top_db = top_db
        self._taper = librosa.filters.get_window("hann", n_fft).astype(np.float32)
        basis = librosa.filters.mel(sr=sample_rate, n_fft=n_fft, n_mels=n_mels, dtype=np.float64)
        # A frequency lies in two bands at most: the dense product would be the slowest step.
        self._band_frequency = np.argwhere(basis)
        self._weight = basis[basis != 0.0]
        self._bands_by_frequencies = basis.shape

    @classmethod
    def of(cls, sample_rate: int, settings: SpectrogramSettings) -> Self:
        """The spectrogram that the settings ask for, of samples at a rate in Hz."""
        return cls(
            sample_rate=sample_rate,
            n_fft=settings.n_fft,
            hop_samples=settings.hop_samples,
            n_mels=settings.n_mels,
            top_db=settings.top_db,
        )

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return dict(super().get_config()) | {
            "sample_rate": self.sample_rate,
            "n_fft": self.n_fft,
            "hop_samples": self.hop_samples,
            "n_mels": self.n_mels,
            "top_db": self.top_db,
        }

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
        """float64 [windows, n_mels, frames] of float64 [windows, frames, frequencies]."""
        shape = tf.shape(power)
        basis = tf.SparseTensor(self._band_frequency, self._weight, self._bands_by_frequencies)
        by_frequency = tf.transpose(tf.reshape(power, [-1, self._bands_by_frequencies[1]]))
        mel = tf.sparse.sparse_dense_matmul(basis, by_frequency)
        return tf.transpose(tf.reshape(mel, [self.n_mels, shape[0], shape[1]]), [1, 0, 2])


@keras.saving.register_keras_serializable(package="swar")
class Quantise(keras.layers.Layer):
    """dB in [-top_db, 0] to uint8: 0 is -top_db, 255 the window's peak."""

    def __init__(self, top_db: float, **kwargs: Any) -> None:
        super().__init__(**({"trainable": False, "dtype": "float32"} | kwargs))
        self.top_db = top_db

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return dict(super().get_config()) | {"top_db": self.top_db}

    def call(self, decibels: tf.Tensor) -> tf.Tensor:
        """uint8 of float32 of any shape, rounded to the nearest step."""
        steps = tf.round((decibels + self.top_db) * (UINT8_PEAK / self.top_db))
        return tf.cast(steps, tf.uint8)
