"""Data of the article's size, prepared by its recipe and by ours.

`python -m benchmarks.paper_protocol [FOLDER]`: 34 synthetic speakers of five minutes, each a stereo
MP3, like the author's; 3,400 + 28,050 training pairs. FOLDER keeps what is written.
"""

import shutil
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import soundfile

from benchmarks.article_recipe import RecipeTimes, run_recipe
from benchmarks.components_alone import MadeExamples, make_pairs, make_speech
from benchmarks.process_memory import GIBIBYTE, Measured, measured
from components import audio, features
from pipeline.config import Config, load_config
from pipeline.sample_data.speech import write_sample_speech

SPEAKERS, SECONDS, SOURCE_RATE = 34, 300.0, 44_100
TARGET, NONTARGET = 3_400, 28_050
BEAM_WORKERS = 2
RECIPE_RECORDINGS, RECIPE_WINDOWS = 3, 100
MEGABYTE = 1e6


def write_data(folder: Path) -> list[Path]:
    """Writes one recording for each speaker; gives their paths."""
    speech, data = folder / "speech_files", folder / "data"
    started = time.monotonic()
    write_sample_speech(speech, speakers=SPEAKERS, seconds=SECONDS)
    print(f"sample data: {SPEAKERS} x {SECONDS:g} s in {time.monotonic() - started:.0f} s")
    recordings = []
    for speaker in sorted(path for path in speech.iterdir() if path.is_dir()):
        parts = [audio.decode(path, sample_rate=SOURCE_RATE) for path in sorted(speaker.iterdir())]
        joined = np.concatenate(parts)
        recordings.append(data / speaker.name / "speech.mp3")
        recordings[-1].parent.mkdir(parents=True)
        soundfile.write(recordings[-1], np.stack([joined, joined], axis=1), SOURCE_RATE)
    shutil.copy(speech / "SPEAKERS.tsv", data)
    return recordings


def report_ours(made: dict[str, Measured[MadeExamples]], pairs: Path, image_bytes: int) -> float:
    """Prints the two components' results; gives the seconds of both together."""
    for name, done in made.items():
        print(
            f"{name}: {done.seconds:.0f} s (work {done.value.seconds:.0f} s), "
            f"peak {done.peak_bytes / GIBIBYTE:.2f} GiB of all processes, {done.value.counts}"
        )
    train = made["SpectrogramPairGen"].value.counts[features.TRAIN]
    files = list((pairs / f"Split-{features.TRAIN}").iterdir())
    size = sum(file.stat().st_size for file in files)
    images = 2 * train * image_bytes
    print(
        f"training pairs: {train} (expected {TARGET + NONTARGET}), {size / MEGABYTE:.0f} MB in "
        f"{len(files)} files; as float32 images of three channels {images / MEGABYTE:.0f} MB, "
        f"ratio 1/{images / size:.1f}"
    )
    return sum(done.seconds for done in made.values())


def report_recipe(times: RecipeTimes, pairs: int, our_seconds: float) -> None:
    """Prints what the recipe took, and what it would take for all the data."""
    preparation = times.preparation_seconds * SPEAKERS / RECIPE_RECORDINGS
    windows = times.window_seconds * 2 * pairs
    total = preparation + windows
    print(
        f"the article's recipe, measured on {RECIPE_RECORDINGS} recordings "
        f"({times.recording_seconds:.0f} s): {times.preparation_seconds:.1f} s to prepare, "
        f"{1000 * times.window_seconds:.2f} ms a window\n"
        f"for {SPEAKERS} recordings and {2 * pairs} windows, by multiplication: "
        f"{preparation:.0f} s + {windows:.0f} s = {total:.0f} s, without writing anything; "
        f"ours {our_seconds:.0f} s, ratio {total / our_seconds:.1f}"
    )


def run(folder: Path) -> None:
    """Runs everything and prints as it goes."""
    config: Config = load_config("paper")
    recordings = write_data(folder)
    data, output = folder / "data", folder / "output"
    splits = [features.TRAIN, features.CALIBRATION, features.EVAL]
    made = {
        "SpeechExampleGen": measured(make_speech, data, output, config, BEAM_WORKERS),
        "SpectrogramPairGen": measured(make_pairs, splits, output, config, BEAM_WORKERS),
    }
    times = run_recipe(recordings[:RECIPE_RECORDINGS], RECIPE_WINDOWS)
    our_seconds = report_ours(made, output / "pairs", times.image_bytes)
    pairs = sum(made["SpectrogramPairGen"].value.counts.values())
    report_recipe(times, pairs, our_seconds)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        run(Path(sys.argv[1]))
    else:
        with tempfile.TemporaryDirectory() as temporary:
            run(Path(temporary))
