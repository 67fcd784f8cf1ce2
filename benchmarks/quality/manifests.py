"""Writes manifests of sets of speech, to train on and of their unseen speakers.

`python -m benchmarks.quality.manifests SPEECH FOLDER [--judge-only SET]... [--unseen FRACTION]`:
SPEECH holds a folder for each set. FOLDER gets `train.csv`, `unseen/<set>.csv` and `unseen.csv`,
and in `tuning/` the same again from the speakers of `train.csv` alone: settings are chosen by
these, so that `unseen/` judges what was not chosen by it.

The unseen speakers of a set are those that `swar run --data SPEECH/<set>` would hold out, or all if
that would leave no speaker to train on. A set whose speakers have one recording each gives no
trials: it has no unseen speakers, and all but those that another set holds out are trained on. For
tuning, more speakers are held out of every set.
"""

import argparse
import csv
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from components.errors import SwarError
from components.recordings.sources import Recording, list_recordings
from components.recordings.splitting import unseen_speakers
from components.settings import SpeechSettings

COLUMNS = ("path", "speaker", "gender", "recording")
TUNING_SPEECH = SpeechSettings(seed=1, unseen_speaker_fraction=0.4)
Sets = Mapping[str, list[Recording]]


def have_one_recording_each(recordings: Sequence[Recording]) -> bool:
    """Whether no speaker of a set has two recordings."""
    return len({item.speaker for item in recordings}) == len(recordings)


def unseen_of(recordings: Sequence[Recording], settings: SpeechSettings) -> set[str]:
    """The speakers of one set to judge by."""
    speakers = sorted({item.speaker for item in recordings})
    try:
        return set(unseen_speakers(speakers, settings))
    except SwarError:
        return set(speakers)


def write(path: Path, rows: list[tuple[str, Recording]]) -> None:
    """Writes a manifest of recordings, each with its set."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(COLUMNS)
        for name, item in rows:
            table.writerow((item.path, item.speaker, item.gender, f"{name}/{item.recording}"))
    print(f"{path}: {len(rows)} recordings of {len({item.speaker for _, item in rows})} speakers")


def divide(sets: Sets, unseen: Mapping[str, set[str]], folder: Path) -> Sets:
    """Writes `train.csv`, `unseen/<set>.csv`, and `unseen.csv` with all unseen speakers.

    Gives the recordings of each set to train on.
    """
    nowhere_trained = set().union(*unseen.values())
    trained = {
        name: [item for item in recordings if item.speaker not in nowhere_trained]
        for name, recordings in sets.items()
    }
    write(folder / "train.csv", [(name, item) for name, items in trained.items() for item in items])
    judging: list[tuple[str, Recording]] = []
    for name, speakers in unseen.items():
        if speakers:
            chosen = [(name, item) for item in sets[name] if item.speaker in speakers]
            write(folder / "unseen" / f"{name}.csv", chosen)
            judging += chosen
    write(folder / "unseen.csv", judging)
    return {name: items for name, items in trained.items() if items}


def run(speech: Path, folder: Path, judge_only: Collection[str], unseen_fraction: float) -> None:
    """Writes all manifests."""
    sets = {
        path.name: list(list_recordings(str(path)).recordings)
        for path in sorted(speech.iterdir())
        if path.is_dir()
    }
    if unknown := sorted(set(judge_only) - set(sets)):
        raise SwarError(f"--judge-only {unknown[0]}: no such set in {speech}")
    settings = SpeechSettings(unseen_speaker_fraction=unseen_fraction)
    unseen = {}
    for name, items in sets.items():
        if name in judge_only:
            unseen[name] = {item.speaker for item in items}
        else:
            unseen[name] = set() if have_one_recording_each(items) else unseen_of(items, settings)
    trained = divide(sets, unseen, folder)
    tuning = {name: unseen_of(items, TUNING_SPEECH) for name, items in trained.items()}
    divide(trained, tuning, folder / "tuning")


def main() -> None:
    """Runs the command."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.quality.manifests")
    parser.add_argument("speech", type=Path, metavar="SPEECH")
    parser.add_argument("folder", type=Path, metavar="FOLDER")
    parser.add_argument("--judge-only", action="append", default=[], metavar="SET")
    default = SpeechSettings().unseen_speaker_fraction
    parser.add_argument("--unseen", type=float, default=default, metavar="FRACTION")
    arguments = parser.parse_args()
    try:
        run(arguments.speech, arguments.folder, arguments.judge_only, arguments.unseen)
    except SwarError as error:
        parser.exit(2, f"{parser.prog}: error: {error}\n")


if __name__ == "__main__":
    main()
