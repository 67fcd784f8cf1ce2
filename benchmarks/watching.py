"""How soon `swar drift --log` tells that recordings have changed, and how often it is wrong.

`python -m benchmarks.watching FOLDER [--recordings N] [--rows FILE]`: the base model, in process,
gets the first seconds of a set's recordings, most as they are, others through a codec or with 6 dB
more background noise, and gives the rows of a watch log. Then logs are drawn from these with
replacement: without a change, also with runs of one recording, to count false alarms, and with a
change after the reference, to see after how many requests it is detected. `--rows` keeps the rows.
"""

import argparse
import json
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from rich.progress import track

from components import audio
from components.conditions import CONDITIONS
from components.degradation import Samples, coloured_noise
from components.terminal import Console, say
from pipeline.models.drift_settings import DriftSettings
from pipeline.models.watched_drift import alarm_limit, first_alarm
from serving.client import Client
from serving.recordings import Waveform
from serving.watching import Row

RATE: Final = 16_000
SECONDS: Final = 4.0
CHANGED_EVERY: Final = 4
NORMAL_REQUESTS, LOGS, CHANGES = 10_000, 100, 200
RUNS: Final = (1, 5)
BEFORE, AFTER = 300, 400
"""Requests between the reference and the change, and after the change."""
NORMAL: Final = "as they are"
_FRAME: Final = 512
_FLOOR_PERCENT: Final = 10

Numbers = npt.NDArray[np.float64]


def noisier(samples: Samples, _: int, generator: np.random.Generator) -> Samples:
    """Adds white noise that makes the power of the quietest tenth of the frames fourfold."""
    frames = samples[: len(samples) // _FRAME * _FRAME].reshape(-1, _FRAME)
    floor = np.percentile(np.mean(np.square(frames), axis=1), _FLOOR_PERCENT)
    noise = coloured_noise(len(samples), 0.0, generator)
    return samples + noise * np.float32(np.sqrt(3.0 * floor / np.mean(np.square(noise))))


KINDS: Final[Mapping[str, Callable[[Samples, int, np.random.Generator], Samples]]] = {
    NORMAL: lambda samples, _, __: samples,
    "6 dB more noise": noisier,
    **{name: CONDITIONS[name] for name in ("telephone", "mp3", "opus")},
}


def watched_rows(folder: Path, recordings: int) -> dict[str, list[Row]]:
    """Rows by kind: each change of one recording in CHANGED_EVERY, and the others unchanged."""
    rng = np.random.default_rng(0)
    files = sorted(path for path in folder.glob("*/*") if path.is_file())
    chosen = [files[place] for place in rng.permutation(len(files))[:recordings]]
    rows: dict[str, list[Row]] = defaultdict(list)
    with Client.in_process() as client:
        for place, file in enumerate(track(chosen, console=Console(stderr=True))):
            samples = audio.decode(file, sample_rate=RATE, end_seconds=SECONDS)
            for kind in [NORMAL] if place % CHANGED_EVERY else list(KINDS)[1:]:
                client.watchers = [rows[kind].append]
                client.embed([Waveform(KINDS[kind](samples, RATE, rng), RATE)])
    return rows


def numbers_of(rows: list[Row]) -> dict[str, Numbers]:
    """[rows] by name; NaN where a row has no such number."""
    names = sorted({name for row in rows for name in row["values"]})
    found = {name: np.array([row["values"].get(name, np.nan) for row in rows]) for name in names}
    return found | {"ok": np.array([float(row["status"] == "ok") for row in rows])}


def drawn(
    numbers: Mapping[str, Numbers], count: int, rng: np.random.Generator, *, run: int = 1
) -> dict[str, Any]:
    """`count` of the rows, by name; each comes `run` times in succession."""
    places = np.repeat(rng.integers(len(numbers["ok"]), size=-(-count // run)), run)[:count]
    return {name: values[places] for name, values in numbers.items()}


def alarms(log: Mapping[str, Numbers], reference: int, limit: float) -> dict[str, int]:
    """Places of alarms after the reference, counted in rows of the log, by name."""
    found = {}
    for name, values in log.items():
        known = np.flatnonzero(np.isfinite(values))
        alarm = first_alarm(values[known], reference, limit)
        if alarm is not None:
            found[name] = int(known[reference + alarm.alarm]) - reference
    return found


def run(rows: Mapping[str, list[Row]], settings: DriftSettings) -> None:
    """Prints false alarms, and a line for each change."""
    rng = np.random.default_rng(1)
    reference = settings.reference_rows
    normal = numbers_of(rows[NORMAL])
    limit = alarm_limit(len(normal), settings.requests_per_false_alarm)
    for length in RUNS:
        logs = (drawn(normal, reference + NORMAL_REQUESTS, rng, run=length) for _ in range(LOGS))
        counts = [len(alarms(log, reference, limit)) for log in logs]
        say(
            f"{len(normal)} series, a reference of {reference}, each recording {length} times: "
            f"{np.mean(counts):.2f} false alarms in {NORMAL_REQUESTS:,} requests ({LOGS} logs)"
        )
    for kind in list(KINDS)[1:]:
        changed = numbers_of(rows[kind])
        delays, first, early = [], Counter[str](), 0
        for _ in range(CHANGES):
            before, after = drawn(normal, reference + BEFORE, rng), drawn(changed, AFTER, rng)
            log = {name: np.append(before[name], after[name]) for name in normal}
            found = alarms(log, reference, limit)
            early += min(found.values(), default=BEFORE) < BEFORE
            late = {name: place - BEFORE + 1 for name, place in found.items() if place >= BEFORE}
            delays.append(min(late.values(), default=AFTER + 1))
            first[min(late, key=late.__getitem__, default="nothing")] += 1
        middle, most = np.percentile(delays, [50, 95])
        say(
            f"{kind}: detected within 200 requests {np.mean(np.array(delays) <= 200):.1%}, after "
            f"{middle:.0f} (median), {most:.0f} (95 %); before the change {early} of {CHANGES}; "
            f"by {', '.join(f'{name} {count}' for name, count in first.most_common(3))}"
        )


def main() -> None:
    """Prints the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--recordings", type=int, default=240)
    parser.add_argument("--rows", type=Path)
    arguments = parser.parse_args()
    if arguments.rows is not None and arguments.rows.is_file():
        rows = json.loads(arguments.rows.read_text("utf-8"))
    else:
        rows = watched_rows(arguments.folder, arguments.recordings)
        if arguments.rows is not None:
            arguments.rows.write_text(json.dumps(rows), "utf-8")
    run(rows, DriftSettings())


if __name__ == "__main__":
    main()
