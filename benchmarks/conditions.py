"""Error rates at a model's threshold by the conditions of both sides, and whether a calibration
that knows the conditions is more accurate on a set that it was not fitted on.

`python -m benchmarks.conditions MODEL DATA... [--speakers N]`: takes two recordings of each speaker
of folders or manifests, 5 s of each at most (or both halves of a speaker's only recording), as they
are, with noise, in a room and over a telephone. Prints, set by set, false accepts and false rejects
of each pair of conditions.

Then it fits three calibrations on all sets but one and judges them by that one: of the distance
alone, like the model's own; with the bandwidths of both sides (the narrower, and their difference);
and with the seconds of speech and the SNR of the poorer side too.
"""

import argparse
import itertools
from collections import defaultdict
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
from rich.table import Table
from sklearn.linear_model import LogisticRegression

from components import audio
from components.conditions import CLEAN, CONDITIONS
from components.errors import SwarError
from components.keyed_random import keyed_generator
from components.model.files import model_folder
from components.model.published import PublishedModel
from components.pcm16 import pack_wav, to_pcm16
from components.recording_quality import quality_of
from components.recordings.sources import list_recordings
from components.terminal import Console
from components.verification.error_rates import (
    CLLR,
    FALSE_ACCEPT_RATE,
    FALSE_REJECT_RATE,
    Scores,
    TrialMetrics,
)

SEED = 0
SECONDS = 5.0
UNDER = ("white_noise_20_db", "pink_noise_10_db", "room", "telephone")
NONTARGETS = 6_000
CALIBRATIONS = {
    "distance alone": ("distance",),
    "and bandwidths": ("distance", "narrower", "difference"),
    "and seconds, SNR": ("distance", "narrower", "difference", "log_seconds", "snr"),
}
Floats = npt.NDArray[np.float64]


def sounds_of(data: str, rate: int, speakers: int) -> list[tuple[str, list[np.ndarray]]]:
    """Two sounds of each of `speakers` speakers, float32 [samples]."""
    paths = defaultdict(list)
    for recording in list_recordings(data).recordings:
        paths[recording.speaker].append(recording.path)
    drawn = keyed_generator(SEED, "conditions", Path(data).stem).permutation(sorted(paths))
    found = []
    for speaker in drawn[:speakers].tolist():
        sounds = [audio.decode(path, sample_rate=rate) for path in paths[speaker][:2]]
        if len(sounds) == 1:
            sounds = np.array_split(sounds[0], 2)
        found.append((speaker, [sound[: round(SECONDS * rate)] for sound in sounds]))
    return found


def embed_set(model: PublishedModel, data: str, speakers: int) -> tuple[pd.DataFrame, np.ndarray]:
    """A row for every sound under every condition, with its quality; embeddings [rows, D]."""
    rate, name = model.sample_rate, Path(data).stem
    rows, vectors = [], []
    for speaker, sounds in sounds_of(data, rate, speakers):
        for number, sound in enumerate(sounds):
            generator = keyed_generator(SEED, "conditions", speaker, number)
            changed = {CLEAN: sound} | {
                each: CONDITIONS[each](sound, rate, generator) for each in UNDER
            }
            pcm16 = {each: to_pcm16(samples) for each, samples in changed.items()}
            answer = model.embed([pack_wav(samples, rate) for samples in pcm16.values()])
            for at, (condition, samples) in enumerate(pcm16.items()):
                if answer.status[at] == "ok":
                    quality = quality_of(samples, rate, float(answer.speech_seconds[at]))
                    rows.append((name, speaker, number, condition, *vars(quality).values()))
                    vectors.append(answer.embedding[at])
    columns = ["set", "speaker", "sound", "condition", "seconds", "snr_db", "hertz", "clipped"]
    return pd.DataFrame(rows, columns=columns), np.stack(vectors)


def poorer(one: pd.DataFrame, other: pd.DataFrame, column: str) -> Floats:
    """The lesser value of both sides, [N]."""
    lesser: Floats = np.minimum(one[column].to_numpy(float), other[column].to_numpy(float))
    return lesser


def trials_of(model: PublishedModel, table: pd.DataFrame, vectors: np.ndarray) -> pd.DataFrame:
    """Trials of every pair of conditions: all of one speaker, some of two speakers."""
    parts = []
    for pair in itertools.combinations_with_replacement((CLEAN, *UNDER), 2):
        rows = [np.flatnonzero(table["condition"] == each) for each in pair]
        first, second = (grid.ravel() for grid in np.meshgrid(*rows, indexing="ij"))
        one, other = (table.iloc[each].reset_index(drop=True) for each in (first, second))
        is_same = one["speaker"] == other["speaker"]
        is_target = (is_same & (one["sound"] < other["sound"])).to_numpy()
        nontargets = np.flatnonzero(~is_same)
        generator = keyed_generator(SEED, "conditions_trials", *pair)
        drawn = generator.permutation(nontargets)[:NONTARGETS]
        chosen = np.concatenate([np.flatnonzero(is_target), drawn])
        one, other = one.iloc[chosen], other.iloc[chosen]
        narrow = [np.clip(1.0 - each["hertz"].to_numpy() / 8_000.0, 0, 1) for each in (one, other)]
        parts.append(
            pd.DataFrame(
                {
                    "set": one["set"].to_numpy(),
                    "conditions": " | ".join(pair),
                    "is_target": is_target[chosen],
                    "distance": model.score(vectors[first[chosen]], vectors[second[chosen]])[0],
                    "narrower": np.minimum(*narrow),
                    "difference": np.abs(narrow[0] - narrow[1]),
                    "log_seconds": np.log(poorer(one, other, "seconds")),
                    "snr": poorer(one, other, "snr_db").clip(0.0, 40.0) / 10.0,
                }
            )
        )
    return pd.concat(parts, ignore_index=True)


def rates(trials: pd.DataFrame, log_odds: Floats) -> tuple[str, str, str]:
    """False accepts and rejects at equal priors in per cent, and Cllr."""
    probability = 1.0 / (1.0 + np.exp(-log_odds))
    scores = Scores(
        trials["is_target"].to_numpy(np.int64),
        trials["distance"].to_numpy(np.float32),
        probability.astype(np.float32),
        log_odds > 0.0,
    )
    metrics = TrialMetrics(scores).weighted(np.ones(len(trials)))
    accepts, rejects = metrics[FALSE_ACCEPT_RATE], metrics[FALSE_REJECT_RATE]
    return f"{100 * accepts:.1f}", f"{100 * rejects:.1f}", f"{metrics[CLLR]:.3f}"


def fitted(trials: pd.DataFrame, features: tuple[str, ...]) -> LogisticRegression:
    """A regression that weighs every set, pair of conditions and class the same."""
    groups = trials.groupby(["set", "conditions", "is_target"])["distance"]
    weight = 1.0 / groups.transform("size").to_numpy()
    regression = LogisticRegression(C=100.0, max_iter=1_000)
    return regression.fit(
        trials[list(features)].to_numpy(), trials["is_target"], weight * len(weight) / weight.sum()
    )


def main() -> None:
    """Prints two tables."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.conditions")
    parser.add_argument("model", metavar="MODEL")
    parser.add_argument("data", metavar="DATA", nargs="+")
    parser.add_argument("--speakers", type=int, default=60, help="of each set")
    arguments = parser.parse_args()
    try:
        model = PublishedModel(model_folder(arguments.model))
        trials = pd.concat(
            [
                trials_of(model, *embed_set(model, data, arguments.speakers))
                for data in arguments.data
            ],
            ignore_index=True,
        )
    except SwarError as error:
        parser.exit(2, f"{parser.prog}: error: {error}\n")
    console, card = Console(), model.card
    by_condition = Table("set", "conditions", "targets", "false accepts %", "rejects %", "Cllr")
    own = card["slope"] * (card["threshold"] - trials["distance"].to_numpy(float))
    for (name, pair), rows in trials.groupby(["set", "conditions"]).indices.items():
        part = trials.iloc[rows]
        targets = str(part["is_target"].sum())
        by_condition.add_row(name, pair, targets, *rates(part, own[rows]))
    console.print(by_condition)
    honest = Table("judged by", "calibration", "fitted on", "false accepts %", "rejects %", "Cllr")
    for name in trials["set"].unique():
        judged, others = trials[trials["set"] == name], trials[trials["set"] != name]
        rows = judged.index.to_numpy()
        honest.add_row(name, "the model's own", "", *rates(judged, own[rows]))
        for title, features in CALIBRATIONS.items() if len(others) else ():
            regression = fitted(others, features)
            log_odds = regression.decision_function(judged[list(features)].to_numpy())
            honest.add_row(name, title, "the others", *rates(judged, log_odds))
    console.print(honest)


if __name__ == "__main__":
    main()
