"""Turns recordings as callers have them into what the model takes: WAV files at its rate."""

import contextlib
import os
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, Any, BinaryIO, Final, NamedTuple

import numpy as np
import numpy.typing as npt
import soundfile

from components import audio
from components.decoding.errors import check_size
from components.errors import SwarError
from components.pcm16 import pack_wav, to_pcm16

MAX_BYTES: Final = 4_096_000_000
"""Of a recording, like the pipeline's default."""
SECONDS_MORE: Final = 1.0
"""What is decoded beyond the model's longest recording, so that the model refuses it."""
_INT16_FULL_SCALE: Final = 32768.0
_MOST_CHANNELS: Final = 1_024
_HIGHEST_RATE_HZ: Final = 10_000_000
"""Of the file through which samples reach the decoders, which refuse what is no recording."""


class Waveform(NamedTuple):
    """Samples in memory."""

    samples: npt.NDArray[np.generic]
    """[N] or [N, channels]; float with full scale 1, or int16."""
    sample_rate_hz: int


_AllChannels = str | os.PathLike[str] | bytes | BinaryIO | Waveform | npt.NDArray[np.generic]


class RecordingChannel(NamedTuple):
    """One channel of a recording, such as one side of a call."""

    recording: _AllChannels
    channel: int
    """From 1 on: in stereo, 1 is left and 2 is right."""


AudioInput = _AllChannels | RecordingChannel
"""An audio file (its path, its bytes, or a binary file object, which is read), or samples (a
`Waveform`, or an array at the model's rate), or one channel of these."""


_SINGLE: Final = (str, os.PathLike, bytes, Waveform, RecordingChannel, np.ndarray)


class LocalRecording(NamedTuple):
    """A recording as a local file."""

    path: Path
    channel: int | None
    """From 1 on; None for the mean of all."""
    name: str
    """What messages call it."""


def display_name(recording: AudioInput) -> str:
    """What a message calls a recording."""
    if isinstance(recording, RecordingChannel):
        recording = recording.recording
    if isinstance(recording, str | os.PathLike):
        return repr(os.fspath(recording))
    return "the recording"


def printable(path: str | os.PathLike[str]) -> str:
    """A path as printable text: bytes that are not UTF-8 become `\\xff`."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def file_name(recording: AudioInput) -> str:
    """The file's name as printable text; empty for a recording that is no path."""
    if isinstance(recording, RecordingChannel):
        recording = recording.recording
    if not isinstance(recording, str | os.PathLike):
        return ""
    return printable(os.path.basename(recording))


def to_wav(recording: AudioInput, sample_rate: int, max_seconds: float) -> bytes:
    """A recording as the model takes it.

    It is decoded, resampled and mixed as in the pipeline. Its level stays: the model sets it.

    Args:
        recording: an audio file of any format, or samples.
        sample_rate: the model's, in Hz.
        max_seconds: the longest recording that the model takes. Of a longer one, a second more is
            decoded, so that the model refuses it.

    Returns:
        A WAV file, mono, 16-bit PCM at `sample_rate`.

    Raises:
        SwarError: it cannot be decoded.
        TypeError: it is none of what `AudioInput` names.
    """
    with local_recording(recording, sample_rate) as local:
        samples = audio.decode(
            local.path,
            sample_rate=sample_rate,
            end_seconds=max_seconds + SECONDS_MORE,
            channel=local.channel,
            name=local.name,
        )
    return pack_wav(to_pcm16(samples), sample_rate)


def listed(recordings: Iterable[AudioInput]) -> list[AudioInput]:
    """The recordings as a list; raises TypeError for a single recording."""
    if isinstance(recordings, _SINGLE) or hasattr(recordings, "read"):
        raise TypeError("a list of recordings is needed: put the recording into one")
    return list(recordings)


@contextlib.contextmanager
def local_recording(recording: AudioInput, sample_rate: int) -> Iterator[LocalRecording]:
    """A recording as a local file; a file made for it is removed with the context.

    Args:
        recording: an audio file of any format, or samples.
        sample_rate: in Hz, of samples that come without one.

    Raises:
        SwarError: instead of an AudioError that is raised in the context.
        TypeError: it is none of what `AudioInput` names.
    """
    channel = None
    name = display_name(recording)
    if isinstance(recording, RecordingChannel):
        recording, channel = recording
        if channel is not None and not isinstance(channel, int | np.integer):
            raise TypeError(f"a channel is a number from 1 on, not {channel!r}")
    try:
        if isinstance(recording, str | os.PathLike):
            path = Path(recording)
            with contextlib.suppress(OSError, ValueError):  # the decoder reports what is wrong
                check_size(path.stat().st_size, MAX_BYTES)
            yield LocalRecording(path, channel, name)
            return
        # Without a name, so that nothing stays if the process is killed.
        with tempfile.TemporaryFile() as file:
            _write(file, recording, sample_rate)
            yield LocalRecording(Path(f"/dev/fd/{file.fileno()}"), channel, name)
    except audio.AudioError as error:
        other = "channel" if error.reason == audio.NO_CHANNEL else "recording"
        raise SwarError(f"{name}: {error}: give another {other}") from error


def _write(
    file: IO[bytes], recording: bytes | BinaryIO | Waveform | npt.NDArray[np.generic], rate: int
) -> None:
    if isinstance(recording, np.ndarray):
        recording = Waveform(recording, rate)
    if isinstance(recording, Waveform):
        _write_wav(file, recording)
    elif isinstance(recording, bytes):
        file.write(recording)
    elif hasattr(recording, "read"):
        while part := recording.read(2**20):
            check_size(file.tell() + len(part), MAX_BYTES)
            file.write(part)
    else:
        raise TypeError(f"{type(recording).__name__} is no recording")
    file.flush()


def _write_wav(file: IO[bytes], waveform: Waveform) -> None:
    samples = np.asarray(waveform.samples)
    if samples.ndim not in (1, 2) or not (samples.dtype == np.int16 or samples.dtype.kind == "f"):
        raise TypeError(
            f"samples are float or int16, [N] or [N, channels], not {samples.dtype} "
            f"{list(samples.shape)}"
        )
    if samples.ndim == 2 and not 1 <= samples.shape[1] <= _MOST_CHANNELS:
        raise TypeError(
            f"samples are [N] or [N, channels], and {list(samples.shape)} would be "
            f"{samples.shape[1]:,} channels: transpose what is [channels, N]"
        )
    if samples.dtype == np.int16:
        samples = samples / _INT16_FULL_SCALE
    rate = _whole_rate(waveform.sample_rate_hz)
    with np.errstate(over="ignore"):  # the decoder refuses what is infinite
        samples = samples.astype(np.float32)
    soundfile.write(file, samples, rate, format="WAV", subtype="FLOAT")


def _whole_rate(rate: Any) -> int:
    """A sample rate in Hz as an int; some libraries have it as a float."""
    if not isinstance(rate, int | float | np.integer | np.floating) or rate != rate // 1:
        raise TypeError(f"a sample rate is a whole number of Hz, not {rate!r}")
    if not 1 <= rate <= _HIGHEST_RATE_HZ:
        raise TypeError(f"a sample rate of {rate:g} Hz is not that of a recording")
    return int(rate)
