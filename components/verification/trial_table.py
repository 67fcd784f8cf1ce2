"""Scored trials as a table: one row for each, with what is known of its two utterances.

Utterances are a table with the columns UTTERANCE_COLUMNS; a table of trials has these with
`_a` and `_b` behind (`set` and `duration_seconds`, which both sides share, once) and:

    relation: one of RELATIONS, what two utterances of one speaker share; else DIFFERENT_SPEAKERS.
    label: int64, 1 same speaker, 0 different.
    distance, probability: float32, as the model scores the two embeddings.
    same_speaker: bool, the model's decision at its stored threshold.
    condition: that side b is under, see `components.conditions`.
    changed_sides: how many sides are under it: "one", "both", or "clean" for none.
    gender_pair, channel_pair: what both have in common, "mixed", or "unknown".
"""

from collections.abc import Callable
from typing import Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from components.conditions import CLEAN
from components.verification.measures import Scores
from components.verification.trial_sampling import Indices

Embeddings = npt.NDArray[np.float32]
# From embeddings [N, D] of both sides to distance, probability and decision, each [N].
Scorer = Callable[
    [Embeddings, Embeddings],
    tuple[npt.NDArray[np.float32], npt.NDArray[np.float32], npt.NDArray[np.bool_]],
]

SHARED_COLUMNS: Final = ("set", "duration_seconds")
SIDE_COLUMNS: Final = (
    "utterance",  # str, unique within the set
    "speaker",
    "recording",  # str, the name below the data folder
    "session",  # str, the speaker's occasion of recording; None where that is not known
    "gender",  # "female", "male" or "unknown"
    "channel",  # one of channels.CHANNELS
    "start_seconds",  # float, in the recording's speech without its silence
    "speech_seconds",  # float, what the model heard
)
UTTERANCE_COLUMNS: Final = (*SHARED_COLUMNS, *SIDE_COLUMNS, "condition")
SLICED_BY: Final = ("gender_pair", "channel_pair")

ONE_SIDE: Final = "one"
BOTH_SIDES: Final = "both"

DIFFERENT_SPEAKERS: Final = "different_speakers"
WITHIN_RECORDING: Final = "within_recording"
WITHIN_SESSION: Final = "within_session"
ACROSS_SESSIONS: Final = "across_sessions"
SESSION_UNKNOWN: Final = "session_unknown"
RELATIONS: Final = (WITHIN_RECORDING, WITHIN_SESSION, ACROSS_SESSIONS, SESSION_UNKNOWN)
"""Of two utterances of one speaker: of one recording; of two recordings in one session, in two, or
where the session of one of them is not known."""

UNKNOWN: Final = "unknown"
MIXED: Final = "mixed"


def trial_table(
    utterances: pd.DataFrame,
    embeddings: Embeddings,
    first: Indices,
    second: Indices,
    label: Indices,
    score: Scorer,
) -> pd.DataFrame:
    """Scores trials.

    Args:
        utterances: UTTERANCE_COLUMNS, a row for each.
        embeddings: float32 [utterances, D], finite.
        first, second: [N], rows of `utterances`; both of one set and duration, and if the first
            one is under a condition, both are under the same.
        label: [N], 1 same speaker, 0 different.
        score: the model.
    """
    one, other = utterances.iloc[first], utterances.iloc[second]
    distance, probability, same_speaker = score(embeddings[first], embeddings[second])
    columns = {name: one[name].to_numpy() for name in SHARED_COLUMNS}
    for name in SIDE_COLUMNS:
        columns[f"{name}_a"] = one[name].to_numpy()
        columns[f"{name}_b"] = other[name].to_numpy()
    for name in ("gender", "channel"):
        columns[f"{name}_pair"] = _in_common(columns[f"{name}_a"], columns[f"{name}_b"])
    return pd.DataFrame(
        columns
        | {
            "relation": _relation(one, other),
            "label": label,
            "distance": distance,
            "probability": probability,
            "same_speaker": same_speaker,
            "condition": other["condition"].to_numpy(),
            "changed_sides": _changed_sides(one["condition"], other["condition"]),
        }
    )


def clean(trials: pd.DataFrame) -> pd.DataFrame:
    """The trials of which neither side is under a condition."""
    return trials[trials["changed_sides"] == CLEAN]


def scores_of(trials: pd.DataFrame) -> Scores:
    """The columns that the figures are computed from."""
    return Scores(*(trials[name].to_numpy() for name in Scores._fields))


def similar_within_recording(trials: pd.DataFrame) -> int:
    """Same-speaker trials of two utterances of one recording: easier than those of two."""
    return int(np.sum(trials["relation"] == WITHIN_RECORDING))


def _relation(one: pd.DataFrame, other: pd.DataFrame) -> npt.NDArray[np.object_]:
    def is_same(column: str) -> npt.NDArray[np.bool_]:
        same: npt.NDArray[np.bool_] = one[column].to_numpy() == other[column].to_numpy()
        return same

    is_unknown = (one["session"].isna().to_numpy()) | (other["session"].isna().to_numpy())
    relation = np.full(len(one), ACROSS_SESSIONS, object)
    relation[is_same("session")] = WITHIN_SESSION
    relation[is_unknown] = SESSION_UNKNOWN
    relation[is_same("recording")] = WITHIN_RECORDING
    relation[~is_same("speaker")] = DIFFERENT_SPEAKERS
    return relation


def _changed_sides(one: pd.Series, other: pd.Series) -> npt.NDArray[np.object_]:
    changed = (one != CLEAN).to_numpy().astype(int) + (other != CLEAN).to_numpy()
    names: npt.NDArray[np.object_] = np.array([CLEAN, ONE_SIDE, BOTH_SIDES], object)[changed]
    return names


def _in_common(one: npt.NDArray[np.object_], other: npt.NDArray[np.object_]) -> object:
    shared = np.where(one == other, one, MIXED)
    return np.where((one == UNKNOWN) | (other == UNKNOWN), UNKNOWN, shared)
