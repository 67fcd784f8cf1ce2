"""How far apart recordings of one kind are by chance, and those of different kinds.

`python -m benchmarks.drift FOLDER...`: sets of speakers' folders. Each set is compared with the
others, and 200 times N of its recordings with the rest. Prints TFDV's divergences, and those by
chance as median and 95th percentile, above which `drift.max_...` must lie.
"""

import sys
import time
from itertools import permutations
from pathlib import Path

import numpy as np
import pandas as pd

from components.settings import SpeechSettings
from pipeline.models.drift import ACOUSTICS, compare, measured
from pipeline.models.drift_settings import OUTCOME, DriftSettings

SERVED, TIMES = (50, 100), 200


def divergences(training: pd.DataFrame, serving: pd.DataFrame) -> list[float]:
    """The divergence of every feature, NaN where it is unknown."""
    found = compare(training, serving, DriftSettings())
    return [np.nan if each.divergence is None else each.divergence for each in found]


def by_chance(table: pd.DataFrame, served: int) -> pd.DataFrame:
    """Divergences of random recordings of a set from its others."""
    rng = np.random.default_rng(0)
    rows = []
    for _ in range(TIMES):
        order = rng.permutation(len(table))
        rows.append(divergences(table.iloc[order[served:]], table.iloc[order[:served]]))
    return pd.DataFrame(rows, columns=[*ACOUSTICS, OUTCOME])


def told(values: "pd.Series[float]") -> str:
    """The values on one line."""
    return ", ".join(f"{name} {value:.3f}" for name, value in values.items())


def run(folders: list[Path]) -> None:
    """Prints a line for each comparison."""
    tables = {}
    for folder in folders:
        started = time.process_time()
        rows = measured(folder, SpeechSettings(), lambda done, of: None)
        table = pd.DataFrame(rows, columns=[OUTCOME, *ACOUSTICS])
        tables[folder.name] = table
        took = time.process_time() - started
        minutes = table["speech_seconds"].sum() / 60
        print(
            f"{folder.name}: {len(table)} recordings, {minutes:.1f} min of speech, "
            f"{took:.1f} s of processor time"
        )
    for name, table in tables.items():
        for served in SERVED:
            if len(table) >= 2 * served:
                chance = by_chance(table, served)
                print(f"{name}, {served} by chance, median: {told(chance.median())}")
                print(f"{name}, {served} by chance, 95 %: {told(chance.quantile(0.95))}")
    for one, other in permutations(tables, 2):
        found = divergences(tables[one], tables[other])
        print(f"{one} -> {other}: {told(pd.Series(found, [*ACOUSTICS, OUTCOME]))}")


if __name__ == "__main__":
    run([Path(folder) for folder in sys.argv[1:]])
