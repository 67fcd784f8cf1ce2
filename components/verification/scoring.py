"""Chosen trials scored by a model, with an account of which they are."""

import numpy as np
import pandas as pd

from components.trials import SIMILAR
from components.verification.results import Selection
from components.verification.trial_sampling import ChosenTrials
from components.verification.trial_table import similar_within_recording, trial_table
from components.verification.utterances import Embedded, Model


def score(
    embedded: Embedded,
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
    similar = int(np.sum(chosen.label == SIMILAR))
    selection = Selection(
        set=set_name,
        duration_seconds=duration_seconds,
        speakers=int(utterances["speaker"].nunique()),
        utterances=len(utterances),
        utterances_possible=utterances_possible,
        similar=similar,
        similar_possible=chosen.similar_possible,
        similar_within_recording=similar_within_recording(trials),
        dissimilar=len(trials) - similar,
        dissimilar_possible=chosen.dissimilar_possible,
        least_heard_seconds=float(utterances["speech_seconds"].min()),
        most_heard_seconds=float(utterances["speech_seconds"].max()),
    )
    return trials, selection
