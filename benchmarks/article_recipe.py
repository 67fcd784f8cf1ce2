"""The article's own way from a recording to spectrograms, step by step, on one processor.

It is librosa.load, the mean of the channels, a minute cut off each end, pydub's split_on_silence,
and a melspectrogram of every window. The author's code then draws each spectrogram as a picture;
that detour is left out, so the recipe is timed at its best.
"""

import time
import warnings
from dataclasses import dataclass
from pathlib import Path

import librosa
import numpy as np

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # pydub looks for an ffmpeg that it does not need here
    from pydub import AudioSegment
    from pydub.silence import split_on_silence

SAMPLE_RATE = 22_050
EDGE_SECONDS = 60
WINDOW_SECONDS = 5
MIN_SILENCE_MS, THRESHOLD_DBFS, KEEP_SILENCE_MS = 400, -30, 100
N_MELS, N_FFT, HOP = 64, 512, 512
IMAGE_CHANNELS = 3


@dataclass(frozen=True)
class RecipeTimes:
    """What the recipe took."""

    recording_seconds: float  # audio that was prepared
    preparation_seconds: float  # from file to joined speech
    window_seconds: float  # to make one window's spectrogram
    image_bytes: int  # of one window, float32, three channels


def speech_of(recording: Path) -> np.ndarray:
    """float32 [samples]: the joined speech of one recording."""
    waveform, _ = librosa.load(recording, sr=SAMPLE_RATE, mono=False)
    mono = waveform.mean(axis=0) if waveform.ndim == 2 else waveform
    edge = EDGE_SECONDS * SAMPLE_RATE
    trimmed = mono[edge : len(mono) - edge]
    pcm16 = (trimmed / np.abs(trimmed).max() * np.iinfo(np.int16).max).astype(np.int16)
    segment = AudioSegment(pcm16.tobytes(), frame_rate=SAMPLE_RATE, sample_width=2, channels=1)
    pieces = split_on_silence(segment, MIN_SILENCE_MS, THRESHOLD_DBFS, KEEP_SILENCE_MS)
    joined = np.array(sum(pieces[1:], pieces[0]).get_array_of_samples())
    normalised: np.ndarray = (joined / np.abs(joined).max()).astype(np.float32)
    return normalised


def image_of(window: np.ndarray) -> np.ndarray:
    """float32 [mels, frames, 3]: the input of the article's network."""
    power = librosa.feature.melspectrogram(
        y=window, sr=SAMPLE_RATE, n_mels=N_MELS, n_fft=N_FFT, hop_length=HOP
    )
    decibels = librosa.power_to_db(power, ref=np.max)
    return np.repeat(decibels[:, :, np.newaxis], IMAGE_CHANNELS, axis=2).astype(np.float32)


def run_recipe(recordings: list[Path], windows: int) -> RecipeTimes:
    """Prepares recordings and makes spectrograms of windows.

    Args:
        recordings: longer than two minutes each.
        windows: number of windows of each recording, drawn evenly.
    """
    rng = np.random.default_rng(0)
    size = WINDOW_SECONDS * SAMPLE_RATE
    image_of(rng.standard_normal(size).astype(np.float32))  # librosa builds its tables
    speech_of(recordings[0])  # and compiles its decoder
    preparation, imaging, image_bytes = 0.0, 0.0, 0
    for recording in recordings:
        started = time.perf_counter()
        speech = speech_of(recording)
        prepared = time.perf_counter()
        for start in rng.integers(len(speech) - size, size=windows):
            image_bytes = image_of(speech[start : start + size]).nbytes
        imaging += time.perf_counter() - prepared
        preparation += prepared - started
    seconds = sum(librosa.get_duration(path=recording) for recording in recordings)
    return RecipeTimes(seconds, preparation, imaging / (windows * len(recordings)), image_bytes)
