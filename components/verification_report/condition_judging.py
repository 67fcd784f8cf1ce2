"""The model judged under conditions, and on sounds without speech, beside a few clean trials."""

from collections.abc import Iterable, Sequence, Set
from typing import NamedTuple

import numpy as np
import pandas as pd

from components.conditions import CLEAN, CONDITIONS
from components.keyed_random import keyed_generator
from components.settings import ReportSettings
from components.verification.robustness import (
    ConditionTrials,
    NonSpeechMetrics,
    measure_nonspeech,
    score_conditions,
    under_conditions,
)
from components.verification.trials import choose_trials, trial_table
from components.verification.utterances import EmbeddedUtterances, Model, embed
from components.verification_report.pieces import Piece, Place, cut, utterance_at

# Of fewer, most speakers have no trial with themselves.
LEAST_OF_A_SPEAKER = 4


class ConditionsJudged(NamedTuple):
    """What one split gave."""

    trials: list[ConditionTrials]
    nonspeech: NonSpeechMetrics


def judge_conditions(
    pieces: Iterable[Piece], utterances: pd.DataFrame, model: Model, settings: ReportSettings
) -> ConditionsJudged | None:
    """Puts some clean utterances under every condition, and compares them as they are compared.

    Args:
        pieces: of the split, among others.
        utterances: UTTERANCE_COLUMNS of one split and duration, clean.
        model: embeds and compares.
        settings: how many utterances, and the seed.

    Returns:
        None where there are no two utterances to compare.
    """
    chosen = choose_utterances(utterances, settings.condition_utterances, settings.seed)
    if len(chosen) < 2:
        return None
    split, seconds = str(chosen["set"].iloc[0]), float(chosen["duration_seconds"].iloc[0])
    names = list(CONDITIONS)
    places = _places(pieces, split, seconds, set(chosen["utterance"]))
    sample_rate = next(iter(places)).sample_rate
    embedded = embed(
        (under_conditions(batch, names, seconds, settings.seed) for batch in cut(places)), model
    )
    embedded = _in_order(embedded)
    is_clean = (embedded.utterances["condition"] == CLEAN).to_numpy()
    clean = EmbeddedUtterances(embedded.utterances[is_clean], embedded.embeddings[is_clean], [])
    first, second, label, *_ = choose_trials(
        clean.utterances, settings.trials_per_class, settings.seed
    )
    if not len(label):
        return None
    trials = trial_table(clean.utterances, clean.embeddings, first, second, label, model.score)
    scored = score_conditions(
        embedded, trials, names, model.score, set_name=split, duration_seconds=seconds
    )
    nonspeech = measure_nonspeech(
        model,
        clean,
        set_name=split,
        duration_seconds=seconds,
        sample_rate=sample_rate,
        max_pairs=settings.trials_per_class,
        seed=settings.seed,
    )
    return ConditionsJudged(scored, nonspeech)


def choose_utterances(utterances: pd.DataFrame, most: int, seed: int) -> pd.DataFrame:
    """At most so many: equally many of every speaker, of all recordings in turn.

    Where that were less than LEAST_OF_A_SPEAKER of each, of fewer speakers, by the seed.

    Args:
        utterances: UTTERANCE_COLUMNS, of one split and duration.
        most: to choose.
        seed: the same one chooses the same.
    """
    speakers = sorted(utterances["speaker"].unique())
    of_each = max(LEAST_OF_A_SPEAKER, most // max(1, len(speakers)))
    drawn = keyed_generator(seed, "condition_utterances").permutation(speakers)
    ordered = utterances.sort_values(["speaker", "recording", "start_seconds"])
    turn = ordered.groupby(["speaker", "recording"]).cumcount()
    ordered = ordered.assign(turn=turn).sort_values(["turn", "recording"]).drop(columns="turn")
    ordered = ordered.groupby("speaker").head(of_each)
    rank = {speaker: place for place, speaker in enumerate(drawn)}
    return ordered.sort_values("speaker", key=lambda names: names.map(rank), kind="stable").head(
        most
    )


def _places(
    pieces: Iterable[Piece], split: str, seconds: float, wanted: Set[str]
) -> dict[Piece, Sequence[Place]]:
    """Where the utterances of these names lie."""
    places: dict[Piece, Sequence[Place]] = {}
    for piece in pieces:
        if piece.split != split:
            continue
        samples = round(seconds * piece.sample_rate)
        every = (
            Place(offset, samples) for offset in range(0, piece.samples - samples + 1, samples)
        )
        found = [place for place in every if utterance_at(piece, place).utterance in wanted]
        if found:
            places[piece] = found
    return places


def _in_order(embedded: EmbeddedUtterances) -> EmbeddedUtterances:
    """By condition and name, however the files lie."""
    table = embedded.utterances.reset_index(drop=True)
    order = ["condition", "speaker", "recording", "start_seconds"]
    rows = np.asarray(table.sort_values(order).index)
    return EmbeddedUtterances(table.iloc[rows], embedded.embeddings[rows], embedded.unusable)
