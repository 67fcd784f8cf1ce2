"""One way to read frames of any recording: through libsndfile, or through ffmpeg.

soundfile is read directly, not through librosa.stream, which hides how many frames each read
gave and with it that a file breaks off.
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
# what it takes for an old Mac's sound without its other half.
_SF_NOT_AUDIO: Final = (1, 7, 153)
_WHY_USED: Final = {
    TrackSound.SPEECH: "the first with speech, the default one before others",
    TrackSound.NO_SPEECH: "the first that is not silent, and none has speech",
    TrackSound.SILENCE: "all of them are silent",
}
MOST_VALUES_PER_SECOND: Final = 8 * 192_000
"""Of a recording's seconds, so that many channels or a high rate do not multiply their bound."""
_UNBOUNDED_SECONDS: Final = 1e9
MOST_DAMAGED: Final = 0.1
"""Of the seconds that a file tells of: so much may be lost to damage that ffmpeg reads past."""


class Reader(Protocol):
    """A recording that can be read from its beginning, as often as wanted."""

    rate: int
    """Hz."""
    channels: int
    frames: int | None
    """Of each channel, as declared; None where only reading tells."""

    def blocks(self, start: int, end: int | None, block_frames: int) -> Iterator[Frames]:
        """float32 [at most `block_frames`, channels] from frame to frame; None is the end.

        Raises:
            AudioError: it breaks off or cannot be decoded.
        """


@contextlib.contextmanager
def open_regular(path: Path) -> Iterator[BinaryIO]:
    """A file that has bytes, open; nothing else is opened, and nothing waits for a writer.

    Raises:
        AudioError: it is no such file, or cannot be read.
    """
    with contextlib.ExitStack() as stack:
        try:
            _check_regular(path.stat())  # opening a device may do something
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
    """Raises AudioError for a rate that no recording has, before anything is as large as it."""
    lowest, highest = _SOURCE_RATES_HZ
    if not lowest <= hertz <= highest:
        raise AudioError(UNREADABLE, f"its sample rate of {hertz} Hz is not that of a recording")


@contextlib.contextmanager
def opened(path: Path, name: str, *, most_seconds: float | None = None) -> Iterator[Reader]:
    """A reader of the file, checked as far as its header tells.

    Args:
        path: of a local file.
        name: what the log calls it.
        most_seconds: from the beginning on, what will be read at most; None: all of it.

    Raises:
        AudioError: there is no audio, or less than the header declares.
    """
    with open_regular(path) as file, contextlib.ExitStack() as stack:
        refusal: AudioError | None = None
        known: _SndfileReader | None = None
        try:
            known = _sndfile_reader(file, stack)
        except AudioError as error:
            refusal = error
            # ffmpeg takes the samples of RIFX for RIFF's, and gives noise.
            if error.reason != UNREADABLE or os.pread(file.fileno(), 4, 0) == b"RIFX":
                raise
        if known is not None and known.is_whole:
            _check_rate(known.rate)
            reader: Reader = known
        else:
            # Of an MP3 whose header is wrong, ffmpeg would leave out what lies at its end.
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
    """Is read from its beginning to its end, and not sought in, which soundfile does otherwise."""

    def seekable(self) -> bool:
        """Whether it is sought in: no."""
        return False


class _SndfileReader:
    """What libsndfile reads, by an open file: given a name, it believes the extension.

    What can be sought in stays open and is sought in before it is read, even to 0: some decoders
    give another last bit then, and a part of a recording has the samples of the whole.
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
        """As of a Reader."""
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
        for frame in (0, min(1, sound.frames)):  # DWVW is sought to its beginning alone
            sound.seek(frame)
    except soundfile.LibsndfileError:
        return False
    return True


def _sndfile_reader(file: BinaryIO, stack: contextlib.ExitStack) -> _SndfileReader:
    """A reader, perhaps of the beginning alone.

    Raises:
        AudioError: it knows the format not at all (with the library's error as its cause), or the
            file is damaged.
    """
    with decoder_errors(UNREADABLE, "cannot be read"):
        header = mended_header(file)
    return _SndfileReader(file, header, stack)


def _is_unknown_format(refusal: AudioError) -> bool:
    cause = refusal.__cause__
    return isinstance(cause, soundfile.LibsndfileError) and cause.code in _SF_NOT_AUDIO


def sndfile_rate(path: Path) -> int | None:
    """The rate of a file in Hz; None where libsndfile does not read it."""
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
    """What of a file's tracks is decoded."""

    most_seconds: float
    is_trimmed: bool
    """Whether the encoder's padding is left out."""


class _FfmpegReader:
    """One track of what only ffmpeg reads, decoded anew each time."""

    def __init__(self, file: BinaryIO, track: ffmpeg.Track, bounds: _FfmpegBounds) -> None:
        self._file = file
        self.track = track
        self._bounds = bounds
        self.frames: int | None = None
        with self._decoded() as decoded:
            self.rate, self.channels = decoded.rate, decoded.channels
        _check_rate(self.rate)

    def blocks(self, start: int, end: int | None, block_frames: int) -> Iterator[Frames]:
        """As of a Reader."""
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
        """Raises AudioError where the file breaks off behind so many frames."""
        declared = self.track.declared_seconds
        wanted = min(declared, self._bounds.most_seconds)
        if wanted * self.rate - frames > SLACK_FRAMES:
            message = f"ends after {frames / self.rate:.2f} of the {declared:g} s that it declares"
            raise AudioError(TRUNCATED, message)

    def _check_damage(self, frames: int, damage: Sequence[str]) -> None:
        """Raises AudioError where the damage that ffmpeg met costs too much of the file.

        Neither says so alone: good files have gaps, and harmless errors.
        """
        stated = self.track.stated_seconds
        lost = min(stated, self._bounds.most_seconds) - frames / self.rate
        if damage and lost > MOST_DAMAGED * stated:
            message = f"gives {frames / self.rate:.2f} of the {stated:g} s that it tells of"
            raise AudioError(TRUNCATED, f"{message}, ffmpeg: {damage[0]}")

    def _decoded(self) -> contextlib.AbstractContextManager[ffmpeg.DecodedTrack]:
        # A second more, so that a recording that is longer than its bound is seen to be.
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
    """A reader of the only track, or of that in which somebody speaks."""
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
    """The first track with speech, else the first with any sound, else the first: it is logged.

    Raises:
        AudioError: none can be read; of the first.
    """
    sounds: dict[_FfmpegReader, TrackSound] = {}
    faults: list[AudioError] = []
    for track in tracks:
        try:
            reader = _FfmpegReader(file, track, bounds)
            # A second each, or as much of one as memory is bounded to.
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
