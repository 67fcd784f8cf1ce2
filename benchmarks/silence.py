"""Compares silence removal with pydub's, on one recording of five minutes.

`python -m benchmarks.silence`: synthetic speech. `python -m benchmarks.silence FILE...`: the
speech of these files, joined and repeated up to five minutes.
"""

import functools
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import tensorflow as tf

from components import audio, frontend
from components.speech_detection import AdaptiveDetector, ArticleDetector
from pipeline.sample_data.speech import write_sample_speech

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # pydub looks for an ffmpeg that it does not need here
    from pydub import AudioSegment
    from pydub.silence import split_on_silence

SECONDS = 300
THRESHOLD_DBFS, MIN_SILENCE_MS, KEEP_SILENCE_MS = -30.0, 400, 100
REPEATS = 7


def with_pydub(pcm16: np.ndarray, rate: int) -> np.ndarray:
    """The joined pieces of `split_on_silence`."""
    segment = AudioSegment(pcm16.tobytes(), frame_rate=rate, sample_width=2, channels=1)
    pieces = split_on_silence(segment, MIN_SILENCE_MS, THRESHOLD_DBFS, KEEP_SILENCE_MS)
    return np.concatenate([np.array(piece.get_array_of_samples(), np.int16) for piece in pieces])


def recording(files: list[str], rate: int) -> np.ndarray:
    """int16 [SECONDS * rate], peak-normalised."""
    if not files:
        with tempfile.TemporaryDirectory() as folder:
            data = Path(folder, "data")
            write_sample_speech(data, speakers=2, seconds=SECONDS)
            speaker = min(path for path in data.iterdir() if path.is_dir())
            return recording([str(path) for path in sorted(speaker.iterdir())], rate)
    decoded = np.concatenate([audio.decode(file, sample_rate=rate) for file in files])
    waveform = np.resize(decoded, SECONDS * rate)
    pcm16: np.ndarray = frontend.to_pcm16(waveform, np.abs(waveform).max()).numpy()
    return pcm16


def _seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def compare(files: list[str], rate: int) -> None:
    """Prints the times, their ratios, and whether the samples are the same."""
    pcm16 = recording(files, rate)
    theirs = with_pydub(pcm16, rate)
    theirs_seconds = _seconds(lambda: with_pydub(pcm16, rate))
    print(f"{rate} Hz: pydub {theirs_seconds:.2f} s")
    waveform = frontend.to_waveform(pcm16)
    rules = {
        "the article's": ArticleDetector(rate, THRESHOLD_DBFS, MIN_SILENCE_MS, KEEP_SILENCE_MS),
        "the adaptive": AdaptiveDetector(rate, MIN_SILENCE_MS, KEEP_SILENCE_MS),
    }
    for name, detector in rules.items():
        ours = tf.function(detector.call, [tf.TensorSpec([None], tf.float32)])
        kept = ours(waveform)[0].numpy()  # traces
        runs = [_seconds(functools.partial(ours, waveform)) for _ in range(REPEATS)]
        seconds = statistics.median(runs)
        print(
            f"  {name} rule: {seconds:.4f} s, ratio {theirs_seconds / seconds:.0f}, "
            f"kept {len(kept) / len(pcm16):.1%}, same samples: {np.array_equal(kept, theirs)}"
        )


if __name__ == "__main__":
    for sample_rate in (16_000, 22_050):
        compare(sys.argv[1:], sample_rate)
