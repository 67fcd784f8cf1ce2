"""Trials: which utterances are compared, chosen or listed, and the table of their scores.

Utterances are a table with the columns UTTERANCE_COLUMNS; a table of trials has these with the
suffixes `_a` and `_b` (`set` and `duration_seconds`, which both sides share, without) and:

    relation: one of RELATIONS, what two utterances of one speaker share; else DIFFERENT_SPEAKERS.
    label: int64, 1 same speaker, 0 different.
    distance, probability: float32, the model's scores of the two embeddings.
    same_speaker: bool, the model's decision at its stored threshold.
    condition: of side b, see `components.conditions`.
    changed_sides: sides under that condition: "one", "both", or "clean" for none.
    gender_pair, channel_pair: the value of both sides, "mixed", or "unknown".

The data's own columns are added to both tables, see `manifest_columns`.
"""

import io
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from components.conditions import CLEAN
from components.errors import SwarError
from components.verification.error_rates import NONTARGET, TARGET, Scores
from components.verification.manifest_columns import columns_in_common, in_common

Indices = npt.NDArray[np.int64]
Embeddings = npt.NDArray[np.float32]
# Maps embeddings [N, D] of both sides to distance, probability and decision, each [N].
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
    "channel",  # one of recordings.cleaning.CHANNELS
    "start_seconds",  # float, in the recording's speech without silence
    "speech_seconds",  # float, found by the model
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
"""Of two utterances of one speaker: from one recording; from two recordings of one session, of two
sessions, or with a session that is not known."""

_LABELS: Final = {"1": TARGET, "0": NONTARGET}


class ChosenTrials(NamedTuple):
    """Chosen trials, and how many are possible."""

    first: Indices
    """[N], row of one utterance."""
    second: Indices
    """[N], row of the other."""
    label: Indices
    """[N], 1 same speaker, 0 different."""
    target_possible: int
    nontarget_possible: int


def choose_trials(utterances: pd.DataFrame, max_per_class: int, seed: int) -> ChosenTrials:
    """Pairs every utterance with every other, once; a class with too many is sampled.

    Utterances of one speaker are compared if they come from two recordings, or if the speaker
    has only one. Both classes are counted and drawn by rank, without a list of all possible
    trials: memory grows with the number of chosen ones.

    Args:
        utterances: columns `speaker` and `recording`; no utterance overlaps another.
        max_per_class: most same-, and most different-speaker trials.
        seed: the same one gives the same trials.
    """
    speaker, _ = pd.factorize(utterances["speaker"])
    recording, _ = pd.factorize(utterances["speaker"] + "\0" + utterances["recording"])
    row = np.lexsort((recording, speaker))
    speaker_start, speaker_end = _runs(speaker[row])
    recording_start, recording_end = _runs(recording[row])
    following = np.arange(len(row)) + 1
    only_one = (recording_start == speaker_start) & (recording_end == speaker_end)
    rng = np.random.default_rng(seed)
    target = _Ranges(np.where(only_one, following, recording_end), speaker_end)
    nontarget = _Ranges(speaker_end, np.full_like(speaker_end, len(row)))
    target_first, target_second = target.draw(max_per_class, rng)
    nontarget_first, nontarget_second = nontarget.draw(max_per_class, rng)
    return ChosenTrials(
        first=row[np.concatenate([target_first, nontarget_first])],
        second=row[np.concatenate([target_second, nontarget_second])],
        label=np.repeat([TARGET, NONTARGET], [len(target_first), len(nontarget_first)]),
        target_possible=target.pairs,
        nontarget_possible=nontarget.pairs,
    )


def _runs(values: Indices) -> tuple[Indices, Indices]:
    """Start and end (exclusive) of the run of equal values around each position."""
    is_first = np.concatenate([[True], values[1:] != values[:-1]])[: len(values)]
    run = np.cumsum(is_first) - 1
    bounds = np.append(np.flatnonzero(is_first), len(values))
    return bounds[run], bounds[run + 1]


class _Ranges:
    """Pairs of each position i with positions `starts[i]` to `ends[i]` (exclusive), ordered."""

    def __init__(self, starts: Indices, ends: Indices) -> None:
        self._starts = starts
        lengths = ends - starts
        self._pairs_before = np.concatenate([[0], np.cumsum(lengths)])
        self.pairs = int(self._pairs_before[-1])

    def draw(self, most: int, rng: np.random.Generator) -> tuple[Indices, Indices]:
        """All pairs, or a sample of `most`, as two arrays in order."""
        if self.pairs <= most:
            rank = np.arange(self.pairs)
        else:
            rank = np.sort(rng.choice(self.pairs, most, replace=False, shuffle=False))
        first = np.searchsorted(self._pairs_before, rank, side="right") - 1
        return first, self._starts[first] + rank - self._pairs_before[first]


@dataclass(frozen=True)
class Selection:
    """Which trials of one set and duration were scored."""

    set: str
    duration_seconds: float
    """Speech on each side; NaN where whole files are compared."""
    speakers: int
    utterances: int
    utterances_possible: int
    """Number without the bound for each speaker."""
    similar: int
    similar_possible: int
    similar_within_recording: int
    """Same-speaker trials of two utterances of one recording, which are easier."""
    dissimilar: int
    dissimilar_possible: int
    least_heard_seconds: float
    """Least speech that the model found in an utterance."""
    most_heard_seconds: float


class ListedTrial(NamedTuple):
    """One line of a trial list."""

    line: int
    """Number of the line, from 1."""
    label: int
    """1 same speaker, 0 different."""
    enrolment: str
    test: str


def parse_trial_list(text: str, source: str) -> list[ListedTrial]:
    """Parses lines `label enrolment test` or `enrolment test label`, all in the same order.

    Fields are separated by tabs or, in a line without tabs, by blanks; a label is 1 or 0. The first
    line defines the order. Empty lines are skipped.

    Args:
        text: the file's content.
        source: its name, for messages.

    Raises:
        SwarError: a line, which it names, is invalid, or there is none.
    """
    every = io.StringIO(text, newline=None)  # a name may hold U+2028, which ends no line
    lines = [(number, line) for number, line in enumerate(every, 1) if line.strip()]
    if not lines:
        raise SwarError(f"{source} holds no trial: write a line `label enrolment test` for each")
    rows = [(number, _fields(line, number, source)) for number, line in lines]
    first_number, first = rows[0]
    label_at = [place for place in (0, 2) if first[place] in _LABELS]
    if len(label_at) != 1:
        raise SwarError(
            f"{source} line {first_number}: the first field or the last must be the label, 1 or 0, "
            f"found {first[0]!r} and {first[2]!r}"
        )
    return [_trial(fields, label_at[0], number, source) for number, fields in rows]


def _fields(line: str, number: int, source: str) -> list[str]:
    line = line.strip()
    fields = [field.strip() for field in (line.split("\t") if "\t" in line else line.split())]
    if len(fields) != 3 or not all(fields):
        raise SwarError(
            f"{source} line {number}: has {sum(map(bool, fields))} fields, not label, enrolment "
            "and test (with blanks in a name separate them by tabs)"
        )
    return fields


def _trial(fields: list[str], label_at: int, number: int, source: str) -> ListedTrial:
    label = fields[label_at]
    if label not in _LABELS:
        raise SwarError(f"{source} line {number}: the label must be 1 or 0, found {label!r}")
    enrolment, test = fields[1:] if label_at == 0 else fields[:2]
    if enrolment == test:
        raise SwarError(f"{source} line {number}: compares {test!r} with itself: remove the line")
    return ListedTrial(number, _LABELS[label], enrolment, test)


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
        utterances: UTTERANCE_COLUMNS, one row per utterance.
        embeddings: float32 [utterances, D], finite; whatever `score` compares.
        first, second: [N], rows of `utterances`; both of one set and duration and, if the first
            one is under a condition, both under the same.
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
        columns[f"{name}_pair"] = in_common(columns[f"{name}_a"], columns[f"{name}_b"])
    return pd.DataFrame(
        columns
        | columns_in_common(one, other)
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


def compare(
    utterances: pd.DataFrame,
    embeddings: Embeddings,
    chosen: ChosenTrials,
    score: Scorer,
    *,
    set_name: str,
    duration_seconds: float,
    utterances_possible: int,
) -> tuple[pd.DataFrame, Selection]:
    """Scores the chosen trials of one set and duration, and counts what they are from."""
    trials = trial_table(utterances, embeddings, chosen.first, chosen.second, chosen.label, score)
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


def clean(trials: pd.DataFrame) -> pd.DataFrame:
    """The trials with neither side under a condition."""
    return trials[trials["changed_sides"] == CLEAN]


def scores_of(trials: pd.DataFrame) -> Scores:
    """The columns that the metrics are computed from."""
    return Scores(*(trials[name].to_numpy() for name in Scores._fields))


def targets_within_recording(trials: pd.DataFrame) -> int:
    """Number of same-speaker trials within one recording: easier than across two."""
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
