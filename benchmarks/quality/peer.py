"""Swar beside another encoder on the same sounds: equal error rates by condition.

`python -m benchmarks.quality.peer MODEL DATA... [--condition NAME]... [--utterances N]`: utterances
of about 3 s, at most N of each speaker, are cut, chosen and put under conditions as `swar evaluate`
does, and both encoders compare the same pairs of them. The other one is Resemblyzer's (an LSTM
trained with GE2E, 16 kHz, Apache-2.0), whose weights come with its package: `pip install
-e '.[peer]'` in swar's repository. Neither compares what one of the two refuses.
"""

import argparse
import io
import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
import soundfile
from rich.table import Table

from components.conditions import CLEAN, choose_conditions
from components.errors import SwarError
from components.model.files import model_folder
from components.model.published import PublishedModel
from components.recordings.sources import Listing
from components.terminal import Console
from components.verification.error_rates import DistinctDistances, equal_error_rate
from components.verification.judge import JudgeSettings
from components.verification.robustness import score_conditions, under_conditions
from components.verification.trials import Embeddings, choose_trials, trial_table
from components.verification.utterances import (
    OK,
    Cut,
    EmbeddedUtterances,
    Model,
    UtterancePlan,
    embed,
)
from pipeline.evaluation.folders import front_end
from pipeline.evaluation.scoring import list_sets, name_sets
from pipeline.evaluation.speech import Cutter

SETTINGS = JudgeSettings()
KEYS = ["condition", "changed_sides", "utterance_a", "utterance_b"]


class PeerOutput(NamedTuple):
    """See `components.verification.utterances.EmbedOutput`."""

    embedding: Embeddings
    speech_seconds: npt.NDArray[np.float32]
    status: list[str]


class Resemblyzer:
    """The other encoder, with its own preparation of sound: level, and long silences trimmed.

    Raises:
        SwarError: the encoder's package is missing.
    """

    def __init__(self) -> None:
        try:
            import resemblyzer
            import torch
        except ImportError as error:
            raise SwarError(
                f"{error.name} is missing: pip install -e '.[peer]' in swar's repository"
            ) from error
        torch.set_num_threads(1)  # more would wait for each other beside TensorFlow's
        self._prepare = resemblyzer.preprocess_wav
        self._encoder = resemblyzer.VoiceEncoder("cpu", verbose=False)

    def embed(self, wavs: Sequence[bytes]) -> PeerOutput:
        """Embeds N WAVs."""
        rows = [self._prepare(*soundfile.read(io.BytesIO(wav), dtype="float32")) for wav in wavs]
        size = self._encoder.linear.out_features
        return PeerOutput(
            np.stack(
                [
                    self._encoder.embed_utterance(row) if len(row) else np.full(size, np.nan)
                    for row in rows
                ]
            ).astype(np.float32),
            np.array([len(row) / 16_000 for row in rows], np.float32),
            [OK if len(row) else "no_speech" for row in rows],
        )

    def embed_samples(self, samples: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """float32 [D] of samples at 16 kHz, unprepared if the preparation leaves nothing."""
        prepared = self._prepare(samples)
        embedding: npt.NDArray[np.float32] = self._encoder.embed_utterance(
            prepared if len(prepared) else samples
        )
        return embedding

    def score(
        self, embedding_a: Embeddings, embedding_b: Embeddings
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32], npt.NDArray[np.bool_]]:
        """Distances; the encoder gives no probabilities or decisions."""
        distance = np.linalg.norm(embedding_a - embedding_b, axis=1).astype(np.float32)
        return distance, np.full(len(distance), np.nan, np.float32), np.zeros(len(distance), bool)


class ComparedErrorRates(NamedTuple):
    """What both encoders reach on the same trials."""

    set: str
    condition: str
    changed_sides: str
    trials: int
    swar: float
    """Equal error rate."""
    peer: float

    @property
    def ratio(self) -> float:
        """Ratio of the two rates; NaN where the peer makes no error."""
        return self.swar / self.peer if self.peer > 0.0 else math.nan


def compare(
    name: str,
    listing: Listing,
    served: PublishedModel,
    peer: Model,
    conditions: Sequence[str],
    utterances_per_speaker: int,
) -> Iterator[ComparedErrorRates]:
    """The rows of one set: clean, then each condition on one side and on both."""
    groups, seconds = _sounds(name, listing, served, conditions, utterances_per_speaker)
    ours, theirs = embed(groups, served), embed(groups, peer)
    wanted = set(_clean(ours).utterances["utterance"]) & set(_clean(theirs).utterances["utterance"])
    ours, theirs = _only(ours, wanted), _only(theirs, wanted)
    chosen = choose_trials(_clean(ours).utterances, SETTINGS.trials_per_class, SETTINGS.seed)
    tables = []
    for model, part in ((served, ours), (peer, theirs)):
        clean = _clean(part)
        trials = trial_table(clean.utterances, clean.embeddings, *chosen[:3], model.score)
        scored = score_conditions(
            part, trials, conditions, model.score, set_name=name, duration_seconds=seconds
        )
        tables.append(pd.concat([trials, *(each.trials for each in scored[1:])]))
    both = tables[0].merge(tables[1], on=[*KEYS, "label"], suffixes=("_swar", "_peer"))
    for (condition, sides), rows in both.groupby(["condition", "changed_sides"], sort=False):
        rates = (_eer(rows["label"], rows[f"distance_{which}"]) for which in ("swar", "peer"))
        yield ComparedErrorRates(name, condition, sides, len(rows), *rates)


def _sounds(
    name: str,
    listing: Listing,
    served: PublishedModel,
    conditions: Sequence[str],
    utterances_per_speaker: int,
) -> tuple[list[list[Cut]], float]:
    """The utterances, speaker by speaker, and their duration in seconds."""
    speech, window = front_end(served)
    samples = max(window, round(SETTINGS.condition_seconds * speech.sample_rate))
    plan = UtterancePlan(
        name,
        [samples],
        speech.sample_rate,
        per_speaker=utterances_per_speaker,
        seed=SETTINGS.seed,
        condition_samples=samples,
    )
    cutter = Cutter(plan, speech)
    seconds = samples / speech.sample_rate
    groups = [
        under_conditions(
            cutter.cut([each for each in listing.recordings if each.speaker == speaker]),
            conditions,
            SETTINGS.seed,
        )
        for speaker in dict.fromkeys(each.speaker for each in listing.recordings)
    ]
    return [group for group in groups if group], seconds


def _clean(embedded: EmbeddedUtterances) -> EmbeddedUtterances:
    return embedded.where(embedded.utterances["condition"] == CLEAN)


def _only(embedded: EmbeddedUtterances, names: set[str]) -> EmbeddedUtterances:
    return embedded.where(embedded.utterances["utterance"].isin(names))


def _eer(label: pd.Series, distance: pd.Series) -> float:
    return equal_error_rate(DistinctDistances(label, distance).weighed(np.ones(len(label))))


def shown(rows: Sequence[ComparedErrorRates]) -> Table:
    """A line for each row, and the geometric mean of the ratios."""
    headings = ("set", "condition", "sides", "trials", "EER % Swar", "EER % peer", "ratio")
    table = Table(*headings, box=None, pad_edge=False)
    for row in rows:
        rates = (f"{100.0 * row.swar:.1f}", f"{100.0 * row.peer:.1f}", f"{row.ratio:.2f}")
        table.add_row(row.set, row.condition, row.changed_sides, f"{row.trials:,}", *rates)
    ratios = np.array([row.ratio for row in rows if row.ratio > 0.0])
    mean = float(np.exp(np.log(ratios).mean())) if len(ratios) else math.nan
    table.add_row(f"geometric mean of {len(ratios)} ratios", *[""] * 5, f"{mean:.2f}")
    return table


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.quality.peer")
    parser.add_argument("model", metavar="MODEL", help="base, or a published model")
    parser.add_argument("data", nargs="+", metavar="DATA")
    parser.add_argument("--condition", action="append", default=[], metavar="NAME")
    parser.add_argument("--utterances", type=int, default=SETTINGS.utterances_per_speaker)
    arguments = parser.parse_args()
    try:
        conditions = choose_conditions(arguments.condition)
        peer = Resemblyzer()
        version = model_folder(arguments.model)
        sets, console = name_sets(arguments.data), Console(stderr=True)
        listings = list_sets(sets, version, console, follow_links=False)
        served = PublishedModel(version)
        rows = [
            row
            for name, listing in listings.items()
            for row in compare(name, listing, served, peer, conditions, arguments.utterances)
        ]
    except SwarError as error:
        parser.exit(2, f"{parser.prog}: error: {error}\n")
    Console().print(shown(rows))


if __name__ == "__main__":
    main()
