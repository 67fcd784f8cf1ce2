"""Whether the error rates that a calibration expects hold for other speakers of the same kind.

`python -m benchmarks.calibration_halves MODEL DATA [--halves N] [--max-speakers N]`: embeds the
windows of a folder of speakers once. Then it calibrates repeatedly on a random half of the
speakers, as `swar calibrate` does, and counts how often the other half's false accept rate lies
within the expected 95 % interval: at the threshold, for each length of utterance, and at the
operating points of 5 and 1 % if there are enough speakers for these.
"""

import argparse
from collections import defaultdict
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from rich.table import Table

from components.errors import SwarError
from components.model.files import model_folder
from components.model.published import PublishedModel
from components.model.published_parts import PublishedParts
from components.recordings.sources import list_recordings
from components.terminal import Console
from components.trainer.utterances import EmbeddedWindows, WindowOrigins
from components.verification.error_rates import ALL_NONTARGETS, FALSE_ACCEPT_RATE
from pipeline.models.calibration import embed_windows, learn_calibration

POINTS = (0.05, 0.01)
MOST_PAIRS = 300_000


class ComparedRate(NamedTuple):
    """A rate that one half expects, with its interval, and the other half's rate."""

    value: float
    low: float
    high: float
    other: float

    @property
    def is_within(self) -> bool:
        """Whether the other half's rate lies within the interval."""
        return self.low <= self.other <= self.high


def of_speakers(windows: EmbeddedWindows, speakers: npt.NDArray[np.bytes_]) -> EmbeddedWindows:
    """The windows of some speakers alone."""
    origins = windows.windows
    rows = np.flatnonzero(np.isin(origins.speaker.astype(bytes), speakers))
    chosen = WindowOrigins(
        origins.speaker[rows], origins.recording[rows], origins.start_seconds[rows]
    )
    return replace(windows, embedding=windows.embedding[rows], windows=chosen)


def nontarget_distances(windows: EmbeddedWindows, count: int) -> npt.NDArray[np.float32]:
    """Distances of two speakers' utterances, of `count` windows each and without overlap."""
    utterances = windows.utterances(count, count * windows.window_seconds)
    first, second = np.triu_indices(len(utterances.speaker), 1)
    nontarget = np.flatnonzero(utterances.speaker[first] != utterances.speaker[second])
    if len(nontarget) > MOST_PAIRS:
        nontarget = np.random.default_rng(0).choice(nontarget, MOST_PAIRS, replace=False)
    return windows.distances(utterances, first[nontarget], second[nontarget])


def compare_halves(
    one: EmbeddedWindows, other: EmbeddedWindows, parts: PublishedParts
) -> dict[str, ComparedRate]:
    """The rates that one half expects, beside the other half's, by name."""
    calibration, report = learn_calibration("one half", one, parts.trainer.seed)
    seconds = [row["seconds"] for row in report[ALL_NONTARGETS]]
    distances = [nontarget_distances(other, round(each / one.window_seconds)) for each in seconds]
    compared = {}
    for row, distance in zip(report[ALL_NONTARGETS], distances, strict=True):
        expected = row[FALSE_ACCEPT_RATE]
        if expected["low"] is not None and len(distance):
            rate = float(np.mean(distance <= calibration.threshold))
            compared[f"threshold, {row['seconds']:.3g} s"] = ComparedRate(**expected, other=rate)
    for point in report["operating_points"]:
        if point["threshold"] is not None and point["max_false_accept_rate"] in POINTS:
            rate = float(np.mean(np.concatenate(distances) <= point["threshold"]))
            name = f"point of {100 * point['max_false_accept_rate']:g} %"
            compared[name] = ComparedRate(**point[FALSE_ACCEPT_RATE], other=rate)
    return compared


def main() -> None:
    """Prints a table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.calibration_halves")
    parser.add_argument("model", metavar="MODEL")
    parser.add_argument("data", metavar="DATA")
    parser.add_argument("--halves", type=int, default=10)
    parser.add_argument("--max-speakers", type=int, default=None)
    arguments = parser.parse_args()
    console = Console()
    folder = model_folder(arguments.model)
    listing = list_recordings(arguments.data)
    if arguments.max_speakers is not None:
        speakers = sorted({each.speaker for each in listing.recordings})
        chosen = set(
            np.random.default_rng(0).permutation(speakers)[: arguments.max_speakers].tolist()
        )
        recordings = tuple(each for each in listing.recordings if each.speaker in chosen)
        listing = replace(listing, recordings=recordings)
    served, parts = PublishedModel(folder), PublishedParts.read(folder)
    windows = embed_windows("data", listing, served, parts, console).windows
    names = np.unique(windows.windows.speaker.astype(bytes))
    console.print(f"{len(names)} speakers, {len(windows.embedding)} windows")
    found: dict[str, list[ComparedRate]] = defaultdict(list)
    for seed in range(arguments.halves):
        shuffled = np.random.default_rng(seed).permutation(names)
        half = len(names) // 2
        one, other = (of_speakers(windows, part) for part in (shuffled[:half], shuffled[half:]))
        try:
            compared = compare_halves(one, other, parts)
        except SwarError as error:
            parser.exit(2, f"{parser.prog}: error: {error}\n")
        for name, rates in compared.items():
            found[name].append(rates)
    table = Table()
    for column in (
        "false accepts at",
        "expected %",
        "other half %",
        "within the interval",
    ):
        table.add_column(column, justify="right")
    for name, halves in found.items():
        table.add_row(
            name,
            f"{100 * np.mean([each.value for each in halves]):.2f}",
            f"{100 * np.mean([each.other for each in halves]):.2f}",
            f"{sum(each.is_within for each in halves)} of {len(halves)}",
        )
    console.print(table)


if __name__ == "__main__":
    main()
