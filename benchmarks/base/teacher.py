"""Another encoder's embeddings of recordings, for `trainer.teacher`.

`python -m benchmarks.base.teacher DATA FILE [--speed S]...`: DATA is what `swar run --data` takes,
FILE (.npz) gets an embedding of each recording, undegraded, at each of the speeds (those of
`--config base`, unless named). The encoder is Resemblyzer's (an LSTM trained with GE2E, 256
values, Apache-2.0): `pip install -e '.[peer]'`.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import soxr
from rich.progress import track

from benchmarks.quality.peer import Resemblyzer
from components import audio
from components.errors import SwarError
from components.recordings.files import open_locally
from components.recordings.sources import list_recordings
from components.spectrogram_pair_gen.sampling import NORMAL_SPEED, TrainSpeaker
from components.trainer.teacher import write
from pipeline.config import load_config

SAMPLE_RATE = 16_000


def run(data: str, file: Path, speeds: Sequence[float]) -> tuple[int, list[str]]:
    """Writes the file.

    Args:
        data: what `swar run --data` takes.
        file: ends in `.npz`.
        speeds: to play each recording at.

    Returns:
        How many embeddings the file has, and why others are not in it.

    Raises:
        SwarError: the encoder is not installed, or there are no such recordings.
    """
    teacher = Resemblyzer()
    speakers: list[str] = []
    recordings, embeddings, left_out = [], [], []
    for item in track(list_recordings(data).recordings, "recordings"):
        try:
            with open_locally(item.path) as path:
                samples = audio.decode(path, sample_rate=SAMPLE_RATE)
        except audio.AudioError as error:
            left_out.append(f"{item.recording}: {error}")
            continue
        for speed in speeds:
            played = samples if speed == NORMAL_SPEED else soxr.resample(samples, speed, 1.0)
            speakers.append(TrainSpeaker(item.speaker, speed).name)
            recordings.append(item.recording)
            embeddings.append(teacher.embed_samples(played))
    write(file, speakers, recordings, np.stack(embeddings))
    return len(recordings), left_out


def main() -> None:
    """Runs the command."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.base.teacher")
    parser.add_argument("data", metavar="DATA")
    parser.add_argument("file", type=Path, metavar="FILE")
    parser.add_argument("--speed", type=float, action="append", default=[], metavar="S")
    arguments = parser.parse_args()
    try:
        speeds = arguments.speed or load_config("base").pairs.train_speeds
        count, left_out = run(arguments.data, arguments.file, speeds)
    except SwarError as error:
        parser.exit(2, f"{parser.prog}: error: {error}\n")
    print(f"{arguments.file}: {count} embeddings")
    for why in left_out:
        print(f"left out: {why}")


if __name__ == "__main__":
    main()
