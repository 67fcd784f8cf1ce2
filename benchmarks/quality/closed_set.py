"""Speakers that a model was trained on, by the last part of their speech, which it never heard.

`python -m benchmarks.quality.closed_set OUTPUT [SECONDS]`: the `eval` split of a finished run, cut
into utterances of 3 s and compared set by set; a set is the first part of a recording's name.
"""

import json
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from tfx.dsl.io import fileio

from components import features
from components.conditions import CLEAN
from components.model_files import version_folder
from components.pcm16 import pack_wav
from components.published_model import PublishedModel
from components.speech_examples import read_examples, samples_of, text
from components.verification.slices import measure_slices
from components.verification.trials import UTTERANCE_COLUMNS, choose_trials, trial_table
from pipeline.output.records import Records

SECONDS = 3.0
RESAMPLES, TRIALS = 1_000, 100_000
SHOWN = ("eer", "balanced_precision", "recall", "false_accept_rate", "cllr")


def utterances(
    speech: str, seconds: float, sample_rate: int
) -> tuple[pd.DataFrame, list[npt.NDArray[np.int16]]]:
    """UTTERANCE_COLUMNS of the `eval` split, end to end, and their samples."""
    rows: list[dict[str, Any]] = []
    sounds = []
    length = round(seconds * sample_rate)
    for file in sorted(fileio.glob(f"{speech}/Split-{features.EVAL}/*")):
        for example in read_examples(file):
            recording, pcm16 = text(example, features.RECORDING), samples_of(example)
            for start in range(0, len(pcm16) - length + 1, length):
                rows.append(
                    {
                        "set": recording.partition("/")[0],
                        "duration_seconds": seconds,
                        "utterance": f"{recording}#{len(rows)}",
                        "speaker": text(example, features.SPEAKER),
                        "recording": recording,
                        "session": None,
                        "gender": text(example, features.GENDER),
                        "channel": "unknown",
                        "start_seconds": start / sample_rate,
                        "speech_seconds": seconds,
                        "condition": CLEAN,
                    }
                )
                sounds.append(pcm16[start : start + length])
    return pd.DataFrame(rows, columns=list(UTTERANCE_COLUMNS)), sounds


def run(output: Path, seconds: float) -> None:
    """Prints the figures of each set, with intervals of 95 % over speakers."""
    served = PublishedModel(version_folder(output / "published"))
    speech = Records(output).latest_outputs()["speech"].uri
    table, sounds = utterances(speech, seconds, served.sample_rate)
    answer = served.embed([pack_wav(sound, served.sample_rate) for sound in sounds])
    usable = np.array([status == "ok" for status in answer.status])
    print(f"{len(table)} utterances of {seconds:g} s, {np.sum(~usable)} not usable")
    by_set = defaultdict(list)
    for row, name in enumerate(table["set"]):
        if usable[row]:
            by_set[name].append(row)
    for rows in by_set.values():
        part = table.iloc[rows]
        chosen = choose_trials(part, TRIALS, seed=0)
        trials = trial_table(
            part,
            answer.embedding[rows],
            chosen.first,
            chosen.second,
            chosen.label,
            served.score,
        )
        print(told(trials))


def told(trials: pd.DataFrame) -> str:
    """A line for one set."""
    everything = measure_slices(trials, resamples=RESAMPLES, seed=0)[0]
    figures = {name: everything.figures[name] for name in SHOWN}
    counts = {"speakers": everything.speakers, "same": everything.similar}
    shown = [
        f"{name} {one.value:.4f} ({one.low:.4f}-{one.high:.4f})" for name, one in figures.items()
    ]
    return f"{everything.set} {json.dumps(counts)}: {', '.join(shown)}"


if __name__ == "__main__":
    run(Path(sys.argv[1]), float(sys.argv[2]) if len(sys.argv) > 2 else SECONDS)
