"""Finds the speech of a recording and its level, in Beam and in the served model.

There are two rules. `adaptive` takes the level and the threshold from the recording's own speech
and background, so that a click, a constant voltage, hum or noise does not affect all of it.
`article` is the article's: pydub's `split_on_silence` after normalising to the peak.
"""

import math
from typing import Any, Final, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from components.frontend import INT16_FULL_SCALE, INT16_PEAK, to_pcm16
from components.high_pass import HighPass
from components.settings import SpeechSettings

MILLISECONDS: Final = 1000
FRAME_MS: Final = 20
FLOOR_PERCENT: Final = 10
"""Percentage of a recording's frames that are no louder than its background."""
ABOVE_FLOOR_DB: Final = 6.0
"""Frames with speech are more than this above the background."""
LOUDEST_PERCENT: Final = 95
BELOW_LOUDEST_DB: Final = 30.0
"""Frames with speech are less than this below the loudest ones, clicks excluded."""
LEVEL_PERCENT: Final = 75
"""Percentage of the frames with speech that are no louder than its level."""
LEVEL_DBFS: Final = -20.0
"""RMS level that speech is scaled to; what is 20 dB above it is clipped."""
SILENCE_BELOW_LEVEL_DB: Final = 20.0
SILENCE_ABOVE_FLOOR_DB: Final = 1.5
LEAST_LEVEL_DBFS: Final = -70.0
"""A recording whose loudest frames are below it is silent: ten 16-bit steps, rounding noise."""


class Speech(NamedTuple):
    """The speech of a recording; scalars except the ranges."""

    full_scale: tf.Tensor
    """float32, the magnitude that becomes full scale; above 0."""
    ranges: tf.Tensor
    """int64 [n, 2], start and end in samples, in order. The last end may lie up to half a
    millisecond behind the recording, where zeros are appended."""
    is_silent: tf.Tensor
    """bool: not even noise is audible; the ranges do not count then."""


class SpeechDetector(keras.layers.Layer):
    """Finds the speech of a recording; subclasses define what is silent.

    A slice of `min_silence_ms` is silent when its mean square is below a limit; slices start at
    every millisecond. Silent slices that touch or overlap form one silence; what remains, widened
    by `keep_silence_ms` on both sides, is kept. Source: pydub 0.25.1, `pydub/silence.py`.

    A long recording is processed in parts: `filter_blocks`, `millisecond_energy` and `to_pcm16`
    take one part, `detect` takes their results. `call` takes a whole recording.
    """

    def __init__(
        self, sample_rate: int, min_silence_ms: int, keep_silence_ms: int, **kwargs: Any
    ) -> None:
        super().__init__(**({"trainable": False, "dtype": "float32"} | kwargs))
        self.sample_rate = sample_rate
        self.min_silence_ms = min_silence_ms
        self.keep_silence_ms = keep_silence_ms

    @property
    def block_samples(self) -> int:
        """Parts that `filter_blocks` takes start at multiples of this."""
        raise NotImplementedError

    @property
    def context_samples(self) -> int:
        """Number of samples before and after a part that `filter_blocks` needs."""
        raise NotImplementedError

    def filter_blocks(self, samples: tf.Tensor) -> tf.Tensor:
        """Removes what no voice makes.

        Args:
            samples: float32 [context_samples + n + context_samples], n a multiple of
                `block_samples`; beyond the recording its first or last sample is repeated.

        Returns:
            float32 [n].
        """
        raise NotImplementedError

    def measured_full_scale(self, peak: tf.Tensor) -> tf.Tensor:
        """The magnitude that is full scale when energy is measured, float32 scalar.

        Args:
            peak: float32 scalar, the filtered recording's largest magnitude.
        """
        raise NotImplementedError

    def detect(self, energy: tf.Tensor, samples: tf.Tensor, peak: tf.Tensor) -> Speech:
        """Detects the speech.

        Args:
            energy: int64 [milliseconds], energy of the samples at `measured_full_scale`; at
                least as long as the recording.
            samples: int64 scalar, the recording's length.
            peak: float32 scalar, the filtered recording's largest magnitude.
        """
        raise NotImplementedError

    def _boundary(self, millisecond: tf.Tensor) -> tf.Tensor:
        """First sample at or after a millisecond, as pydub counts: `ms * rate // 1000`."""
        return millisecond * self.sample_rate // MILLISECONDS

    def millisecond_energy(self, seconds: tf.Tensor) -> tf.Tensor:
        """Sum of squares of each millisecond.

        The sums are exact, so that a long recording may be given second by second.

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

    def _length_ms(self, samples: tf.Tensor) -> tf.Tensor:
        """The milliseconds, int64 scalar, rounded as in pydub, half to even."""
        exact_ms = tf.cast(samples, tf.float64) * MILLISECONDS / self.sample_rate
        return tf.cast(tf.round(exact_ms), tf.int64)

    def _kept_ranges(
        self, energy: tf.Tensor, samples: tf.Tensor, silent_below: tf.Tensor
    ) -> tf.Tensor:
        """The ranges of `Speech`; slices with a mean square below a float64 scalar are silent."""
        length_ms = self._length_ms(samples)
        silent = self._silent_starts(energy, length_ms, silent_below)
        ranges_ms = self._between_silences(silent, length_ms)
        return self._boundary(self._widened(ranges_ms, length_ms))

    def _silent_starts(
        self, energy: tf.Tensor, length_ms: tf.Tensor, silent_below: tf.Tensor
    ) -> tf.Tensor:
        """int64 [n]: every millisecond at which a silent slice starts."""
        running = tf.pad(tf.cumsum(energy[:length_ms]), [[1, 0]])
        slices = tf.maximum(length_ms - self.min_silence_ms + 1, 0)
        starts = tf.range(slices)
        square_sum = running[self.min_silence_ms :][:slices] - running[:slices]
        samples = self._boundary(starts + self.min_silence_ms) - self._boundary(starts)
        mean_square = tf.cast(square_sum, tf.float64) / tf.cast(samples, tf.float64)
        return tf.boolean_mask(starts, mean_square < silent_below)

    def _between_silences(self, silent: tf.Tensor, length_ms: tf.Tensor) -> tf.Tensor:
        """The ranges that no silence covers, int64 [ranges, 2], in ms."""
        new_silence = silent[1:] > silent[:-1] + self.min_silence_ms
        silence_starts = tf.concat([silent[:1], tf.boolean_mask(silent[1:], new_silence)], 0)
        last_slices = tf.concat([tf.boolean_mask(silent[:-1], new_silence), silent[-1:]], 0)
        starts = tf.concat([[tf.zeros([], tf.int64)], last_slices + self.min_silence_ms], 0)
        ends = tf.concat([silence_starts, [length_ms]], 0)
        ranges = tf.stack([starts, ends], axis=1)
        return tf.boolean_mask(ranges, ends > starts)

    def _widened(self, ranges: tf.Tensor, length_ms: tf.Tensor) -> tf.Tensor:
        """Adds `keep_silence_ms` on both sides of ranges; overlapping ones meet in the middle."""
        starts = ranges[:, 0] - self.keep_silence_ms
        ends = ranges[:, 1] + self.keep_silence_ms
        overlaps = starts[1:] < ends[:-1]
        middle = (starts[1:] + ends[:-1]) // 2
        starts = tf.concat([starts[:1], tf.where(overlaps, middle, starts[1:])], 0)
        ends = tf.concat([tf.where(overlaps, middle, ends[:-1]), ends[-1:]], 0)
        return tf.stack([tf.maximum(starts, 0), tf.minimum(ends, length_ms)], axis=1)

    def call(self, waveform: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """The speech of a recording, its pieces joined.

        Args:
            waveform: float32 [samples], full scale 1.

        Returns:
            int16 [kept samples], and the bool scalar `is_silent`.
        """
        samples = tf.size(waveform, out_type=tf.int64)
        filtered = self.filter_blocks(self._with_context(waveform))[:samples]
        peak = tf.maximum(tf.reduce_max(tf.abs(filtered)), 0.0)  # no samples: lowest float
        padded = tf.pad(filtered, [[0, tf.math.floormod(-samples, self.sample_rate)]])
        measured = to_pcm16(padded, self.measured_full_scale(peak))
        energy = self.millisecond_energy(tf.reshape(measured, [-1, self.sample_rate]))
        speech = self.detect(energy, samples, peak)
        pcm16 = to_pcm16(padded, speech.full_scale)
        # Slices, as an index for each sample would cost more than the whole detection.
        kept = tf.map_fn(
            lambda kept_range: pcm16[kept_range[0] : kept_range[1]],
            speech.ranges,
            fn_output_signature=tf.RaggedTensorSpec([None], tf.int16, ragged_rank=0),
        )
        return tf.reshape(kept.values, [-1]), speech.is_silent

    def _with_context(self, waveform: tf.Tensor) -> tf.Tensor:
        """Pads float32 [samples] for `filter_blocks`."""
        context = self.context_samples
        missing = tf.math.floormod(-tf.size(waveform), self.block_samples)
        before = tf.repeat(waveform[:1], context)
        after = tf.repeat(waveform[-1:], missing + context)
        return tf.concat([before, waveform, after], axis=0)


class ArticleDetector(SpeechDetector):
    """The article's rule: the peak is full scale, a slice is silent up to a fixed level.

    A slice is silent if its RMS, truncated to an integer, is at most `threshold_dbfs`.
    """

    def __init__(
        self,
        sample_rate: int,
        threshold_dbfs: float,
        min_silence_ms: int,
        keep_silence_ms: int,
        **kwargs: Any,
    ) -> None:
        super().__init__(sample_rate, min_silence_ms, keep_silence_ms, **kwargs)
        self.threshold_dbfs = threshold_dbfs

    @property
    def block_samples(self) -> int:
        """1: parts start anywhere."""
        return 1

    @property
    def context_samples(self) -> int:
        """0: no context is needed."""
        return 0

    def filter_blocks(self, samples: tf.Tensor) -> tf.Tensor:
        """The samples as they are."""
        return samples

    def measured_full_scale(self, peak: tf.Tensor) -> tf.Tensor:
        """The peak; 1 for no samples and for digital silence."""
        return tf.where(peak > 0.0, peak, 1.0)

    def detect(self, energy: tf.Tensor, samples: tf.Tensor, peak: tf.Tensor) -> Speech:
        """Speech is what no silent slice covers; the level stays as measured."""
        threshold = 10.0 ** (self.threshold_dbfs / 20.0) * INT16_FULL_SCALE
        silent_below = tf.constant((math.floor(threshold) + 1.0) ** 2, tf.float64)
        return Speech(
            self.measured_full_scale(peak),
            self._kept_ranges(energy, samples, silent_below),
            peak <= 0.0,
        )


class AdaptiveDetector(SpeechDetector):
    """Takes level and threshold from the recording's own speech and background.

    The quietest tenth of its 20 ms frames gives the background. Frames with speech are 6 dB above
    it, and no more than 30 dB below the loudest twentieth; three quarters of them are no louder
    than the level. What is 20 dB below the level, or within 1.5 dB of the background, is silent.
    Before, a high-pass removes what no voice makes.
    """

    def __init__(
        self, sample_rate: int, min_silence_ms: int, keep_silence_ms: int, **kwargs: Any
    ) -> None:
        super().__init__(sample_rate, min_silence_ms, keep_silence_ms, **kwargs)
        self._high_pass = HighPass(sample_rate)

    @property
    def block_samples(self) -> int:
        """That of the high-pass."""
        return self._high_pass.block_samples

    @property
    def context_samples(self) -> int:
        """That of the high-pass."""
        return self._high_pass.context_samples

    def filter_blocks(self, samples: tf.Tensor) -> tf.Tensor:
        """Removes what lies below the voice: a constant voltage, hum, rumble."""
        return self._high_pass(samples)

    def measured_full_scale(self, peak: tf.Tensor) -> tf.Tensor:
        """1, so that silence is not amplified; the peak if it is higher."""
        return tf.maximum(peak, 1.0)

    def detect(self, energy: tf.Tensor, samples: tf.Tensor, peak: tf.Tensor) -> Speech:
        """Speech is what is neither near the background nor far below the level."""
        frames = self._sorted_frames(energy, samples)
        floor = _percentile(frames, FLOOR_PERCENT)
        loudest = _percentile(tf.boolean_mask(frames, frames > 0.0), LOUDEST_PERCENT)
        least = tf.maximum(_times_db(floor, ABOVE_FLOOR_DB), _times_db(loudest, -BELOW_LOUDEST_DB))
        level = _percentile(tf.boolean_mask(frames, frames > least), LEVEL_PERCENT)
        is_silent = self._is_silent(loudest, peak)
        silent_below = tf.maximum(
            _times_db(level, -SILENCE_BELOW_LEVEL_DB), _times_db(floor, SILENCE_ABOVE_FLOOR_DB)
        )
        ranges = self._kept_ranges(energy, samples, silent_below)
        full_scale = self._full_scale(_times_db(level, -LEVEL_DBFS), peak)
        has_level = (level > 0.0) & ~is_silent
        return Speech(
            tf.where(has_level, full_scale, 1.0),
            tf.cond(has_level, lambda: ranges, lambda: ranges[:0]),
            is_silent,
        )

    def _is_silent(self, loudest: tf.Tensor, peak: tf.Tensor) -> tf.Tensor:
        least = tf.cast(10.0 ** (LEAST_LEVEL_DBFS / 20.0), tf.float32)
        return self._full_scale(loudest, peak) < least

    def _full_scale(self, mean_square: tf.Tensor, peak: tf.Tensor) -> tf.Tensor:
        """The recording's magnitude, float32, for a mean square in measured steps."""
        steps = tf.cast(tf.sqrt(mean_square), tf.float32)
        return steps / INT16_PEAK * self.measured_full_scale(peak)

    def _sorted_frames(self, energy: tf.Tensor, samples: tf.Tensor) -> tf.Tensor:
        """Mean squares of whole frames, float64 [frames], rising."""
        frames = self._length_ms(samples) // FRAME_MS
        summed = tf.reduce_sum(tf.reshape(energy[: frames * FRAME_MS], [-1, FRAME_MS]), axis=1)
        frame_samples = FRAME_MS * self.sample_rate / MILLISECONDS
        return tf.cast(tf.sort(summed), tf.float64) / frame_samples


def detector_of(settings: SpeechSettings) -> SpeechDetector:
    """The detector of `settings.silence_rule`."""
    if settings.silence_rule == "article":
        return ArticleDetector(
            settings.sample_rate,
            settings.silence_threshold_dbfs,
            settings.min_silence_ms,
            settings.keep_silence_ms,
        )
    return AdaptiveDetector(settings.sample_rate, settings.min_silence_ms, settings.keep_silence_ms)


def _percentile(rising: tf.Tensor, percent: int) -> tf.Tensor:
    """The value that `percent` of float64 [n] do not exceed; 0 if n is 0."""
    count = tf.size(rising)
    position = tf.maximum(count - 1, 0) * percent // 100
    return tf.cond(count > 0, lambda: rising[position], lambda: tf.zeros([], tf.float64))


def _times_db(power: tf.Tensor, decibels: float) -> tf.Tensor:
    return power * 10.0 ** (decibels / 10.0)
