"""`swar embed` at size: time and peak memory of many recordings, with the base model in process.

`python -m benchmarks.embedding_many [RECORDINGS...]`: default 100 and 1000, of 10 s each. Comparing
the two shows that the memory does not grow with their number.
"""

import os
import sys
import tempfile
from pathlib import Path

import numpy as np
import soundfile

from benchmarks.process_memory import GIBIBYTE, measured
from components import audio
from pipeline.cli import app
from pipeline.sample_data.speech import write_sample_speech

RATE = 16_000
SECONDS = 10
SPEAKERS = 12
SPEAKER_SECONDS = 60


def write_recordings(folder: Path, count: int) -> None:
    """Writes `folder/<speaker>/<number>.wav`, each a different cut of SYNTHETIC speech."""
    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as temporary:
        speech = Path(temporary, "speech")
        write_sample_speech(speech, speakers=SPEAKERS, seconds=SPEAKER_SECONDS)
        speakers = sorted(path for path in speech.iterdir() if path.is_dir())
        for first, speaker in enumerate(speakers):
            files = sorted(speaker.iterdir())
            samples = np.concatenate([audio.decode(file, sample_rate=RATE) for file in files])
            (folder / speaker.name).mkdir(parents=True)
            for number in range(first, count, len(speakers)):
                start = rng.integers(len(samples))
                cut = np.resize(np.roll(samples, -start), SECONDS * RATE)
                soundfile.write(folder / speaker.name / f"{number:06d}.wav", cut, RATE)


def embed(data: str, output: str) -> None:
    """Runs the command."""
    app(["embed", data, "--output", output], standalone_mode=False)


def main(counts: list[int]) -> None:
    """Prints a line for each number of recordings."""
    with tempfile.TemporaryDirectory(prefix="swar-embedding-many-") as temporary:
        for count in counts:
            data, output = Path(temporary, f"data-{count}"), Path(temporary, f"{count}.parquet")
            write_recordings(data, count)
            done = measured(embed, str(data), str(output))
            print(
                f"{count} recordings of {SECONDS} s: {done.seconds:.1f} s with the start, "
                f"{done.processor_seconds:.1f} s of a processor, "
                f"{count / done.seconds:.2f} recordings/s, peak {done.peak_bytes / GIBIBYTE:.2f} "
                f"GiB, file of {output.stat().st_size / 2**20:.2f} MiB, load "
                f"{os.getloadavg()[2]:.1f}"
            )


if __name__ == "__main__":
    main([int(argument) for argument in sys.argv[1:]] or [100, 1000])
