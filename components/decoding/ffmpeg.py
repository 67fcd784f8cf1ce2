"""Decodes recordings in formats that only ffmpeg knows, in a restricted process.

The process reads one open file and writes samples to a pipe: it opens no other file, writes no
samples to the disk, and its memory, processor time and duration are bounded.
"""

import contextlib
import os
import re
import select
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import IO, BinaryIO, Final

import imageio_ffmpeg
import numpy as np
import numpy.typing as npt

from components.decoding.errors import NOT_AUDIO, TRUNCATED, UNREADABLE, AudioError
from components.errors import SwarError

MEMORY_BYTES: Final = 2**30
"""Limit of a process's address space; ffmpeg starts in a quarter of it."""
PROCESSOR_SECONDS: Final = 600
"""Limit of a process; an hour of compressed stereo takes about ten seconds."""
WAIT_SECONDS: Final = 600.0
"""Limit of the total wait for a process's samples, or its description of a file."""
_MESSAGE_BYTES: Final = 2**20
# The shell sets limits before the program begins: Python code between fork and exec can deadlock
# beside threads. A caller's lower limit, or one that the system lacks, is left as it is.
_BOUNDED: Final = (
    '{ ulimit -c 0; ulimit -v $1; ulimit -t $2; ulimit -f $3; } 2>/dev/null; shift 3; exec "$@"'
)
MOST_TRACKS: Final = 8
"""Most tracks of a file; later ones are ignored."""

# Formats of phones, recorders, conferences, browsers and corpora. Playlists and formats of films in
# games or on discs are left out: each demuxer is a program that is exposed to hostile bytes.
_FORMATS: Final = (
    "aac,ac3,act,aiff,amr,amrnb,amrwb,ape,asf,au,avi,caf,dsf,dts,eac3,flac,flv,gsm,iff,ilbc,ircam,"
    "live_flv,loas,matroska,webm,mov,mp4,m4a,3gp,3g2,mj2,mp3,mpc,mpc8,mpeg,mpegts,mxf,nistsphere,"
    "nut,oga,ogg,oma,qcp,rm,shn,sln,sox,tak,tta,voc,w64,wav,wsd,wtv,wv,xwma"
)
_CODECS: Final = (
    "aac,aac_fixed,aac_latm,ac3,ac3_fixed,adpcm_ct,adpcm_g722,adpcm_g726,adpcm_g726le,"
    "adpcm_ima_oki,adpcm_ima_qt,adpcm_ima_wav,adpcm_ms,adpcm_sbpro_2,adpcm_sbpro_3,adpcm_sbpro_4,"
    "adpcm_swf,adpcm_yamaha,alac,als,amrnb,amrwb,ape,atrac3,atrac3plus,comfortnoise,cook,dca,"
    "dsd_lsbf,dsd_lsbf_planar,dsd_msbf,dsd_msbf_planar,dss_sp,eac3,evrc,flac,g722,g723_1,g726,"
    "g726le,g728,g729,gsm,gsm_ms,ilbc,libopencore_amrnb,libopencore_amrwb,libopus,libspeex,"
    "libvorbis,mp1,mp1float,mp2,mp2float,mp3,mp3adu,mp3adufloat,mp3float,mp3on4,mp3on4float,mpc7,"
    "mpc8,nellymoser,opus,pcm_alaw,pcm_bluray,pcm_dvd,pcm_f16le,pcm_f24le,pcm_f32be,pcm_f32le,"
    "pcm_f64be,pcm_f64le,pcm_mulaw,pcm_s16be,pcm_s16be_planar,pcm_s16le,pcm_s16le_planar,"
    "pcm_s24be,pcm_s24le,pcm_s24le_planar,pcm_s32be,pcm_s32le,pcm_s32le_planar,pcm_s64be,"
    "pcm_s64le,pcm_s8,pcm_s8_planar,pcm_u16be,pcm_u16le,pcm_u24be,pcm_u24le,pcm_u32be,pcm_u32le,"
    "pcm_u8,qcelp,qdm2,qdmc,ra_144,ra_288,ralf,real_144,real_288,s302m,sbc,shorten,sipr,speex,tak,"
    "truehd,truespeech,tta,vorbis,wavpack,wmalossless,wmapro,wmav1,wmav2,wmavoice"
)

_BROKE_OFF: Final = re.compile(
    r"moov atom not found|ended prematurely|partial file"
    r"|Input buffer exhausted|Input packet size too small|switching bps mid-stream"
    # Joined FLAC files: the next one's frames are longer than the first's header declares.
    r"|blocksize \d+ > \d+"
    # Joined Ogg files: with another codec, rate or number of channels the next one is left out.
    # Without the demuxer's name the message is of the search for the end, which loses nothing.
    r"|ogg @ 0x[0-9a-f]+\] \[error\] failed to create or replace stream|multistream ogg"
    r"|(?:Sample rate|Channel) change is not"
)
_ERROR: Final = re.compile(
    r"^(?:\[[^\]]* @ 0x[0-9a-f]+\] )*\[(?:error|fatal)\] (.*)$", re.MULTILINE
)
_AUDIO_TRACK: Final = re.compile(
    r"^\[info\]   Stream #0:\d+[^\n]*?: Audio: ([^\n]*)$", re.MULTILINE
)
# Only of formats that declare it; of others it is a guess.
_DURATION: Final = re.compile(
    r"^\[info\] Input #0, (ape|tak|tta|wv|asf|matroska|mov)[,\w]*, "
    r".*?^\[info\]   Duration: (\d+):(\d+):(\d+\.\d+),",
    re.MULTILINE | re.DOTALL,
)
_WITH_GAPS: Final = ("asf", "matroska", "mov")
"""Formats that state their duration; the headers of the others count the samples."""
_WITHOUT_PAUSES: Final = ("amr_nb", "amr_wb")
"""Codecs whose pauses ffmpeg leaves out, and calls corrupt."""
_NO_DAMAGE: Final = "Application provided invalid, non monotonically increasing dts"
"""ffmpeg's message for joined files, of which it writes all samples."""
# Sun's AU header: magic, position of the samples, their bytes, encoding, rate, channels.
_AU_HEADER: Final = np.dtype([("magic", "S4"), ("numbers", ">u4", 5)])
_AU_FLOAT: Final = 6

Frames = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Track:
    """One of the audio tracks of a file."""

    index: int
    """Index among the audio tracks."""
    is_default: bool
    """Whether the file marks it as the one to play."""
    declared_seconds: float
    """Seconds that the track must have; 0 if the file does not count them."""
    stated_seconds: float
    """Seconds that the file states, with any gaps; 0 if none, or ffmpeg leaves pauses out."""


def audio_tracks(file: BinaryIO) -> list[Track]:
    """The audio tracks of a file, at most MOST_TRACKS.

    Raises:
        AudioError: there is none, or ffmpeg does not know the format.
    """
    with tempfile.TemporaryFile() as messages:
        process = _started(file, [], messages, subprocess.DEVNULL)
        try:
            process.wait(WAIT_SECONDS)
        except subprocess.TimeoutExpired as error:
            raise _overdue() from error
        finally:
            process.kill()
            process.wait()
        text = _text(messages)
    declared_seconds, stated_seconds = _durations(text)
    tracks = [
        Track(
            index,
            "(default)" in described,
            declared_seconds,
            0.0 if described.startswith(_WITHOUT_PAUSES) else stated_seconds,
        )
        for index, described in enumerate(_AUDIO_TRACK.findall(text)[:MOST_TRACKS])
    ]
    if not tracks:
        if broke_off := _BROKE_OFF.search(text):
            raise _broken_off(broke_off)
        errors = _errors(text, "At least one output file must be specified")
        raise AudioError(NOT_AUDIO, f"ffmpeg: {errors[0] if errors else 'no audio track in it'}")
    return tracks


def _durations(text: str) -> tuple[float, float]:
    """The declared and the stated seconds of a file, see `Track`; 0 where missing."""
    if not (found := _DURATION.search(text)):
        return 0.0, 0.0
    hours, minutes, seconds = map(float, found.groups()[1:])
    duration = 3_600.0 * hours + 60.0 * minutes + seconds
    return (0.0, duration) if found[1] in _WITH_GAPS else (duration, 0.0)


class DecodedTrack:
    """The samples of one track, as ffmpeg gives them.

    Attributes:
        rate: sample rate in Hz.
        channels: number of channels.
        damage: errors that ffmpeg continued after; known at the end.
    """

    def __init__(self, process: "subprocess.Popen[bytes]", messages: IO[bytes]) -> None:
        self._process = process
        self._messages = messages
        self._waited_seconds = 0.0
        self.damage: list[str] = []
        head = self._bytes(_AU_HEADER.itemsize)
        if len(head) < _AU_HEADER.itemsize:
            self._check_end()
            raise AudioError(UNREADABLE, "ffmpeg gives no samples of it")
        header = np.frombuffer(head, _AU_HEADER)[0]
        start, _, encoding, rate, channels = (int(number) for number in header["numbers"])
        if header["magic"] != b".snd" or encoding != _AU_FLOAT or not channels:
            raise AudioError(UNREADABLE, "ffmpeg gives something else than samples")
        self._bytes(start - len(head))
        self.rate, self.channels = rate, channels

    def read(self, frames: int) -> Frames:
        """The next frames: float32 [at most `frames`, channels]; fewer only at the end.

        Raises:
            AudioError: the recording breaks off, or ffmpeg gave up.
        """
        content = self._bytes(4 * self.channels * frames)
        if len(content) < 4 * self.channels * frames:
            self._check_end()
        whole = len(content) - len(content) % (4 * self.channels)
        samples = np.frombuffer(content, ">f4", whole // 4).astype(np.float32)
        return samples.reshape(-1, self.channels)

    def _bytes(self, size: int) -> bytes:
        """The next `size` bytes; fewer only at the end."""
        pipe = self._process.stdout
        assert pipe is not None
        poll = select.poll()
        poll.register(pipe, select.POLLIN)
        content = bytearray()
        while len(content) < size:
            began = time.monotonic()
            is_ready = poll.poll(1_000.0 * max(0.0, WAIT_SECONDS - self._waited_seconds))
            self._waited_seconds += time.monotonic() - began
            if not is_ready:
                raise _overdue()
            part = pipe.read(min(size - len(content), 2**20))
            if not part:
                break
            content += part
        return bytes(content)

    def _check_end(self) -> None:
        """Raises an AudioError if this is not the end of a whole recording."""
        status = self._process.wait(WAIT_SECONDS)
        text = _text(self._messages)
        if broke_off := _BROKE_OFF.search(text):
            raise _broken_off(broke_off)
        if status == 0:
            self.damage = _errors(text, _NO_DAMAGE)
            return
        errors = _errors(text)
        if not errors:
            errors = [f"gave up with status {status}, as beyond its bounds of memory or time"]
        raise AudioError(UNREADABLE, f"ffmpeg: {errors[0]}")


@contextlib.contextmanager
def decoded_track(
    file: BinaryIO, track: int, *, is_trimmed: bool, most_seconds: float, most_bytes: int
) -> Iterator[DecodedTrack]:
    """One audio track, decoded as it is read, at its own rate and with its own channels.

    Args:
        file: a local file; it is read from its beginning.
        track: the index among the audio tracks.
        is_trimmed: whether the encoder's padding, where the file marks it, is left out.
        most_seconds: nothing beyond is decoded.
        most_bytes: bytes of float32 samples; nothing beyond is decoded.

    Raises:
        AudioError: the track has no samples.
    """
    options = ["-map", f"0:a:{track}", "-t", f"{most_seconds:.3f}", "-fs", str(most_bytes)]
    options += ["-c:a", "pcm_f32be", "-f", "au", "pipe:1"]
    with tempfile.TemporaryFile() as messages:
        process = _started(file, options, messages, subprocess.PIPE, is_trimmed=is_trimmed)
        try:
            yield DecodedTrack(process, messages)
        finally:
            assert process.stdout is not None
            process.kill()
            process.stdout.close()
            process.wait()


def _started(
    file: BinaryIO,
    output: Sequence[str],
    messages: IO[bytes],
    stdout: int,
    *,
    is_trimmed: bool = True,
) -> "subprocess.Popen[bytes]":
    command = [_program(), "-nostdin", "-hide_banner", "-nostats"]
    command += ["-v", "level+error" if output else "level+info"]
    # Only the open file is allowed: a playlist named .wav can then open no other.
    command += ["-protocol_whitelist", "fd", "-format_whitelist", _FORMATS]
    command += ["-codec_whitelist", _CODECS, "-vn", "-sn", "-dn", "-threads", "1"]
    command += [] if is_trimmed else ["-flags2", "+skip_manual"]
    command += ["-fd", "0", "-i", "fd:", *output]
    os.lseek(file.fileno(), 0, os.SEEK_SET)
    bounds = [MEMORY_BYTES // 1024, PROCESSOR_SECONDS, _MESSAGE_BYTES // 512]
    # Python ignores SIGXFSZ, and so does the child: it only loses messages beyond their limit.
    return subprocess.Popen(
        ["/bin/sh", "-c", _BOUNDED, "sh", *map(str, bounds), *command],
        bufsize=0,
        stdin=file,
        stdout=stdout,
        stderr=messages,
        restore_signals=False,
    )


def _program() -> str:
    try:
        program: str = imageio_ffmpeg.get_ffmpeg_exe()
    except RuntimeError as error:
        raise SwarError(" ".join(str(error).split())) from error
    if shutil.which(program) is None:  # else every recording would seem damaged
        raise SwarError(
            f"{program} is no program: set IMAGEIO_FFMPEG_EXE to an ffmpeg, or unset it"
        )
    return program


def _text(messages: IO[bytes]) -> str:
    messages.seek(0)
    return messages.read(_MESSAGE_BYTES).decode("utf-8", "replace")


def _errors(text: str, *ignored: str) -> list[str]:
    """Each error message once, without those of decoders that are not allowed, as of covers."""
    messages = dict.fromkeys(_ERROR.findall(text))
    return [
        each
        for each in messages
        if each and not each.startswith(ignored) and "not on whitelist" not in each
    ]


def _broken_off(found: re.Match[str]) -> AudioError:
    message = found.group().rpartition("] ")[2]
    return AudioError(TRUNCATED, f"breaks off: ffmpeg says {message!r}")


def _overdue() -> AudioError:
    return AudioError(UNREADABLE, f"ffmpeg did not finish within {WAIT_SECONDS:.0f} s")
