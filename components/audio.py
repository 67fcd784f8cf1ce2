"""Any audio file to mono float32 at one rate, in blocks, so that length costs no memory.

soundfile reads what libsndfile knows, ffmpeg the rest (`components.decoding`). The resampler is
librosa's default engine, soxr HQ, kept open from block to block. How much is decoded is bounded
by the caller, before it is decoded and while it is: a header may say anything.
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
_MAX_BLOCK_VALUES: Final = 2**23  # 32 MiB of float32, whatever rate and channels claim


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
    """The whole recording, or a cut of it: float32 [samples] at `sample_rate` Hz, mono.

    Takes and raises what `decode_blocks` does. All samples are in memory at the end: of a file
    of unknown origin `end_seconds` or `max_seconds` bounds them.
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
    """Blocks of about 30 s, float32 [samples] at `sample_rate` Hz: the mean of its channels
    but for those that are dead or noise alone, or the loudest alone where they cancel; or one.

    The cut is taken in seconds of the source, before resampling; an end beyond the
    recording's is its end. Samples may exceed 1.0 as floats in the file do.

    Args:
        path: of a local file.
        sample_rate: in Hz, of the blocks.
        start_seconds: of a cut.
        end_seconds: of a cut; nothing behind it is decoded.
        max_seconds: the longest recording, or cut of one, that is not refused as `too_long`: by
            what its header says, and where that lies when so much is decoded. More than eight
            channels at 192 kHz have as many samples in fewer seconds, and are refused then.
        channel: the only one that is decoded, from 1 on; None for the mean.
        name: what the log calls the recording; None for its path.

    Raises:
        AudioError: with one of the reasons above, some of them (`truncated`, `nan_samples`,
            `too_long`) only when the place is reached, after good blocks.
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
        AudioError: there is no audio, or less than the header declares.
    """
    with opened(Path(path), repr(os.fspath(path))):
        pass


def own_sample_rate(path: str | os.PathLike[str]) -> int | None:
    """The file's rate in Hz, before any resampling; None where only ffmpeg knows its format."""
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
    """First frame, and that behind the last; None where the recording does not say how long it is.

    Raises AudioError where nothing lies between them.
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
    """How many frames of a recording may be decoded."""

    def __init__(self, reader: Reader, max_seconds: float) -> None:
        self._rate = reader.rate
        self._max_seconds = max_seconds
        most_values = max_seconds * MOST_VALUES_PER_SECOND
        # One more: both ends of a cut are rounded to frames.
        self.frames = 1 + round(min(max_seconds * reader.rate, most_values / reader.channels))

    def check(self, frames: int) -> None:
        """Raises `too_long` for more frames than these."""
        if frames > self.frames:
            raise AudioError(
                TOO_LONG,
                f"has {frames / self._rate:.0f} s or more, at most {self._max_seconds:g} s (of "
                f"8 channels at 192 kHz) are decoded",
            )


def _good_blocks(
    reader: Reader, start: int, end: int | None, longest: _Longest | None
) -> Iterator[Samples]:
    """float32 [frames, channels] from frame to frame, at least one."""
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
    """bool [channels]: whose mean is the recording, see `downmix.used_channels`."""
    statistics = ChannelStatistics(channels, rate)
    for block in blocks:
        statistics.add(block)
    return statistics.used()
