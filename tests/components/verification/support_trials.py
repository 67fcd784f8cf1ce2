"""Trials between made-up speakers, for tests of what is measured on them."""

import numpy as np
import pandas as pd

from components.conditions import CLEAN
from components.verification.error_rates import Scores
from components.verification.trials import choose_trials, trial_table

THRESHOLD, SLOPE = 1.0, 6.0


def scores(seed, similar=400, dissimilar=700):
    """Overlapping classes, calibrated more or less."""
    rng = np.random.default_rng(seed)
    label = np.repeat([1, 0], [similar, dissimilar])
    distance = rng.gamma(6.0, np.where(label == 1, 0.1, 0.25)).astype(np.float32)
    probability = 1.0 / (1.0 + np.exp(-SLOPE * (THRESHOLD - distance)))
    return Scores(label, distance, probability.astype(np.float32), probability >= 0.5)


def utterances(speakers, recordings=2, per_recording=2, seconds=3.0, name="made"):
    """As the tables of utterances are, a third of the speakers on the telephone."""
    rows = []
    for number in range(speakers):
        for recording in range(recordings):
            for piece in range(per_recording):
                file = f"s{number}/{recording}.wav"
                start = piece * seconds
                rows.append(
                    {
                        "set": name,
                        "duration_seconds": seconds,
                        "utterance": f"{file}#{start:g}",
                        "speaker": f"s{number}",
                        "recording": file,
                        "session": f"{recording // 2}" if number % 2 else None,
                        "gender": ("female", "male", "unknown")[number % 3 if number < 9 else 0],
                        "channel": "telephone" if number % 3 == 0 else "wideband",
                        "start_seconds": start,
                        "speech_seconds": seconds,
                        "condition": CLEAN,
                    }
                )
    return pd.DataFrame(rows)


def embeddings(table, noise, seed=0, size=4):
    """Each utterance near its speaker's own place."""
    rng = np.random.default_rng(seed)
    codes, speakers = pd.factorize(table["speaker"])
    place = rng.standard_normal((len(speakers), size))[codes]
    return (place + noise * rng.standard_normal(place.shape)).astype(np.float32)


def score(embedding_a, embedding_b):
    """Euclidean distance and what follows from it, as a served model answers."""
    distance = np.linalg.norm(embedding_a - embedding_b, axis=1).astype(np.float32)
    probability = 1.0 / (1.0 + np.exp(-SLOPE * (THRESHOLD - distance)))
    return distance, probability.astype(np.float32), probability >= 0.5


def scored_trials(table, noise=0.3, seed=0):
    """The table of all trials of utterances."""
    chosen = choose_trials(table, 10**9, 0)
    return trial_table(
        table, embeddings(table, noise, seed), chosen.first, chosen.second, chosen.label, score
    )
