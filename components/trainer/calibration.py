"""From distance to probability and decision, learnt on the `calibration` split."""

import itertools
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
from sklearn.linear_model import LogisticRegression

from components.errors import SwarError
from components.trainer.data import Windows
from components.trainer.normalisation import CohortNormalisation, distances, voice_means
from components.trainer.tower import all_pairs_distance
from components.trials import DISSIMILAR, SIMILAR
from components.verification.measures import (
    CLLR,
    EER,
    FALSE_ACCEPT_RATE,
    FALSE_REJECT_RATE,
    Measures,
    Scores,
)

# Hardly any regularisation: just enough for a finite slope where the classes do not overlap.
INVERSE_REGULARISATION: Final = 100.0
# Whoever asks has a few seconds of speech or half a minute: the more windows are averaged, the
# nearer is a speaker to herself, and one threshold has to do for all. Single windows, the hardest
# and the rarest to be asked about, would draw it towards accepting everybody's longer utterances.
WINDOWS_OF_UTTERANCE: Final = (2, 4)
# Trials at a time: their embeddings, not their distances, are what takes memory.
BLOCK: Final = 200_000
PROMISED: Final = (EER, CLLR, FALSE_ACCEPT_RATE, FALSE_REJECT_RATE)

Indices = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Calibration:
    """`P(same speaker) = sigmoid(slope * (threshold - distance))` at equal priors."""

    threshold: float
    slope: float

    def probability(self, distance: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
        """Of the same speaker, for distances of any shape."""
        odds = self.slope * (self.threshold - distance.astype(np.float64))
        probability: npt.NDArray[np.float64] = np.exp(-np.logaddexp(0.0, -odds))
        return probability


class CalibrationTrials(NamedTuple):
    """Distances to learn from. All [N]."""

    distance: npt.NDArray[np.float32]
    label: Indices
    """1 same speaker, 0 different."""
    weight: npt.NDArray[np.float64]
    """Both classes, utterances of every length, and in a class all pairs of speakers weigh the
    same; 1 in the mean."""
    windows: Indices
    """How many windows an utterance has, the same on both sides."""

    def of_length(self, windows: int) -> "CalibrationTrials":
        """Those of utterances of so many windows."""
        chosen = self.windows == windows
        return CalibrationTrials(*(values[chosen] for values in self))


class _Utterances(NamedTuple):
    """Their embeddings [N, D]; whose they are, in which recording, from when to when. All [N]."""

    embedding: npt.NDArray[np.float32]
    speaker: Indices
    recording: npt.NDArray[np.bytes_]
    start_seconds: npt.NDArray[np.float32]
    end_seconds: npt.NDArray[np.float32]


def calibrate(trials: CalibrationTrials) -> Calibration:
    """Logistic regression.

    Raises:
        SwarError: a class is missing, or similar pairs are not nearer than dissimilar ones.
    """
    if len(np.unique(trials.label)) < 2:
        raise SwarError(
            "the calibration split has pairs of one kind only: add speech, or raise "
            "speech.calibration_speaker_fraction (speech.calibration_fraction, if that is in use)"
        )
    regression = LogisticRegression(C=INVERSE_REGULARISATION)
    regression.fit(trials.distance.reshape(-1, 1), trials.label, trials.weight)
    slope = -float(regression.coef_[0, 0])
    if slope <= 0.0:
        raise SwarError(
            "the model has learnt nothing: on the calibration split one speaker's windows are no "
            "nearer than two speakers': train longer (trainer.epochs) or on more speech"
        )
    return Calibration(threshold=float(regression.intercept_[0]) / slope, slope=slope)


def promise(
    trials: CalibrationTrials, calibration: Calibration, window_seconds: float
) -> dict[str, Any]:
    """What the calibration trials say of other speakers: counts, and rates at the threshold.

    Returns:
        Of all of them and, as `by_length`, of the utterances of each length.
    """
    lengths = [int(windows) for windows in np.unique(trials.windows)]
    return _rates(trials, calibration) | {
        "by_length": [
            {"seconds": windows * window_seconds, **_rates(trials.of_length(windows), calibration)}
            for windows in lengths
        ]
    }


def _rates(trials: CalibrationTrials, calibration: Calibration) -> dict[str, Any]:
    probability = calibration.probability(trials.distance).astype(np.float32)
    scores = Scores(trials.label, trials.distance, probability, probability >= 0.5)
    figures = Measures(scores).figures(trials.weight)
    return {
        "similar": int(np.sum(trials.label == SIMILAR)),
        "dissimilar": int(np.sum(trials.label == DISSIMILAR)),
        **{name: figures[name] for name in PROMISED},
    }


def calibration_trials(
    embedding: npt.NDArray[np.float32],
    windows: Windows,
    window_seconds: float,
    *,
    unit_norm: bool,
    nearest_fraction: float,
    normalisation: CohortNormalisation | None = None,
) -> CalibrationTrials:
    """Utterances of two and of four windows, each against others of its length.

    Of single windows only where speech comes in too short stretches for any other.

    Utterances overlap each other, so that much is made of little speech, but no trial hears the
    same sound on both sides. Two utterances of one speaker come from two recordings, where the
    speaker has them. Those of two speakers are compared where one of the two is among the nearest
    of the other.

    Args:
        embedding: [windows, D].
        windows: whose they are.
        window_seconds: length of a window.
        unit_norm: whether embeddings have the length 1; an utterance's then has too.
        nearest_fraction: of the other speakers, that count as near.
        normalisation: of the distances; None for Euclidean ones.
    """
    compared = _near(voice_means(embedding, windows.speaker, unit_norm=False), nearest_fraction)

    def trials_of(count: int) -> CalibrationTrials:
        utterances = _utterances(embedding, windows, window_seconds, count, unit_norm)
        return _trials(utterances, count, compared, normalisation)

    parts = [trials_of(count) for count in WINDOWS_OF_UTTERANCE]
    parts = [part for part in parts if len(np.unique(part.label)) == 2] or [trials_of(1)]
    merged = CalibrationTrials(*map(np.concatenate, zip(*parts, strict=True)))
    return merged._replace(weight=merged.weight * len(merged.weight) / np.sum(merged.weight))


def _near(means: npt.NDArray[np.float32], fraction: float) -> npt.NDArray[np.bool_]:
    """Who is compared with whom, [speakers, speakers]: the nearest by their means [speakers, D]."""
    distance = all_pairs_distance(means).numpy()
    np.fill_diagonal(distance, np.inf)
    count = max(1, round(fraction * (len(means) - 1)))
    near = np.zeros(distance.shape, bool)
    np.put_along_axis(near, np.argsort(distance, axis=1)[:, :count], True, axis=1)
    compared: npt.NDArray[np.bool_] = near | near.T | np.eye(len(means), dtype=bool)
    return compared


def _utterances(
    embedding: npt.NDArray[np.float32],
    windows: Windows,
    window_seconds: float,
    count: int,
    unit_norm: bool,
) -> _Utterances:
    """Of `count` windows each, from every half an utterance of a recording on."""
    order = np.lexsort((windows.start_seconds, windows.recording))
    found = []
    for _, recording in itertools.groupby(order, key=lambda row: windows.recording[row]):
        rows = np.array(list(recording))
        start = windows.start_seconds[rows]
        for first in _apart(start, count * window_seconds / 2):
            chosen = first + _apart(start[first:], window_seconds)[:count]
            if len(chosen) == count:
                found.append(rows[chosen])
    rows = np.array(found, np.int64).reshape(-1, count)
    mean = embedding[rows].mean(axis=1)
    if unit_norm:
        mean /= np.linalg.norm(mean, axis=1, keepdims=True)
    _, speaker = np.unique(windows.speaker, return_inverse=True)
    return _Utterances(
        mean,
        speaker[rows[:, 0]],
        windows.recording[rows[:, 0]],
        windows.start_seconds[rows[:, 0]],
        windows.start_seconds[rows[:, -1]] + np.float32(window_seconds),
    )


def _apart(start_seconds: npt.NDArray[np.float32], seconds: float) -> Indices:
    """The first of sorted starts, and every next that is so many seconds after the one before."""
    kept = [0]
    while True:
        after = int(np.searchsorted(start_seconds, start_seconds[kept[-1]] + seconds))
        if after == len(start_seconds):
            return np.array(kept)
        kept.append(after)


def _trials(
    utterances: _Utterances,
    count: int,
    compared: npt.NDArray[np.bool_],
    normalisation: CohortNormalisation | None,
) -> CalibrationTrials:
    embedding, speaker, recording, start, end = utterances
    first, second = np.nonzero(np.triu(compared[np.ix_(speaker, speaker)], k=1))
    same = speaker[first] == speaker[second]
    recordings = {one: len(set(recording[speaker == one])) for one in set(speaker.tolist())}
    several = np.array([recordings[one] > 1 for one in speaker.tolist()], bool)
    within = recording[first] == recording[second]
    heard_twice = (start[first] < end[second]) & (start[second] < end[first])
    left_out = within & (several[first] | heard_twice)
    first, second, same = first[~left_out], second[~left_out], same[~left_out]
    distance = [
        distances(embedding, first[at : at + BLOCK], second[at : at + BLOCK], normalisation)
        for at in range(0, len(first), BLOCK)
    ]
    return CalibrationTrials(
        np.concatenate([np.zeros(0, np.float32), *distance]),
        np.where(same, SIMILAR, DISSIMILAR),
        _alike(speaker[first], speaker[second], same),
        np.full(len(first), count),
    )


def _alike(first: Indices, second: Indices, same: npt.NDArray[np.bool_]) -> npt.NDArray[np.float64]:
    """Weights of trials, so that within a class all pairs of speakers count alike. All [N].

    Trials grow with the square of the speech: one speaker with much of it, who may be an unusual
    one, would set the threshold for everybody.
    """
    speakers = 1 + max(first.max(initial=0), second.max(initial=0))
    pair = np.ravel_multi_index(np.sort([first, second], axis=0), (speakers, speakers))
    _, of_pair, trials = np.unique(pair, return_inverse=True, return_counts=True)
    weight = 1.0 / trials[of_pair]
    total = np.where(same, weight[same].sum(), weight[~same].sum())
    shares: npt.NDArray[np.float64] = weight / total
    return shares
