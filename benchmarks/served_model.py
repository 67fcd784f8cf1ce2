"""The SavedModel of the default settings: its export, and its front end beside its tower.

`python -m benchmarks.served_model`: DenseNet121 with random weights, synthetic speech.
"""

import io
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import soundfile
import tensorflow as tf

from components import audio
from components.model.calibration import Calibration
from components.model.export import export
from components.model.recordings import FrontEnd, Recordings
from components.model.tower import build_tower
from pipeline.config import Config
from pipeline.sample_data.speech import write_sample_speech

BATCHES = ((3.0, 1), (3.0, 16), (10.0, 1), (10.0, 8))  # seconds of a recording, recordings
REPEATS = 7


def recordings(sample_rate: int) -> np.ndarray:
    """float32 [samples]: a minute of each of two voices."""
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder, "data")
        write_sample_speech(data, speakers=2, seconds=60)
        files = sorted(path for path in data.glob("*/*"))
        return np.concatenate([audio.decode(file, sample_rate=sample_rate) for file in files])


def batch(speech: np.ndarray, sample_rate: int, seconds: float, count: int) -> tf.Tensor:
    """string [count]: WAVs cut from the speech."""
    length = round(seconds * sample_rate)
    wavs = []
    for start in np.linspace(0, len(speech) - length, count, dtype=int):
        file = io.BytesIO()
        soundfile.write(file, speech[start : start + length], sample_rate, "PCM_16", format="WAV")
        wavs.append(file.getvalue())
    return tf.constant(wavs)


def _seconds(*works: Callable[[], object]) -> list[tuple[float, float]]:
    """Medians of wall and processor time, taken in turns, since a machine's speed changes."""
    times: list[list[tuple[float, float]]] = [[] for _ in works]
    for _ in range(REPEATS + 1):
        for work, taken in zip(works, times, strict=True):
            clock, processors = time.perf_counter(), time.process_time()
            work()
            taken.append((time.perf_counter() - clock, time.process_time() - processors))
    medians = [np.median(taken[1:], axis=0) for taken in times]  # the first one warms up
    return [(float(clock), float(processors)) for clock, processors in medians]


def measure(config: Config, folder: str) -> None:
    """Exports a model and prints the times."""
    front_end = FrontEnd(config.speech, config.spectrogram, config.serving)
    rate = config.speech.sample_rate
    tower = build_tower(config.trainer, config.spectrogram.n_mels, config.spectrogram.frames(rate))
    started = time.perf_counter()
    export(tower, Calibration(1.0, 8.0), front_end, {}, folder, unit_norm=True)
    exported = time.perf_counter()
    model = tf.saved_model.load(folder)
    loaded = time.perf_counter()
    print(f"export {exported - started:.1f} s, load {loaded - exported:.1f} s")

    spec = tf.TensorSpec([None], tf.string)
    hear = tf.function(
        lambda wavs: Recordings(front_end).extract_windows(wavs).windows.values, [spec]
    )
    speech = recordings(rate)
    for seconds, count in BATCHES:
        wavs = batch(speech, rate, seconds, count)
        windows = hear(wavs)
        front, alone, whole = _seconds(
            partial(hear, wavs),
            partial(model.embed_windows, windows),
            partial(model.signatures["embed"], audio=wavs),
        )
        print(
            f"{count} x {seconds:g} s, {len(windows)} windows: embed {1e3 * whole[0]:.1f} ms, the "
            f"bare tower {1e3 * alone[0]:.1f} ms; of the processors' {1e3 * whole[1]:.1f} ms the "
            f"front end takes {front[1] / whole[1]:.1%}"
        )


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as model_folder:
        measure(Config(name="benchmark"), model_folder)
