"""How much data a user needs: the equal error rate with fewer speakers, and with less speech.

`python -m benchmarks.thinning MODEL DATA... [--draws N]`: embeds the windows of each folder or
manifest of speakers once. Then it measures the equal error rate and its 95 % interval: of 3 s a
side with random 5, 10, 20, 50, 100 and 200 of the speakers who have two such utterances (means of N
draws); of all speakers with 2, 3, 5 and 10 s a side; and of 3 s against the mean of 1, 2 and 4
recordings of 3 s each, of the speakers who have five. Seconds are rounded to whole windows of the
model. Two utterances of one speaker come from two recordings where the speaker has them.
"""

import argparse
import math
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import astuple
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
from rich.table import Table

from benchmarks.calibration_halves import of_speakers
from components.errors import SwarError
from components.model.files import model_folder
from components.model.published import PublishedModel
from components.model.published_parts import PublishedParts
from components.recordings.sources import list_recordings
from components.terminal import Console
from components.trainer.utterances import EmbeddedWindows, Indices, Utterances
from components.verification.bootstrap import Estimate, estimate, resampled_weights
from components.verification.error_rates import (
    NONTARGET,
    TARGET,
    DistinctDistances,
    equal_error_rate,
)
from pipeline.models.calibration import embed_windows

SPEAKERS = (5, 10, 20, 50, 100, 200)
SECONDS = (2.0, 3.0, 5.0, 10.0)
REFERENCES = (1, 2, 4)
QUERY_SECONDS = 3.0
MOST_NONTARGET = 30_000
RESAMPLES = 200
SEED = 0


class Trials(NamedTuple):
    """Comparisons of utterances. All [N]."""

    distance: npt.NDArray[np.float32]
    label: Indices
    speaker_a: Indices
    speaker_b: Indices

    def eer(self) -> Estimate | None:
        """Equal error rate, with its interval over speakers; None without trials of both kinds."""
        if len(np.unique(self.label)) < 2:
            return None
        distances = DistinctDistances(self.label, self.distance)

        def weighed(weight: npt.NDArray[np.float64]) -> float:
            trials = distances.weighed(weight)
            return equal_error_rate(trials) if trials.has_both_classes() else math.nan

        drawn = resampled_weights(pd.DataFrame(self._asdict()), RESAMPLES, SEED)
        return estimate(weighed(np.ones(len(self.label))), [weighed(weight) for weight in drawn])


def compare(windows: EmbeddedWindows, utterances: Utterances) -> Trials:
    """All pairs of utterances, except of one recording where the speaker has several."""
    speaker, recording = utterances.speaker, utterances.recording
    first, second = np.triu_indices(len(speaker), 1)
    same = speaker[first] == speaker[second]
    _, of_recording = np.unique(recording, return_index=True)
    several = np.bincount(speaker[of_recording], minlength=1 + max(speaker, default=0)) > 1
    left_out = same & (recording[first] == recording[second]) & several[speaker[first]]
    return trials_of(windows, utterances, first[~left_out], second[~left_out])


def trials_of(
    windows: EmbeddedWindows, utterances: Utterances, first: Indices, second: Indices
) -> Trials:
    """Pairs of utterances; if too many are of two speakers, a random part of them."""
    same = utterances.speaker[first] == utterances.speaker[second]
    nontarget = np.flatnonzero(~same)
    if len(nontarget) > MOST_NONTARGET:
        nontarget = np.random.default_rng(SEED).choice(nontarget, MOST_NONTARGET, replace=False)
    chosen = np.concatenate([np.flatnonzero(same), nontarget])
    first, second = first[chosen], second[chosen]
    return Trials(
        windows.distances(utterances, first, second),
        np.where(same[chosen], TARGET, NONTARGET),
        utterances.speaker[first],
        utterances.speaker[second],
    )


def by_speakers(
    windows: EmbeddedWindows, count: int, draws: int
) -> Iterator[tuple[int, list[Estimate]]]:
    """Rates of random speakers who have two utterances of `count` windows."""
    speaker = windows.utterances(count, count * windows.window_seconds).speaker
    able = np.array(windows.speakers)[np.flatnonzero(np.bincount(speaker) >= 2)]
    for number in SPEAKERS:
        if number <= len(able):
            parts = [
                of_speakers(windows, np.char.encode(generator.choice(able, number, replace=False)))
                for generator in np.random.default_rng(SEED).spawn(draws)
            ]
            found = [
                compare(part, part.utterances(count, count * part.window_seconds)).eer()
                for part in parts
            ]
            yield number, [each for each in found if each is not None]


def with_references(windows: EmbeddedWindows, count: int) -> Iterator[tuple[int, int, Estimate]]:
    """Number of references, of speakers, and the rate of first against later recordings."""
    utterances = windows.utterances(count, count * windows.window_seconds)
    _, first_of = np.unique(utterances.recording, return_index=True)
    of_speaker = defaultdict(list)
    for row in first_of.tolist():
        of_speaker[int(utterances.speaker[row])].append(row)
    able = {each: rows for each, rows in of_speaker.items() if len(rows) > max(REFERENCES)}
    queries = [row for rows in able.values() for row in rows[max(REFERENCES) :]]
    for number in REFERENCES if len(able) > 1 else ():
        means = np.stack(
            [utterances.embedding[rows[:number]].mean(axis=0) for rows in able.values()]
        )
        if windows.unit_norm:
            means /= np.linalg.norm(means, axis=1, keepdims=True)
        rows = [rows[0] for rows in able.values()] + queries
        compared = Utterances(
            np.concatenate([means, utterances.embedding[queries]]),
            utterances.speaker[rows],
            utterances.recording[rows],
            utterances.start_seconds[rows],
            utterances.end_seconds[rows],
        )
        first, second = (each.ravel() for each in np.indices((len(able), len(queries))))
        rate = trials_of(windows, compared, first, second + len(able)).eer()
        assert rate is not None  # every speaker has a query
        yield number, len(able), rate


def rows_of(windows: EmbeddedWindows, draws: int) -> Iterator[tuple[str, str, str]]:
    """What was thinned, the equal error rate and its interval, in per cent."""
    three = round(QUERY_SECONDS / windows.window_seconds)
    for number, rates in by_speakers(windows, three, draws):
        value, low, high = (100.0 * np.nanmean([astuple(each) for each in rates], axis=0)).tolist()
        values = 100.0 * np.array([each.value for each in rates])
        spread = f"draws {values.min():.1f} to {values.max():.1f}"
        yield f"{number} speakers", f"{value:.1f} ({spread})", f"{low:.1f} to {high:.1f}"
    for seconds in SECONDS:
        count = max(1, round(seconds / windows.window_seconds))
        utterances = windows.utterances(count, count * windows.window_seconds)
        trials = compare(windows, utterances)
        if (rate := trials.eer()) is not None:
            own = len(np.unique(trials.speaker_a[trials.label == TARGET]))
            name = f"{count * windows.window_seconds:.1f} s a side, {own} speakers"
            yield name, *shown(rate)
    for number, speakers, rate in with_references(windows, three):
        yield f"{number} recordings enrolled, {speakers} speakers", *shown(rate)


def shown(rate: Estimate) -> tuple[str, str]:
    """The rate and its interval in per cent."""
    return f"{100 * rate.value:.1f}", f"{100 * rate.low:.1f} to {100 * rate.high:.1f}"


def main() -> None:
    """Prints a table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.thinning")
    parser.add_argument("model", metavar="MODEL")
    parser.add_argument("data", metavar="DATA", nargs="+")
    parser.add_argument("--draws", type=int, default=10)
    arguments = parser.parse_args()
    console = Console()
    try:
        folder = model_folder(arguments.model)
        served, parts = PublishedModel(folder), PublishedParts.read(folder)
        for data in arguments.data:
            name = Path(data).stem
            listing = list_recordings(data)
            windows = embed_windows(name, listing, served, parts, console).windows
            table = Table("", "equal error rate %", "95 % interval", title=name)
            for row in rows_of(windows, arguments.draws):
                table.add_row(*row)
            console.print(table)
    except SwarError as error:
        parser.exit(2, f"{parser.prog}: error: {error}\n")


if __name__ == "__main__":
    main()
