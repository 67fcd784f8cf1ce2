"""How well the weights of two sittings, and means of both, know speakers of neither training.

`python -m benchmarks.base.sittings MANIFEST RECORDINGS BEFORE AFTER [--share S]...`: MANIFEST is
the training's data, RECORDINGS the `recordings.jsonl` of the run's SpeechExampleGen, BEFORE and
AFTER are folders of `base.npz` and `base.json` (`benchmarks.base.release` writes one). Up to twelve
single windows of each speaker of the run's `unseen`, as they are and under conditions, are compared
all with all by the cosine of their embeddings. Prints equal error rates in per cent for each share
S of BEFORE in the mean, and their geometric mean. Choose `trainer.starting_share` by them, not by a
run's calibration speakers: another sitting may have trained on these.
"""

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
from rich.progress import track
from rich.table import Table

from benchmarks.base.recalibrate import WindowMaker, speakers_of
from components import features
from components.conditions import CLEAN
from components.errors import SwarError
from components.model.base import BaseModel
from components.model.recordings import FrontEnd
from components.recordings.sources import Recording, list_recordings
from components.terminal import Console
from components.verification.error_rates import DistinctDistances, equal_error_rate
from components.verification.robustness import under_conditions
from components.verification.utterances import UtterancePlan
from pipeline.evaluation.scoring import by_speaker
from pipeline.evaluation.speech import Cutter

CONDITIONS: Final = ("white_noise_10_db", "pink_noise_10_db", "telephone", "hum", "room")
SHARES: Final = (0.0, 0.2, 0.4, 1.0)
PER_SPEAKER, SEED, BATCH = 12, 1, 128


class Sounds(NamedTuple):
    """N windows of held-out speakers."""

    spectrogram: npt.NDArray[np.uint8]
    """[N, n_mels, frames]"""
    speaker: npt.NDArray[np.str_]
    utterance: npt.NDArray[np.str_]
    condition: npt.NDArray[np.str_]


def sounds_of(
    front_end: FrontEnd,
    speakers: Mapping[str, list[Recording]],
    conditions: Sequence[str],
    per_speaker: int,
) -> Sounds:
    """Windows, `per_speaker` of each speaker, clean and under every condition."""
    speech = front_end.speech
    samples = front_end.spectrogram.window_samples(speech.sample_rate)
    plan = UtterancePlan(
        features.UNSEEN,
        [samples],
        speech.sample_rate,
        per_speaker=per_speaker,
        seed=SEED,
        condition_samples=samples,
    )
    cutter, maker = Cutter(plan, speech), WindowMaker(front_end)
    found = []
    for speaker, recordings in track(speakers.items(), "speakers", len(speakers)):
        cuts = under_conditions(cutter.cut(recordings), conditions, SEED)
        for cut, window in maker.taken(cuts):
            name = f"{cut.utterance.recording}#{cut.utterance.start_seconds}"
            found.append((window, speaker, name, cut.utterance.condition))
    windows, *texts = zip(*found, strict=True)
    return Sounds(np.stack(windows), *(np.array(text) for text in texts))


def error_rates(embedding: npt.NDArray[np.float32], sounds: Sounds) -> Mapping[str, float]:
    """Equal error rates by condition: both sides clean; one side changed, and both.

    Args:
        embedding: [N, D], of length 1.
    """
    of = {name: np.flatnonzero(sounds.condition == name) for name in (CLEAN, *CONDITIONS)}
    sides = {CLEAN: (CLEAN, CLEAN)}
    for name in CONDITIONS:
        sides |= {f"{name}, one": (CLEAN, name), f"{name}, both": (name, name)}
    return {
        row: _equal_error_rate(embedding, sounds, of[first], of[second])
        for row, (first, second) in sides.items()
    }


def _equal_error_rate(
    embedding: npt.NDArray[np.float32],
    sounds: Sounds,
    first: npt.NDArray[np.intp],
    second: npt.NDArray[np.intp],
) -> float:
    """The rate of all pairs of two utterances, once each."""
    distance = 1.0 - np.minimum(embedding[first] @ embedding[second].T, 1.0)
    utterance_a, utterance_b = sounds.utterance[first][:, np.newaxis], sounds.utterance[second]
    is_pair = utterance_a < utterance_b if first is second else utterance_a != utterance_b
    label = sounds.speaker[first][:, np.newaxis] == sounds.speaker[second]
    return equal_error_rate(
        DistinctDistances(label[is_pair], distance[is_pair]).weighed(np.ones(is_pair.sum()))
    )


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.base.sittings")
    parser.add_argument("manifest", metavar="MANIFEST")
    parser.add_argument("recordings", type=Path, metavar="RECORDINGS")
    parser.add_argument("before", type=Path, metavar="BEFORE")
    parser.add_argument("after", type=Path, metavar="AFTER")
    parser.add_argument("--share", type=float, action="append", default=[], metavar="S")
    arguments = parser.parse_args()
    shares = arguments.share or SHARES
    try:
        before, after = (BaseModel.read(each) for each in (arguments.before, arguments.after))
        listed = by_speaker(list_recordings(arguments.manifest))
    except SwarError as error:
        parser.exit(2, f"{parser.prog}: error: {error}\n")
    unseen = speakers_of(arguments.recordings)[features.UNSEEN] & set(listed)
    speakers = {name: listed[name] for name in sorted(unseen)}
    sounds = sounds_of(before.front_end(), speakers, CONDITIONS, PER_SPEAKER)
    tower = before.tower()
    columns = []
    for share in shares:
        tower.set_weights(
            [
                share * first.astype(np.float32) + (1.0 - share) * second.astype(np.float32)
                for first, second in zip(before.weights, after.weights, strict=True)
            ]
        )
        embedding = tower.predict(sounds.spectrogram, batch_size=BATCH, verbose=0)
        columns.append(error_rates(embedding, sounds))
    table = Table("EER %", *(f"share {share:g}" for share in shares), box=None, pad_edge=False)
    for row in columns[0]:
        table.add_row(row, *(f"{100.0 * rates[row]:.1f}" for rates in columns))
    means = [np.exp(np.mean(np.log(list(rates.values())))) for rates in columns]
    table.add_row("geometric mean", *(f"{100.0 * mean:.2f}" for mean in means))
    console = Console()
    console.print(
        f"{len(sounds.speaker)} windows of {len(set(sounds.utterance))} utterances of "
        f"{len(set(sounds.speaker))} speakers"
    )
    console.print(table)


if __name__ == "__main__":
    main()
