"""Reads frames of any recording by one interface: through libsndfile, or through ffmpeg.

soundfile is used directly, as librosa.stream hides how many frames each read gave, and with it
that a file breaks off.
"""

import contextlib
import logging
import os
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, Final, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
import soundfile

from components.decoding import ffmpeg
from components.decoding.errors import (
    EMPTY_FILE,
    NO_SAMPLES,
    NOT_A_FILE,
    TOO_LONG,
    TRUNCATED,
    UNREADABLE,
    AudioError,
    decoder_errors,
)
from components.decoding.extent import SLACK_FRAMES, bytes_behind, check_all_there, reads_whole
from components.decoding.headers import MendedFile, MendedHeader, mended_header
from components.decoding.tracks import TrackSound, track_sound

Frames = npt.NDArray[np.float32]

logger = logging.getLogger("swar.audio")

_SOURCE_RATES_HZ: Final = (1_000, 768_000)  # a header may claim 1 Hz: minutes become years
# libsndfile's SF_ERR_UNRECOGNISED_FORMAT, SFE_BAD_FILE for "looked like MP3, has no frame", and
# the error for what looks like an old Mac's sound without its other half.
_SF_NOT_AUDIO: Final = (1, 7, 153)
_WHY_USED: Final = {
    TrackSound.SPEECH: "the first with speech, the default one before others",
    TrackSound.NO_SPEECH: "the first that is not silent, and none has speech",
    TrackSound.SILENCE: "all of them are silent",
}
MOST_VALUES_PER_SECOND: Final = 8 * 192_000
"""Values per second of a time limit, so that many channels or a high rate do not multiply it."""
_UNBOUNDED_SECONDS: Final = 1e9
MOST_DAMAGED: Final = 0.1
"""Most of a file's stated seconds, as a share, that may be lost to damage ffmpeg reads past."""


class Reader(Protocol):
    """A recording that can be read from its beginning repeatedly."""

    rate: int
    """Hz."""
    channels: int
    frames: int | None
    """Declared number of frames; None if only reading tells it."""

    def blocks(self, start: int, end: int | None, block_frames: int) -> Iterator[Frames]:
        """Yields float32 [at most `block_frames`, channels] from `start` to `end`, None for all.

        Raises:
            AudioError: the recording breaks off or cannot be decoded.
        """


@contextlib.contextmanager
def open_regular(path: Path) -> Iterator[BinaryIO]:
    """Opens a regular file that is not empty, and nothing else; never waits for a writer.

    Raises:
        AudioError: the path is no such file, or cannot be read.
    """
    with contextlib.ExitStack() as stack:
        try:
            _check_regular(path.stat())  # opening a device may have effects
            file = stack.enter_context(open(path, "rb", buffering=0, opener=_open_at_once))
            _check_regular(os.fstat(file.fileno()))
        except (OSError, ValueError) as error:  # ValueError: a zero byte in the name
            message = f"cannot be read: {getattr(error, 'strerror', None) or error}"
            raise AudioError(UNREADABLE, message) from error
        yield file


def _open_at_once(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK)


def _check_regular(status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):  # opening a named pipe would wait for ever
        raise AudioError(NOT_A_FILE, "is not a regular file")
    if status.st_size == 0:
        raise AudioError(EMPTY_FILE, "holds no bytes")


def _check_rate(hertz: int) -> None:
    """Raises AudioError for a rate that no recording has, before memory is taken for it."""
    lowest, highest = _SOURCE_RATES_HZ
    if not lowest <= hertz <= highest:
        raise AudioError(UNREADABLE, f"its sample rate of {hertz} Hz is not that of a recording")


@contextlib.contextmanager
def opened(path: Path, name: str, *, most_seconds: float | None = None) -> Iterator[Reader]:
    """Yields a reader of the file, checked as far as its header tells.

    Args:
        path: a local file.
        name: the file's name in the log.
        most_seconds: how much will be read from the beginning at most; None for all.

    Raises:
        AudioError: the file has no audio, or less than its header declares.
    """
    with open_regular(path) as file, contextlib.ExitStack() as stack:
        refusal: AudioError | None = None
        known: _SndfileReader | None = None
        try:
            known = _sndfile_reader(file, stack)
        except AudioError as error:
            refusal = error
            # ffmpeg takes samples of RIFX for RIFF's, and returns noise.
            if error.reason != UNREADABLE or os.pread(file.fileno(), 4, 0) == b"RIFX":
                raise
        if known is not None and known.is_whole:
            _check_rate(known.rate)
            reader: Reader = known
        else:
            # If an MP3's header is wrong, ffmpeg would trim off what lies at its end.
            is_trimmed = known is None or known.container != "MP3"
            ffmpeg_bounds = _FfmpegBounds(most_seconds or _UNBOUNDED_SECONDS, is_trimmed)
            reader = _ffmpeg_reader(file, name, refusal, ffmpeg_bounds)
        if reader.frames == 0:
            raise AudioError(NO_SAMPLES, "its header declares no samples")
        if (behind := bytes_behind(file)) > reader.rate:
            logger.warning(
                "%s: %d bytes behind what its header tells of are not read: is another recording "
                "joined to it, or its header wrong?",
                name,
                behind,
            )
        yield reader


class _Sequential(soundfile.SoundFile):
    """Is read from beginning to end without seeking, which soundfile does otherwise."""

    def seekable(self) -> bool:
        """Always false."""
        return False


class _SndfileReader:
    """Reads by libsndfile from an open file: given a name, libsndfile believes the extension.

    A seekable file stays open, and every read is after a seek, even to 0: with some decoders that
    changes the last bit, and a part of a recording must have the samples of the whole.
    """

    def __init__(
        self, file: BinaryIO, header: MendedHeader | None, stack: contextlib.ExitStack
    ) -> None:
        self._file = file
        self._header = header
        self._sought: soundfile.SoundFile | None = None
        with decoder_errors(UNREADABLE, "cannot be read"):
            with _sound(file, header) as sound:
                self.rate = int(sound.samplerate)
                self.channels = int(sound.channels)
                self.container: str = sound.format
                self.frames: int | None = int(sound.frames)
                self.is_whole = header is not None or reads_whole(file, sound)
                if self.is_whole or sound.format == "OGG":
                    check_all_there(file, sound)
                is_sought_in = self.is_whole and _is_sought_in(sound)
            if is_sought_in:
                self._sought = stack.enter_context(_sound(file, header))

    def blocks(self, start: int, end: int | None, block_frames: int) -> Iterator[Frames]:
        """As in Reader."""
        declared = self.frames or 0
        end = declared if end is None else min(end, declared)
        with contextlib.ExitStack() as stack:
            with decoder_errors(UNREADABLE, "cannot be read"):
                if self._sought is not None:
                    sound, at = self._sought, int(self._sought.seek(start))
                else:
                    sound = stack.enter_context(_sound(self._file, self._header, _Sequential))
                    at = 0
            while at < end:
                wanted = min(block_frames, (start if at < start else end) - at)
                with decoder_errors(TRUNCATED, "breaks off in decoding"):
                    samples: Frames = sound.read(wanted, dtype="float32", always_2d=True)
                if len(samples) and at >= start:
                    yield samples
                at += len(samples)
                if len(samples) < wanted:
                    if end - at > SLACK_FRAMES:
                        message = f"ends after {at} of the {declared} frames that it declares"
                        raise AudioError(TRUNCATED, message)
                    return


def _is_sought_in(sound: soundfile.SoundFile) -> bool:
    if not sound.seekable():
        return False
    try:
        for frame in (0, min(1, sound.frames)):  # DWVW seeks to its beginning only
            sound.seek(frame)
    except soundfile.LibsndfileError:
        return False
    return True


def _sndfile_reader(file: BinaryIO, stack: contextlib.ExitStack) -> _SndfileReader:
    """A reader of what libsndfile reads, perhaps only the beginning, see `is_whole`.

    Raises:
        AudioError: libsndfile does not know the format (its error is the cause), or the file is
            damaged.
    """
    with decoder_errors(UNREADABLE, "cannot be read"):
        header = mended_header(file)
    return _SndfileReader(file, header, stack)


def _is_unknown_format(refusal: AudioError) -> bool:
    cause = refusal.__cause__
    return isinstance(cause, soundfile.LibsndfileError) and cause.code in _SF_NOT_AUDIO


def sndfile_rate(path: Path) -> int | None:
    """The rate of a file in Hz; None if libsndfile does not read it."""
    try:
        with (
            open_regular(path) as file,
            decoder_errors(UNREADABLE, "cannot be read"),
            _sound(file, mended_header(file)) as sound,
        ):
            return int(sound.samplerate)
    except AudioError:
        return None


@contextlib.contextmanager
def _sound(
    file: BinaryIO,
    header: MendedHeader | None,
    kind: type[soundfile.SoundFile] = soundfile.SoundFile,
) -> Iterator[soundfile.SoundFile]:
    os.lseek(file.fileno(), 0, os.SEEK_SET)
    source = file.fileno() if header is None else MendedFile(file, header)
    with kind(source, closefd=False) as sound:
        yield sound


class _FfmpegBounds(NamedTuple):
    """How much of a track is decoded."""

    most_seconds: float
    is_trimmed: bool
    """Whether the encoder's padding is left out."""


class _FfmpegReader:
    """Reads one track by ffmpeg, decoded anew each time."""

    def __init__(self, file: BinaryIO, track: ffmpeg.Track, bounds: _FfmpegBounds) -> None:
        self._file = file
        self.track = track
        self._bounds = bounds
        self.frames: int | None = None
        with self._decoded() as decoded:
            self.rate, self.channels = decoded.rate, decoded.channels
        _check_rate(self.rate)

    def blocks(self, start: int, end: int | None, block_frames: int) -> Iterator[Frames]:
        """As in Reader."""
        at = 0
        most_frames = self._bounds.most_seconds * MOST_VALUES_PER_SECOND / self.channels
        with self._decoded() as decoded:
            while end is None or at < end:
                wanted = block_frames
                if at < start:
                    wanted = min(wanted, start - at)
                elif end is not None:
                    wanted = min(wanted, end - at)
                samples = decoded.read(wanted)
                if len(samples) and at >= start:
                    yield samples
                at += len(samples)
                if at > most_frames:
                    raise AudioError(TOO_LONG, "has more samples than its seconds may have")
                if len(samples) < wanted:
                    self._check_end(at)
                    self._check_damage(at, decoded.damage)
                    return

    def _check_end(self, frames: int) -> None:
        """Raises AudioError if the track should have more than `frames`."""
        declared = self.track.declared_seconds
        wanted = min(declared, self._bounds.most_seconds)
        if wanted * self.rate - frames > SLACK_FRAMES:
            message = f"ends after {frames / self.rate:.2f} of the {declared:g} s that it declares"
            raise AudioError(TRUNCATED, message)

    def _check_damage(self, frames: int, damage: Sequence[str]) -> None:
        """Raises AudioError if ffmpeg met damage and too much of the file is missing.

        Neither alone is a fault: good files have gaps, and harmless errors.
        """
        stated = self.track.stated_seconds
        lost = min(stated, self._bounds.most_seconds) - frames / self.rate
        if damage and lost > MOST_DAMAGED * stated:
            message = f"gives {frames / self.rate:.2f} of the {stated:g} s that it tells of"
            raise AudioError(TRUNCATED, f"{message}, ffmpeg: {damage[0]}")

    def _decoded(self) -> contextlib.AbstractContextManager[ffmpeg.DecodedTrack]:
        # One second more, to detect a recording that is longer than its bound.
        seconds = self._bounds.most_seconds + 1.0
        return ffmpeg.decoded_track(
            self._file,
            self.track.index,
            is_trimmed=self._bounds.is_trimmed,
            most_seconds=seconds,
            most_bytes=round(4 * seconds * MOST_VALUES_PER_SECOND),
        )


def _ffmpeg_reader(
    file: BinaryIO, name: str, refusal: AudioError | None, bounds: _FfmpegBounds
) -> Reader:
    """A reader of the only track, or of the one by `_speaking_track`."""
    try:
        tracks = ffmpeg.audio_tracks(file)
    except AudioError as error:
        if error.reason == TRUNCATED or (refusal is not None and _is_unknown_format(refusal)):
            raise
        # libsndfile knows the format: it is audio, and damaged.
        raise refusal or AudioError(UNREADABLE, error.message) from error
    tracks.sort(key=lambda track: (not track.is_default, track.index))
    if len(tracks) == 1:
        return _FfmpegReader(file, tracks[0], bounds)
    return _speaking_track(file, name, tracks, bounds)


def _speaking_track(
    file: BinaryIO, name: str, tracks: Sequence[ffmpeg.Track], bounds: _FfmpegBounds
) -> Reader:
    """Logs and returns the first track with speech, else with any sound, else the first one.

    Raises:
        AudioError: no track can be read; the first one's error.
    """
    sounds: dict[_FfmpegReader, TrackSound] = {}
    faults: list[AudioError] = []
    for track in tracks:
        try:
            reader = _FfmpegReader(file, track, bounds)
            # One second each, or as much of it as the memory limit allows.
            block_frames = min(reader.rate, max(1, MOST_VALUES_PER_SECOND // reader.channels))
            sounds[reader] = track_sound(reader.blocks(0, None, block_frames), reader.rate)
        except AudioError as error:
            logger.warning("%s: audio track %d: %s", name, track.index + 1, error)
            faults.append(error)
            continue
        if sounds[reader] == TrackSound.SPEECH:
            break
    if not sounds:
        raise faults[0]
    used = max(sounds, key=sounds.__getitem__)
    logger.warning(
        "%s: of its %d audio tracks number %d is used: %s",
        name,
        len(tracks),
        used.track.index + 1,
        _WHY_USED[sounds[used]],
    )
    return used
