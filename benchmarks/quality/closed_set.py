"""A model's training speakers, judged by the last part of their speech, which is new to it.

`python -m benchmarks.quality.closed_set OUTPUT [SECONDS]`: the `eval` split of a finished run, cut
into utterances of 3 s and compared set by set; a set is the first part of a recording's name.
"""

import json
import sys
from pathlib import Path

import pandas as pd
from tfx.dsl.io import fileio

from components import features
from components.model.files import version_folder
from components.model.published import PublishedModel
from components.verification.slices import measure_slices
from components.verification.trials import choose_trials, trial_table
from components.verification.utterances import EmbeddedUtterances, UtterancePlan, embed
from components.verification_report.pieces import cut, positions_of, read_pieces
from pipeline.output.records import Records

SECONDS = 3.0
RESAMPLES, TRIALS = 1_000, 100_000
SHOWN = ("eer", "balanced_precision", "recall", "false_accept_rate", "cllr")


def embedded_speech(speech: str, seconds: float, served: PublishedModel) -> EmbeddedUtterances:
    """The `eval` split cut end to end, as in the report; `set` is the recording's."""
    pieces = [
        piece
        for file in sorted(fileio.glob(f"{speech}/Split-{features.EVAL}/*"))
        for piece in read_pieces(features.EVAL, file, {})
    ]
    plan = UtterancePlan(
        features.EVAL,
        [round(seconds * served.sample_rate)],
        served.sample_rate,
        per_speaker=sys.maxsize,
        seed=0,
    )
    embedded = embed(cut(positions_of(pieces, plan), plan), served).in_order()
    own = embedded.utterances["recording"].str.partition("/")[0]
    return embedded._replace(utterances=embedded.utterances.assign(set=own))


def run(output: Path, seconds: float) -> None:
    """Prints the metrics of each set, with 95 % intervals over speakers."""
    served = PublishedModel(version_folder(output / "published"))
    embedded = embedded_speech(Records(output).latest_outputs()["speech"].uri, seconds, served)
    unusable = len(embedded.unusable)
    total = len(embedded.utterances) + unusable
    print(f"{total} utterances of {seconds:g} s, {unusable} not usable")
    for name in embedded.utterances["set"].unique():
        part = embedded.where(embedded.utterances["set"] == name)
        chosen = choose_trials(part.utterances, TRIALS, seed=0)
        trials = trial_table(
            part.utterances,
            part.embeddings,
            chosen.first,
            chosen.second,
            chosen.label,
            served.score,
        )
        print(shown(trials))


def shown(trials: pd.DataFrame) -> str:
    """A line for one set."""
    everything = measure_slices(trials, resamples=RESAMPLES, seed=0)[0]
    figures = {name: everything.figures[name] for name in SHOWN}
    counts = {"speakers": everything.speakers, "same": everything.similar}
    estimates = [
        f"{name} {one.value:.4f} ({one.low:.4f}-{one.high:.4f})" for name, one in figures.items()
    ]
    return f"{everything.set} {json.dumps(counts)}: {', '.join(estimates)}"


if __name__ == "__main__":
    run(Path(sys.argv[1]), float(sys.argv[2]) if len(sys.argv) > 2 else SECONDS)
