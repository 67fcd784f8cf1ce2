"""Decodes any audio file to mono float32 at one rate, in blocks, so that length costs no memory.

soundfile reads the formats of libsndfile, ffmpeg all others (`components.decoding`). The resampler
is librosa's default, soxr HQ, which keeps its state between blocks. The caller limits how much is
decoded; the limit is checked before and during decoding, since headers may be wrong.
"""

import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import soxr

from components.decoding.errors import (
    EMPTY_FILE,
    NAN_SAMPLES,
    NO_CHANNEL,
    NO_SAMPLES,
    NOT_A_FILE,
    NOT_AUDIO,
    TOO_LARGE,
    TOO_LONG,
    TRUNCATED,
    UNREADABLE,
    AudioError,
    decoder_errors,
)
from components.decoding.readers import MOST_VALUES_PER_SECOND, Reader, opened, sndfile_rate
from components.downmix import MOST_CHANNELS, ChannelStatistics

__all__ = [
    "EMPTY_FILE",
    "NAN_SAMPLES",
    "NOT_AUDIO",
    "NOT_A_FILE",
    "NO_CHANNEL",
    "NO_SAMPLES",
    "TOO_LARGE",
    "TOO_LONG",
    "TRUNCATED",
    "UNREADABLE",
    "AudioError",
    "Samples",
    "check_header",
    "decode",
    "decode_blocks",
    "own_sample_rate",
]

Samples = npt.NDArray[np.float32]

logger = logging.getLogger("swar.audio")

_BLOCK_SECONDS: Final = 30
_MAX_BLOCK_VALUES: Final = 2**23  # 32 MiB of float32, whatever the header claims


def decode(
    path: str | os.PathLike[str],
    *,
    sample_rate: int,
    start_seconds: float | None = None,
    end_seconds: float | None = None,
    max_seconds: float | None = None,
    channel: int | None = None,
    name: str | None = None,
) -> Samples:
    """Decodes a recording, or a cut of it, to mono float32 [samples] at `sample_rate` Hz.

    Takes and raises the same as `decode_blocks`. All samples are held in memory: limit files of
    unknown origin by `end_seconds` or `max_seconds`.
    """
    blocks = decode_blocks(
        path,
        sample_rate=sample_rate,
        start_seconds=start_seconds,
        end_seconds=end_seconds,
        max_seconds=max_seconds,
        channel=channel,
        name=name,
    )
    return np.concatenate([np.zeros(0, np.float32), *blocks])


def decode_blocks(
    path: str | os.PathLike[str],
    *,
    sample_rate: int,
    start_seconds: float | None = None,
    end_seconds: float | None = None,
    max_seconds: float | None = None,
    channel: int | None = None,
    name: str | None = None,
) -> Iterator[Samples]:
    """Yields a recording in mono blocks of about 30 s, float32 [samples] at `sample_rate` Hz.

    Blocks are the mean of the channels, without those that are dead or only noise; the loudest
    one where channels cancel each other; or `channel` alone. A cut is in seconds of the source,
    before resampling; an end beyond the recording means its end. Samples may exceed 1.0, as
    floats in the file may.

    Args:
        path: a local file.
        sample_rate: rate of the blocks, in Hz.
        start_seconds: start of a cut.
        end_seconds: end of a cut; nothing beyond it is decoded.
        max_seconds: a longer recording or cut is refused as `too_long`: by its header or, if that
            is wrong, once so much is decoded. More than eight channels at 192 kHz have as many
            samples in fewer seconds, and are refused then.
        channel: the only channel to decode, from 1 on; None for the mean.
        name: the recording's name in the log; None for its path.

    Raises:
        AudioError: with one of the reasons above; `truncated`, `nan_samples` and `too_long` may
            follow good blocks.
    """
    start = start_seconds or 0.0
    ends = [end_seconds, None if max_seconds is None else start + max_seconds]
    most_seconds = min((end for end in ends if end is not None), default=None)
    name = repr(os.fspath(path)) if name is None else name
    with opened(Path(path), name, most_seconds=most_seconds) as reader:
        mono = _mono_blocks(reader, name, start, end_seconds, max_seconds, channel)
        yield from _resampled(mono, reader.rate, sample_rate)


def check_header(path: str | os.PathLike[str]) -> None:
    """Opens a recording as `decode_blocks` does, and decodes no more than its beginning.

    Raises:
        AudioError: the file has no audio, or less than its header declares.
    """
    with opened(Path(path), repr(os.fspath(path))):
        pass


def own_sample_rate(path: str | os.PathLike[str]) -> int | None:
    """The file's own sample rate in Hz; None if libsndfile cannot read it."""
    return sndfile_rate(Path(path))


def _resampled(blocks: Iterator[Samples], source_rate: int, target_rate: int) -> Iterator[Samples]:
    if source_rate == target_rate:
        yield from blocks
        return
    with decoder_errors(UNREADABLE, f"cannot be resampled from {source_rate} Hz"):
        stream = soxr.ResampleStream(source_rate, target_rate, 1, dtype="float32", quality="HQ")
    for block in blocks:
        yield stream.resample_chunk(block)
    yield stream.resample_chunk(np.zeros(0, np.float32), last=True)


def _mono_blocks(
    reader: Reader,
    name: str,
    start_seconds: float,
    end_seconds: float | None,
    max_seconds: float | None,
    channel: int | None,
) -> Iterator[Samples]:
    if channel is not None and not 1 <= channel <= reader.channels:
        raise AudioError(NO_CHANNEL, f"has no channel {channel}: it has {reader.channels} in all")
    start, end = _cut(reader, start_seconds, end_seconds)
    if max_seconds is None and end_seconds is not None:
        max_seconds = end_seconds - start_seconds
    longest = None if max_seconds is None else _Longest(reader, max_seconds)
    if longest is not None and end is not None:
        longest.check(end - start)

    def blocks() -> Iterator[Samples]:
        return _good_blocks(reader, start, end, longest)

    if channel is not None or reader.channels == 1:
        at = (channel or 1) - 1
        yield from (np.ascontiguousarray(block[:, at]) for block in blocks())
        return
    if reader.channels > MOST_CHANNELS:
        yield from (block.mean(axis=1) for block in blocks())
        return
    used = _used_channels(blocks(), reader.channels, reader.rate)
    if not used.all():
        numbers = ", ".join(str(channel + 1) for channel in np.flatnonzero(used))
        logger.warning(
            "%s: of its %d channels %s alone is used: the others are dead, noise, or cancel it",
            name,
            reader.channels,
            numbers,
        )
    for block in blocks():
        yield block[:, used].mean(axis=1)


def _cut(reader: Reader, start_seconds: float, end_seconds: float | None) -> tuple[int, int | None]:
    """First frame of a cut and the one behind its last, or None if that is unknown.

    Raises AudioError for an empty cut.
    """
    start, end = round(start_seconds * reader.rate), reader.frames
    if end_seconds is not None:
        cut_end = round(end_seconds * reader.rate)
        end = cut_end if end is None else min(end, cut_end)
    if end is not None and start >= end:
        seconds = (reader.frames or 0) / reader.rate
        raise AudioError(NO_SAMPLES, f"no samples in the cut: the recording has {seconds:g} s")
    return start, end


class _Longest:
    """Largest number of frames of a recording that may be decoded."""

    def __init__(self, reader: Reader, max_seconds: float) -> None:
        self._rate = reader.rate
        self._max_seconds = max_seconds
        most_values = max_seconds * MOST_VALUES_PER_SECOND
        # One more, since both ends of a cut are rounded to frames.
        self.frames = 1 + round(min(max_seconds * reader.rate, most_values / reader.channels))

    def check(self, frames: int) -> None:
        """Raises AudioError, `too_long`, for more than `self.frames`."""
        if frames > self.frames:
            raise AudioError(
                TOO_LONG,
                f"has {frames / self._rate:.0f} s or more, at most {self._max_seconds:g} s (of "
                f"8 channels at 192 kHz) are decoded",
            )


def _good_blocks(
    reader: Reader, start: int, end: int | None, longest: _Longest | None
) -> Iterator[Samples]:
    """Yields float32 [frames, channels] from `start` to `end`, at least one block."""
    block_frames = max(1, min(_BLOCK_SECONDS * reader.rate, _MAX_BLOCK_VALUES // reader.channels))
    frames = 0
    for block in reader.blocks(start, end, block_frames):
        with np.errstate(over="ignore", invalid="ignore"):
            if not np.isfinite(block.sum(axis=1)).all():
                raise AudioError(NAN_SAMPLES, "holds samples that are NaN or infinite")
        frames += len(block)
        if longest is not None:
            longest.check(frames)
        yield block
    if not frames:
        raise AudioError(NO_SAMPLES, "holds no samples, or none in the cut")


def _used_channels(blocks: Iterator[Samples], channels: int, rate: int) -> npt.NDArray[np.bool_]:
    """The channels whose mean is the recording, bool [channels]; see `downmix.used_channels`."""
    statistics = ChannelStatistics(channels, rate)
    for block in blocks:
        statistics.add(block)
    return statistics.used()
