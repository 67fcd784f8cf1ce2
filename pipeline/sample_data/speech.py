"""Sample data: a folder of SYNTHETIC Nepali speech that looks like a user's own.

It has no real person's voice: espeak-ng speaks under invented names, in mixed formats, rates and
channels, with pauses, background noise, microphones and levels that differ from file to file.
"""

import concurrent.futures
import csv
import multiprocessing
import os
import signal
import warnings
from collections.abc import Iterator
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

import imageio_ffmpeg
import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from components.atomic_write import new_folder
from components.errors import SwarError
from components.pcm16 import INT16_PEAK
from pipeline.sample_data.espeak import SAMPLE_RATE, Espeak, Voice
from pipeline.sample_data.sentences import endless_sentences
from pipeline.sample_data.speakers import SampleRecording, SpeakerPlan, plan_speakers

SPEAKERS_FILE: Final = "SPEAKERS.tsv"
_PAUSE_SECONDS: Final = (0.3, 1.2)
_FADE_SECONDS: Final = 0.02
_NOISE_PERIOD_SAMPLES: Final = 1 << 18  # 12 s, repeated: more would take most of the time

# Lossless formats: libsndfile's container and subtype. Lossy ones: ffmpeg's muxer, encoder and
# options for speed; libsndfile draws a Vorbis stream's serial number from the clock, and its MP3
# takes three times as long.
_SOUNDFILE_FORMATS: Final = {
    "wav_16": ("WAV", "PCM_16"),
    "wav_24": ("WAV", "PCM_24"),
    "flac": ("FLAC", "PCM_16"),
}
_FFMPEG_FORMATS: Final = {
    "mp3": ("mp3", "libmp3lame", ("-compression_level", "9")),
    "ogg": ("ogg", "libvorbis", ()),
    "m4a": ("ipod", "aac", ("-aac_coder", "fast")),
}
# No time stamps, no random serial numbers.
_REPRODUCIBLE: Final = ("-fflags", "+bitexact")


@dataclass(frozen=True)
class SampleSummary:
    """What was written; `str()` of it is a line for the user."""

    folder: Path
    speakers: int
    recordings: int
    seconds: float

    def __str__(self) -> str:
        return (
            f"{self.speakers} synthetic speakers (espeak-ng), {self.recordings} recordings, "
            f"{self.seconds / 60:.1f} minutes in {self.folder}"
        )


def write_sample_speech(
    folder: Path, *, speakers: int, seconds: float, seed: int = 0, processes: int | None = None
) -> SampleSummary:
    """Writes `folder/<speaker>/<recording>` and `folder/SPEAKERS.tsv`, all of it SYNTHETIC speech.

    `seconds` is the total of each speaker's recordings. The same speakers, seconds and seed give
    the same bytes, whatever the number of processes (None: one per core). The folder appears when
    it is complete, or not at all.

    Raises SwarError where the folder is not empty or cannot be written, for fewer than two
    speakers or more than there are synthetic ones, and for less than five seconds.
    """
    plans = plan_speakers(speakers, seconds, seed)
    try:
        with new_folder(folder) as build:
            written_seconds = _write_speakers(plans, build, processes)
            _write_speakers_file(plans, build / SPEAKERS_FILE)
    except OSError as error:
        place = f" ({error.filename})" if error.filename else ""
        raise SwarError(
            f"cannot write {folder}: {error.strerror or error}{place}; "
            "choose a writable folder with room"
        ) from error
    except BrokenProcessPool as error:
        raise SwarError(
            f"a process writing {folder} was killed; free some memory and try again"
        ) from error
    recordings = sum(len(plan.recordings) for plan in plans)
    return SampleSummary(folder, speakers, recordings, written_seconds)


def _write_speakers(plans: tuple[SpeakerPlan, ...], build: Path, processes: int | None) -> float:
    """Writes each speaker in a spawned process; gives the seconds of all recordings."""
    with concurrent.futures.ProcessPoolExecutor(
        max_workers=min(len(plans), processes or len(os.sched_getaffinity(0))),
        mp_context=multiprocessing.get_context("spawn"),
        # On Ctrl-C the processes finish their speaker and begin no other. In espeak-ng's callback
        # the exception would be lost, and they would write on while the folder is removed.
        initializer=signal.signal,
        initargs=(signal.SIGINT, signal.SIG_IGN),
    ) as pool:
        return sum(pool.map(partial(_write_speaker, build=build), plans))


def _write_speaker(plan: SpeakerPlan, build: Path) -> float:
    folder = build / plan.name
    folder.mkdir()
    seconds = 0.0
    for recording in plan.recordings:
        samples = render(recording)
        _encode(samples, recording, folder / recording.name)
        seconds += len(samples) / recording.sample_rate
    return seconds


def _write_speakers_file(plans: tuple[SpeakerPlan, ...], path: Path) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file, delimiter="\t", lineterminator="\n")
        table.writerow(("speaker", "gender", "synthetic", "synthesizer", "variant", "voice"))
        table.writerows(
            (plan.name, plan.gender, "yes", "espeak-ng", plan.voice.variant, _settings(plan.voice))
            for plan in plans
        )


def _settings(voice: Voice) -> str:
    """One cell: as columns, numbers that two speakers share by chance would become slices."""
    return (
        f"pitch {voice.pitch}, range {voice.pitch_range}, {voice.words_per_minute} words a minute"
    )


def render(recording: SampleRecording) -> NDArray[np.float32]:
    """The sound of one recording: float32 [samples, channels] within -1 and 1, at its rate."""
    rng = np.random.default_rng(recording.seed)
    speech = _monologue(recording, rng)
    speech[1:] += recording.tilt * speech[:-1]
    speech *= _amplitude(recording.peak_dbfs) / np.abs(speech).max()
    noise_rms = _amplitude(recording.noise_dbfs)
    channels = [
        # The second microphone of a stereo recording is a little further away.
        speech * _amplitude(-float(rng.uniform(0.0, 3.0)) * channel)
        + noise_rms * _pink_noise(len(speech), rng)
        for channel in range(recording.channels)
    ]
    mixed = np.stack(channels, axis=-1)
    resampled = soxr.resample(mixed, SAMPLE_RATE, recording.sample_rate)
    clipped: NDArray[np.float32] = np.clip(resampled, -1.0, 1.0)
    return clipped


def _monologue(recording: SampleRecording, rng: np.random.Generator) -> NDArray[np.float32]:
    """Sentences with pauses, cut off where the recording ends: [samples]."""
    total = round(recording.seconds * SAMPLE_RATE)
    pieces: list[NDArray[np.int16]] = []
    length = 0
    with Espeak(recording.voice, recording.seed) as espeak:
        for piece in _pauses_and_sentences(espeak, rng):
            pieces.append(piece)
            length += len(piece)
            if length >= total:
                break
    samples = np.concatenate(pieces)[:total].astype(np.float32)
    fade = round(_FADE_SECONDS * SAMPLE_RATE)
    samples[-fade:] *= np.linspace(1.0, 0.0, fade, dtype=np.float32)
    return samples


def _pauses_and_sentences(espeak: Espeak, rng: np.random.Generator) -> Iterator[NDArray[np.int16]]:
    for sentence in endless_sentences(rng):
        yield np.zeros(round(rng.uniform(*_PAUSE_SECONDS) * SAMPLE_RATE), np.int16)
        yield espeak.say(sentence)


def _pink_noise(samples: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """Noise of RMS 1 whose power falls as 1/f: [samples], seamlessly repeated."""
    spectrum = np.fft.rfft(rng.standard_normal(_NOISE_PERIOD_SAMPLES, dtype=np.float32))
    spectrum /= np.sqrt(np.arange(1, len(spectrum) + 1, dtype=np.float32))
    period = np.fft.irfft(spectrum, _NOISE_PERIOD_SAMPLES)
    return np.resize((period / np.sqrt(np.mean(period**2))).astype(np.float32), samples)


def _amplitude(level_db: float) -> float:
    return float(10.0 ** (level_db / 20.0))


def _encode(samples: NDArray[np.float32], recording: SampleRecording, path: Path) -> None:
    if recording.format in _SOUNDFILE_FORMATS:
        container, subtype = _SOUNDFILE_FORMATS[recording.format]
        try:
            soundfile.write(path, samples, recording.sample_rate, format=container, subtype=subtype)
        except soundfile.SoundFileError as error:
            raise OSError(f"libsndfile wrote no {path.name}: {error}") from error
    else:
        _encode_with_ffmpeg(samples, recording, path)


def _encode_with_ffmpeg(
    samples: NDArray[np.float32], recording: SampleRecording, path: Path
) -> None:
    with warnings.catch_warnings():
        # pydub looks for ffmpeg on the PATH when it is imported, before it can be given ours.
        warnings.simplefilter("ignore")
        from pydub import AudioSegment
        from pydub.exceptions import CouldntEncodeError

    AudioSegment.converter = imageio_ffmpeg.get_ffmpeg_exe()
    segment = AudioSegment(
        np.round(samples * INT16_PEAK).astype("<i2").tobytes(),
        frame_rate=recording.sample_rate,
        sample_width=2,
        channels=recording.channels,
    )
    muxer, encoder, speed = _FFMPEG_FORMATS[recording.format]
    try:
        with segment.export(path, muxer, encoder, parameters=[*_REPRODUCIBLE, *speed]):
            pass
    except CouldntEncodeError as error:
        raise OSError(f"ffmpeg wrote no {path.name}: {error}") from error
