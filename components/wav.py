"""Decodes a WAV in a string tensor with core TensorFlow ops, whatever its bytes are.

`tf.audio.decode_wav` fails the whole batch on one item that it cannot read. Nothing fails
here: an item that is no 16-bit PCM WAV has `is_pcm16` false.
"""

from typing import Final, NamedTuple

import tensorflow as tf

from components.decoding.headers import UNPADDED_CHUNKS
from components.downmix import (
    CANCELLED,
    FAINT_POWER,
    FRAME_SECONDS,
    MOST_CHANNELS,
    STEADY,
    VARYING,
)
from components.frontend import INT16_FULL_SCALE

# Real files have a handful. Each chunk costs a step, and a hostile file could have millions.
MAX_CHUNKS: Final = 128
# Microsoft's multimedia registry: WAVE_FORMAT_PCM, WAVE_FORMAT_EXTENSIBLE and the sub-format
# KSDATAFORMAT_SUBTYPE_PCM.
_PCM: Final = 1
_EXTENSIBLE: Final = 0xFFFE
_PCM_SUBFORMAT: Final = bytes.fromhex("0100000000001000800000aa00389b71")
_PCM_BYTES: Final = 16
_EXTENSIBLE_BYTES: Final = 40
_UNKNOWN: Final = 0xFFFF_FFFF
_SAMPLE_BYTES: Final = 2


class Header(NamedTuple):
    """Format and extent of one WAV. All scalars; int64 except `is_pcm16`."""

    is_pcm16: tf.Tensor
    """bool; where it is false, `frames` is 0."""
    sample_rate: tf.Tensor
    """Hz."""
    channels: tf.Tensor
    """At least 1."""
    data_start: tf.Tensor
    """Position of the first sample, in bytes."""
    frames: tf.Tensor
    """Samples of each channel that are declared and that the WAV holds."""


class _Chunks(NamedTuple):
    """State of the walk over the chunks; -1 for what is not found yet."""

    position: tf.Tensor
    walked: tf.Tensor
    format_start: tf.Tensor
    format_bytes: tf.Tensor
    data_start: tf.Tensor
    data_bytes: tf.Tensor


def read_header(wav: tf.Tensor) -> Header:
    """Finds `fmt ` and `data` among the chunks of a RIFF file, in any order.

    A data size beyond the end means "to the end", and so do the sizes of recorders that write to
    a pipe: all ones, or 0 if the RIFF size is all ones or ends before the samples too. The rule is
    that of `decoding.headers`.

    Args:
        wav: string scalar, any bytes.
    """
    length = _length(wav)
    is_riff = (_cut(wav, 0, 4) == b"RIFF") & (_cut(wav, 8, 4) == b"WAVE")
    chunks = _walk(wav, length)

    words = tf.io.decode_raw(
        _cut(wav, chunks.format_start, tf.clip_by_value(chunks.format_bytes, 0, _EXTENSIBLE_BYTES)),
        tf.uint16,
        fixed_length=_EXTENSIBLE_BYTES,
    )
    # WAVEFORMATEX: tag, channels, rate, bytes per second, bytes per frame, bits per sample.
    tag, channels, rate_low, rate_high, _, _, _, bits = tf.unstack(tf.cast(words[:8], tf.int64))
    subformat = _cut(wav, chunks.format_start + _EXTENSIBLE_BYTES - 16, 16)
    is_extensible = (
        (tag == _EXTENSIBLE)
        & (chunks.format_bytes >= _EXTENSIBLE_BYTES)
        & (subformat == _PCM_SUBFORMAT)
    )
    is_pcm = (tag == _PCM) & (chunks.format_bytes >= _PCM_BYTES)
    is_pcm16 = (
        is_riff
        & (is_pcm | is_extensible)
        & (bits == 8 * _SAMPLE_BYTES)
        & (channels > 0)
        & (chunks.data_start >= 0)
    )
    channels = tf.maximum(channels, 1)
    there = length - chunks.data_start
    riff_bytes = _uint32(wav, 4)
    open_ended = (chunks.data_bytes == 0) & (
        (riff_bytes == _UNKNOWN) | (riff_bytes + 8 <= chunks.data_start)
    )
    data_bytes = tf.where(open_ended, there, tf.minimum(chunks.data_bytes, there))
    frames = tf.where(is_pcm16, data_bytes // (_SAMPLE_BYTES * channels), 0)
    return Header(
        is_pcm16=is_pcm16,
        sample_rate=rate_low + rate_high * 2**16,
        channels=channels,
        data_start=tf.maximum(chunks.data_start, 0),
        frames=frames,
    )


def read_mono(wav: tf.Tensor, header: Header) -> tf.Tensor:
    """The mean of the channels that are used, see `downmix.used_channels`.

    Args:
        wav: string scalar.
        header: this WAV's header; with fewer `frames` only the beginning is read.

    Returns:
        float32 [frames], full scale 1.
    """
    size = header.frames * header.channels * _SAMPLE_BYTES
    pcm16 = tf.io.decode_raw(_cut(wav, header.data_start, size), tf.int16)
    samples = tf.cast(pcm16, tf.float32)
    interleaved = tf.reshape(samples, tf.stack([header.frames, header.channels]))
    # Sums along an axis of length 1 are slow, and most recordings have one channel.
    mono = tf.switch_case(
        tf.where(header.channels == 1, 0, tf.where(header.channels <= MOST_CHANNELS, 1, 2)),
        [
            lambda: samples,
            lambda: _mean_of_used(interleaved, header.sample_rate),
            lambda: tf.reduce_mean(interleaved, axis=1),
        ],
    )
    return mono / INT16_FULL_SCALE


def _mean_of_used(samples: tf.Tensor, rate: tf.Tensor) -> tf.Tensor:
    """float32 [frames] from [frames, channels], see `downmix.used_channels`."""
    wide = tf.cast(samples, tf.float64)
    count = tf.maximum(tf.cast(tf.shape(wide)[0], tf.float64), 1.0)
    mean = tf.reduce_sum(wide, axis=0) / count
    covariance = tf.matmul(wide, wide, transpose_a=True) / count - tf.tensordot(mean, mean, 0)
    steadiness = _steadiness(wide, rate)
    is_open_line = tf.reduce_any(steadiness <= VARYING) & (steadiness >= STEADY)
    of_channels = tf.linalg.diag_part(covariance)
    power = tf.where(is_open_line, -tf.ones_like(of_channels), of_channels)
    loudest = tf.one_hot(tf.argmax(power), tf.size(power), dtype=tf.float64)
    live = tf.cast(power >= FAINT_POWER * tf.reduce_max(power), tf.float64)
    # Power of the sum of the n live channels: both sides are n^2 times those in `downmix`.
    of_sum = tf.tensordot(live, tf.linalg.matvec(covariance, live), 1)
    cancels = of_sum < CANCELLED * tf.tensordot(live, power, 1)
    used = tf.cast(tf.where(cancels, loudest, live), tf.float32)
    return tf.linalg.matvec(samples, used) / tf.reduce_sum(used)


def _steadiness(samples: tf.Tensor, rate: tf.Tensor) -> tf.Tensor:
    """float64 [channels] from [frames, channels], see `downmix.used_channels`."""
    per_frame = tf.cast(tf.round(FRAME_SECONDS * tf.cast(rate, tf.float64)), tf.int64)
    per_frame = tf.maximum(per_frame, 1)
    shape = tf.shape(samples, tf.int64)
    whole = shape[0] // per_frame
    frames = tf.reshape(samples[: whole * per_frame], tf.stack([whole, per_frame, shape[1]]))
    count = tf.cast(per_frame, tf.float64)
    mean = tf.reduce_sum(frames, axis=1) / count
    # By a product, since squares or differences of all samples would be copies of them.
    squares = tf.linalg.diag_part(tf.matmul(frames, frames, transpose_a=True)) / count
    power = tf.maximum(squares - tf.square(mean), 0.0)
    squared_mean = tf.square(tf.reduce_sum(power, axis=0))
    mean_square = tf.cast(whole, tf.float64) * tf.reduce_sum(tf.square(power), axis=0)
    return tf.where(
        mean_square > 0.0,
        tf.math.divide_no_nan(squared_mean, mean_square),
        tf.ones_like(mean_square),
    )


def _walk(wav: tf.Tensor, length: tf.Tensor) -> _Chunks:
    """Goes from chunk to chunk until `fmt ` and `data` are found."""

    def goes_on(at: _Chunks) -> tf.Tensor:
        found = (at.format_start >= 0) & (at.data_start >= 0)
        return ~found & (at.position + 8 <= length) & (at.walked < MAX_CHUNKS)

    def step(at: _Chunks) -> tuple[_Chunks]:
        name, size = _cut(wav, at.position, 4), _uint32(wav, at.position + 4)
        content = at.position + 8
        is_format = (name == b"fmt ") & (at.format_start < 0)
        is_data = (name == b"data") & (at.data_start < 0)
        behind = content + size
        # RIFF chunks start at even bytes; some writers forget the padding.
        is_unpadded = tf.reduce_any(_cut(wav, behind, 4) == list(UNPADDED_CHUNKS))
        return (
            _Chunks(
                position=behind + tf.where(is_unpadded, tf.zeros_like(size), size % 2),
                walked=at.walked + 1,
                format_start=tf.where(is_format, content, at.format_start),
                format_bytes=tf.where(is_format, size, at.format_bytes),
                data_start=tf.where(is_data, content, at.data_start),
                data_bytes=tf.where(is_data, size, at.data_bytes),
            ),
        )

    start = _Chunks(*(tf.constant(value, tf.int64) for value in (12, 0, -1, -1, -1, -1)))
    chunks: _Chunks = tf.while_loop(goes_on, step, [start])[0]
    return chunks


def _length(wav: tf.Tensor) -> tf.Tensor:
    return tf.cast(tf.strings.length(wav), tf.int64)


def _cut(wav: tf.Tensor, start: tf.Tensor, size: tf.Tensor) -> tf.Tensor:
    """At most `size` bytes from `start`, none beyond the end."""
    start = tf.clip_by_value(tf.cast(start, tf.int64), 0, _length(wav))
    return tf.strings.substr(wav, start, tf.cast(size, tf.int64))


def _uint32(wav: tf.Tensor, start: tf.Tensor) -> tf.Tensor:
    """The little-endian number at `start`, int64."""
    low, high = tf.unstack(
        tf.cast(tf.io.decode_raw(_cut(wav, start, 4), tf.uint16, fixed_length=4), tf.int64)
    )
    return low + high * 2**16
