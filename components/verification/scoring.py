"""Chosen trials scored by a model, with an account of which they are."""

import numpy as np
import pandas as pd

from components.verification.error_rates import TARGET
from components.verification.results import Selection
from components.verification.trials import ChosenTrials, targets_within_recording, trial_table
from components.verification.utterances import EmbeddedUtterances, Model


def score(
    embedded: EmbeddedUtterances,
    chosen: ChosenTrials,
    model: Model,
    *,
    set_name: str,
    duration_seconds: float,
    utterances_possible: int,
) -> tuple[pd.DataFrame, Selection]:
    """Scores the chosen trials of one set and duration, and says of how many they are."""
    utterances = embedded.utterances
    trials = trial_table(
        utterances,
        embedded.embeddings,
        chosen.first,
        chosen.second,
        chosen.label,
        model.score,
    )
    targets = int(np.sum(chosen.label == TARGET))
    selection = Selection(
        set=set_name,
        duration_seconds=duration_seconds,
        speakers=int(utterances["speaker"].nunique()),
        utterances=len(utterances),
        utterances_possible=utterances_possible,
        similar=targets,
        similar_possible=chosen.target_possible,
        similar_within_recording=targets_within_recording(trials),
        dissimilar=len(trials) - targets,
        dissimilar_possible=chosen.nontarget_possible,
        least_heard_seconds=float(utterances["speech_seconds"].min()),
        most_heard_seconds=float(utterances["speech_seconds"].max()),
    )
    return trials, selection
