"""Another encoder's embeddings of recordings, for `trainer.teacher`.

`python -m benchmarks.base.teacher DATA FILE`: DATA is what `swar run --data` takes, FILE (.npz)
gets an embedding of each recording as it is, undegraded. The encoder is Resemblyzer's (an LSTM
trained with GE2E, 256 values, Apache-2.0): `pip install 'swar[peer]'`.
"""

import argparse
from pathlib import Path

import numpy as np
from rich.progress import track

from benchmarks.quality.peer import Resemblyzer
from components import audio
from components.errors import SwarError
from components.speech_example_gen.sources import list_recordings
from components.storage import open_locally
from components.trainer.teacher import write

SAMPLE_RATE = 16_000


def run(data: str, file: Path) -> tuple[int, list[str]]:
    """Writes the file.

    Returns:
        How many recordings it has, and why others are not in it.

    Raises:
        SwarError: the encoder is not installed, or there are no such recordings.
    """
    teacher = Resemblyzer()
    names, embeddings, left_out = [], [], []
    for item in track(list_recordings(data).recordings, "recordings"):
        try:
            with open_locally(item.path) as path:
                samples = audio.decode(path, sample_rate=SAMPLE_RATE)
        except audio.AudioError as error:
            left_out.append(f"{item.recording}: {error}")
            continue
        names.append(item.recording)
        embeddings.append(teacher.embed_samples(samples))
    write(file, names, np.stack(embeddings))
    return len(names), left_out


def main() -> None:
    """Reads the arguments, says what it wrote."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.base.teacher")
    parser.add_argument("data", metavar="DATA")
    parser.add_argument("file", type=Path, metavar="FILE")
    arguments = parser.parse_args()
    try:
        count, left_out = run(arguments.data, arguments.file)
    except SwarError as error:
        parser.exit(2, f"{parser.prog}: error: {error}\n")
    print(f"{arguments.file}: {count} recordings")
    for why in left_out:
        print(f"left out: {why}")


if __name__ == "__main__":
    main()
