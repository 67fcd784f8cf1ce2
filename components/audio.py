"""Any audio file to mono float32 at one rate, in blocks, so that length costs no memory.

soundfile reads what libsndfile knows; ffmpeg turns the rest into a temporary W64
first. soundfile is read directly, not through librosa.stream, which hides how
many frames each read gave and with it that a file breaks off. The resampler is
librosa's default engine, soxr HQ, kept open from block to block.
"""

import contextlib
import logging
import os
import re
import stat
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import imageio_ffmpeg
import numpy as np
import numpy.typing as npt
import soundfile
import soxr

from components.downmix import MOST_CHANNELS, heard_channels
from components.errors import SwarError

Samples = npt.NDArray[np.float32]

logger = logging.getLogger("swar.audio")

EMPTY_FILE: Final = "empty_file"
NOT_A_FILE: Final = "not_a_file"
NOT_AUDIO: Final = "not_audio"
UNREADABLE: Final = "unreadable"
TRUNCATED: Final = "truncated"
NAN_SAMPLES: Final = "nan_samples"
NO_SAMPLES: Final = "no_samples"

_BLOCK_SECONDS: Final = 30
_MAX_BLOCK_VALUES: Final = 2**23  # 32 MiB of float32, whatever rate and channels claim
_FFMPEG_SECONDS: Final = 600.0
_SOURCE_RATES_HZ: Final = (1_000, 768_000)  # a header may claim 1 Hz: minutes become years
_UNKNOWN_FRAMES: Final = 2**63 - 1  # libsndfile's SF_COUNT_MAX
# libsndfile's SF_ERR_UNRECOGNISED_FORMAT, and SFE_BAD_FILE for "looked like MP3, has no frame".
_SF_NOT_AUDIO: Final = (1, 7)

# Padding, odd byte counts and encoder delay are no lost speech.
_SLACK_BYTES: Final = 1_024
_SLACK_FRAMES: Final = 2 * 1_152  # two MPEG frames


class AudioError(Exception):
    """A file that does not give good samples: `reason` is a short code, the text one line."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(reason, message)
        self.reason = reason
        self.message = message

    def __str__(self) -> str:
        return self.message


def decode(
    path: str | os.PathLike[str],
    *,
    sample_rate: int,
    start_seconds: float | None = None,
    end_seconds: float | None = None,
) -> Samples:
    """The whole recording, or a cut of it: float32 [samples] at `sample_rate` Hz, mono.

    Raises what `decode_blocks` raises.
    """
    blocks = decode_blocks(
        path, sample_rate=sample_rate, start_seconds=start_seconds, end_seconds=end_seconds
    )
    return np.concatenate([np.zeros(0, np.float32), *blocks])


def decode_blocks(
    path: str | os.PathLike[str],
    *,
    sample_rate: int,
    start_seconds: float | None = None,
    end_seconds: float | None = None,
) -> Iterator[Samples]:
    """Blocks of about 30 s, float32 [samples] at `sample_rate` Hz: the mean of its channels
    but for those that are dead, or the loudest alone where they cancel.

    The cut is taken in seconds of the source, before resampling; an end beyond the
    recording's is its end. Samples may exceed 1.0 as floats in the file do.

    Raises AudioError with one of the reasons above, some of them (`truncated`,
    `nan_samples`) only when the place is reached, after good blocks.
    """
    with _opened(Path(path)) as sound:
        mono = _mono_blocks(sound, os.fspath(path), start_seconds or 0.0, end_seconds)
        yield from _resampled(mono, sound.samplerate, sample_rate)


def check_header(path: str | os.PathLike[str]) -> None:
    """Opens a recording as `decode_blocks` does, and decodes nothing that libsndfile knows.

    Raises AudioError: there is no audio, or less than the header declares.
    """
    with _opened(Path(path)):
        pass


def _resampled(blocks: Iterator[Samples], source_rate: int, target_rate: int) -> Iterator[Samples]:
    if source_rate == target_rate:
        yield from blocks
        return
    stream = soxr.ResampleStream(source_rate, target_rate, 1, dtype="float32", quality="HQ")
    for block in blocks:
        yield stream.resample_chunk(block)
    yield stream.resample_chunk(np.zeros(0, np.float32), last=True)


def _mono_blocks(
    sound: soundfile.SoundFile, name: str, start_seconds: float, end_seconds: float | None
) -> Iterator[Samples]:
    rate = sound.samplerate
    start = round(start_seconds * rate)
    end = sound.frames
    if end_seconds is not None:
        end = min(end, round(end_seconds * rate))
    if start >= end:
        seconds = sound.frames / rate
        raise AudioError(NO_SAMPLES, f"no samples in the cut: the recording has {seconds:g} s")
    if sound.channels == 1:
        yield from (block[:, 0] for block in _blocks(sound, start, end))
        return
    if sound.channels > MOST_CHANNELS:
        yield from (block.mean(axis=1) for block in _blocks(sound, start, end))
        return
    heard = _heard_channels(_blocks(sound, start, end))
    if not heard.all():
        used = ", ".join(str(channel + 1) for channel in np.flatnonzero(heard))
        logger.warning(
            "%r: of its %d channels %s alone is used: the others are dead or cancel it",
            name,
            sound.channels,
            used,
        )
    for block in _blocks(sound, start, end):
        yield block[:, heard].mean(axis=1)


def _heard_channels(blocks: Iterator[Samples]) -> npt.NDArray[np.bool_]:
    """bool [channels]: whose mean is the recording, see `downmix.heard_channels`."""
    count, total, products = 0, np.zeros(0), np.zeros((0, 0))
    for block in blocks:
        wide = block.astype(np.float64)
        if not count:
            total, products = np.zeros(wide.shape[1]), np.zeros((wide.shape[1],) * 2)
        count += len(wide)
        total += wide.sum(axis=0)
        products += wide.T @ wide
    return heard_channels(products / count - np.outer(total, total) / count**2)


def _blocks(sound: soundfile.SoundFile, start: int, end: int) -> Iterator[Samples]:
    """float32 [frames, channels] from frame to frame."""
    sound.seek(start)
    at = start
    block_frames = max(
        1, min(_BLOCK_SECONDS * sound.samplerate, _MAX_BLOCK_VALUES // sound.channels)
    )
    while at < end:
        wanted = min(block_frames, end - at)
        try:
            samples = sound.read(wanted, dtype="float32", always_2d=True)
        except soundfile.LibsndfileError as error:
            message = f"breaks off in decoding: {error.error_string}"
            raise AudioError(TRUNCATED, message) from error
        with np.errstate(over="ignore", invalid="ignore"):
            if not np.isfinite(samples.sum(axis=1)).all():
                raise AudioError(NAN_SAMPLES, "holds samples that are NaN or infinite")
        at += len(samples)
        if len(samples):
            yield samples
        if len(samples) < wanted:
            if end - at > _SLACK_FRAMES:
                message = f"ends after {at} of the {sound.frames} frames that it declares"
                raise AudioError(TRUNCATED, message)
            return


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[soundfile.SoundFile]:
    """The file, or ffmpeg's W64 of it, checked as far as its header tells."""
    _check_regular_file(path)
    with contextlib.ExitStack() as stack:
        refusal: soundfile.LibsndfileError | None = None
        sound: soundfile.SoundFile | None = None
        try:
            sound = stack.enter_context(_by_content(path))
        except soundfile.LibsndfileError as error:
            refusal = error
        if sound is None or not _length_is_known(path, sound):
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="swar-decode-"))
            sound = stack.enter_context(_by_content(_to_w64(path, Path(folder), refusal)))
        else:
            _check_all_there(path, sound)
        lowest, highest = _SOURCE_RATES_HZ
        if not lowest <= sound.samplerate <= highest:
            message = f"its sample rate of {sound.samplerate} Hz is not that of a recording"
            raise AudioError(UNREADABLE, message)
        if sound.frames == 0:
            raise AudioError(NO_SAMPLES, "its header declares no samples")
        yield sound


def _check_regular_file(path: Path) -> None:
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):  # opening a named pipe would wait for ever
            raise AudioError(NOT_A_FILE, "is not a regular file")
        if status.st_size == 0:
            raise AudioError(EMPTY_FILE, "holds no bytes")
        with path.open("rb"):
            pass
    except OSError as error:
        raise AudioError(UNREADABLE, f"cannot be read: {error.strerror}") from error


@contextlib.contextmanager
def _by_content(path: Path) -> Iterator[soundfile.SoundFile]:
    """By a file descriptor: given a name, libsndfile believes its extension (.raw, .mp3)."""
    with path.open("rb") as file, soundfile.SoundFile(file.fileno(), closefd=False) as sound:
        yield sound


def own_sample_rate(path: str | os.PathLike[str]) -> int | None:
    """The file's rate in Hz, before any resampling; None where only ffmpeg knows its format."""
    try:
        with _by_content(Path(path)) as sound:
            return int(sound.samplerate)
    except soundfile.LibsndfileError:
        return None


def _length_is_known(path: Path, sound: soundfile.SoundFile) -> bool:
    """Whether libsndfile will read to the end.

    It stops at its own guess from the first bit rate for an MP3 without a Xing, Info
    or VBRI header, which loses half of a variable-rate file, and cannot seek a FLAC
    that was written to a pipe.
    """
    if sound.format != "MP3":
        return bool(sound.frames != _UNKNOWN_FRAMES)
    with path.open("rb") as file:
        head = file.read(10)
        first_frame = 0
        if head.startswith(b"ID3"):  # id3.org, ID3v2.4 section 3.1: four bytes of seven bits
            first_frame = 10 + sum(byte << 7 * (3 - i) for i, byte in enumerate(head[6:10]))
        file.seek(first_frame)
        frame = file.read(2_048)
    return any(tag in frame for tag in (b"Xing", b"Info", b"VBRI"))


_SHORT_CHUNK: Final = re.compile(
    r"^\s*(?:data|SSND|Data Size|riff)\s*: (\d+) \(should be (\d+)\)", re.MULTILINE
)
_SHORT_DS64: Final = re.compile(
    r"Calculated frame count (\d+) does not match value from 'ds64' chunk of (\d+)"
)


def _check_all_there(path: Path, sound: soundfile.SoundFile) -> None:
    """Raise `truncated` where the header declares more than the file holds.

    libsndfile cuts the frame count down to what is there and tells so in its log only.
    """
    log = sound.extra_info
    for declared, held in ((int(a), int(b)) for a, b in _SHORT_CHUNK.findall(log)):
        if declared - held > _SLACK_BYTES and not _is_placeholder(declared):
            message = f"holds {held} of the {declared} bytes of samples that it declares"
            raise AudioError(TRUNCATED, message)
    for held, declared in ((int(a), int(b)) for a, b in _SHORT_DS64.findall(log)):
        if declared - held > _SLACK_FRAMES:
            message = f"holds {held} of the {declared} frames that it declares"
            raise AudioError(TRUNCATED, message)
    if sound.format == "OGG" and not _has_last_ogg_page(path):
        raise AudioError(TRUNCATED, "breaks off: no Ogg page at its end is marked as the last")


def _is_placeholder(declared_bytes: int) -> bool:
    """Whether a recorder that wrote to a pipe left this for "unknown" (ffmpeg; sox, arecord)."""
    return declared_bytes == 0xFFFF_FFFF or 0x7FFF_F000 <= declared_bytes <= 0x8000_0000


def _has_last_ogg_page(path: Path) -> bool:
    """Whether a page in the last 128 KiB has the end-of-stream flag (RFC 3533, section 6)."""
    with path.open("rb") as file:
        file.seek(max(0, os.fstat(file.fileno()).st_size - 2**17))
        tail = file.read()
    return any(flags[0] & 4 for flags in re.findall(rb"OggS\x00(.)", tail, re.DOTALL))


_FFMPEG_BROKE_OFF: Final = re.compile(
    r"moov atom not found|ended prematurely|partial file"
    r"|Input buffer exhausted|Input packet size too small"
)


def _to_w64(path: Path, folder: Path, refusal: soundfile.LibsndfileError | None) -> Path:
    """Decode the first audio stream with ffmpeg to float32 W64 at its own rate and channels."""
    target = folder / "decoded.w64"  # W64: a 3-hour stereo float exceeds WAV's 4 GiB
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-nostdin", "-v", "error"]
    # As an open file and nothing else: a playlist named .wav can then open no other.
    command += ["-protocol_whitelist", "fd", "-fd", "0", "-i", "fd:"]
    command += ["-map", "0:a:0", "-c:a", "pcm_f32le", "-f", "w64", str(target)]
    try:
        with path.open("rb") as source:
            done = subprocess.run(
                command, stdin=source, capture_output=True, timeout=_FFMPEG_SECONDS, check=False
            )
    except subprocess.TimeoutExpired as error:
        message = f"ffmpeg did not finish within {_FFMPEG_SECONDS:.0f} s"
        raise AudioError(UNREADABLE, message) from error
    said = done.stderr.decode("utf-8", "replace")
    if "No space left on device" in said:
        raise SwarError(f"no space left in {folder} to decode {str(path)!r}: make room there")
    if broke_off := _FFMPEG_BROKE_OFF.search(said):
        raise AudioError(TRUNCATED, f"breaks off: ffmpeg says {broke_off.group()!r}")
    if done.returncode != 0:
        if refusal is not None and refusal.code not in _SF_NOT_AUDIO:
            raise AudioError(UNREADABLE, refusal.error_string)
        first = re.sub(r"\[[^]]* @ 0x[0-9a-f]+\] ", "", said.strip().partition("\n")[0])
        raise AudioError(UNREADABLE if refusal is None else NOT_AUDIO, f"ffmpeg: {first}")
    return target
