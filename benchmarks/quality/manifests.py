"""Manifests of several sets of speech: one to train on, one of each set's unseen speakers.

`python -m benchmarks.quality.manifests SPEECH FOLDER`: SPEECH holds a folder for each set, FOLDER
gets `train.csv` and `unseen/<set>.csv`. The unseen speakers of a set are those that `swar run
--data SPEECH/<set>` would hold out; all of them where that would leave nobody to train on. None
where the speakers have one recording each, which gives no trial of two: all are trained on but
those that another set holds out.
"""

import csv
import sys
from collections.abc import Iterable
from pathlib import Path

from components import features
from components.errors import SwarError
from components.settings import SpeechSettings
from components.speech_example_gen.sources import Recording, list_recordings
from components.speech_example_gen.splitting import held_out_speakers

COLUMNS = ("path", "speaker", "gender", "recording")


def unseen_of(recordings: Iterable[Recording]) -> set[str]:
    """The speakers of one set to judge by."""
    files = [item.speaker for item in recordings]
    speakers = sorted(set(files))
    if len(files) == len(speakers):
        return set()
    try:
        held_out = held_out_speakers(speakers, SpeechSettings())
    except SwarError:
        return set(speakers)
    return {name for name, split in held_out.items() if split == features.UNSEEN}


def write(path: Path, rows: list[tuple[str, Recording]]) -> None:
    """A manifest of recordings, each with its set."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(COLUMNS)
        for name, item in rows:
            table.writerow((item.path, item.speaker, item.gender, f"{name}/{item.recording}"))
    print(f"{path}: {len(rows)} recordings of {len({item.speaker for _, item in rows})} speakers")


def run(speech: Path, folder: Path) -> None:
    """Writes all manifests."""
    sets = {
        path.name: list_recordings(str(path)).recordings
        for path in sorted(speech.iterdir())
        if path.is_dir()
    }
    unseen = {name: unseen_of(recordings) for name, recordings in sets.items()}
    nowhere_trained = set().union(*unseen.values())
    rows = [(name, item) for name, recordings in sets.items() for item in recordings]
    write(folder / "train.csv", [row for row in rows if row[1].speaker not in nowhere_trained])
    for name, speakers in unseen.items():
        if speakers:
            chosen = [(name, item) for item in sets[name] if item.speaker in speakers]
            write(folder / "unseen" / f"{name}.csv", chosen)


if __name__ == "__main__":
    run(Path(sys.argv[1]), Path(sys.argv[2]))
