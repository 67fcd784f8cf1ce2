"""Learns, on the `calibration` split, to turn a distance into probability and decision."""

from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from components.errors import SwarError
from components.model.calibration import Calibration
from components.trainer.utterances import DEGRADED, ROUNDING_SECONDS, EmbeddedWindows, Indices
from components.verification.error_rates import NONTARGET, TARGET

# Just enough regularisation for a finite slope where the classes do not overlap.
INVERSE_REGULARISATION: Final = 100.0
# A recording to verify has from a few seconds of speech to half a minute. The more windows are
# averaged, the nearer are a speaker's utterances, but one threshold must fit all. Single windows,
# the hardest and rarest to verify, would move it so far that longer utterances are all accepted.
WINDOWS_OF_UTTERANCE: Final = (2, 4)


class OneKindOfTrials(SwarError):
    """There are only target trials or only nontarget trials."""

    def __init__(self) -> None:
        super().__init__(
            "the calibration split has pairs of one kind only: add speech, or raise "
            "speech.calibration_speaker_fraction (speech.calibration_fraction, if that is in use)"
        )


class NoDifference(SwarError):
    """Target trials are not nearer than nontarget ones."""

    def __init__(self) -> None:
        super().__init__(
            "the model has learnt nothing: on the calibration split one speaker's windows are no "
            "nearer than two speakers': train longer (trainer.epochs) or on more speech"
        )


class CalibrationTrials(NamedTuple):
    """Distances to learn from. All fields are [N]."""

    distance: npt.NDArray[np.float32]
    label: Indices
    """1 same speaker, 0 different."""
    weight: npt.NDArray[np.float64]
    """Equal in total for both classes, all lengths of utterances and, within a class, all pairs
    of speakers; the mean is 1."""
    windows: Indices
    """Number of windows of an utterance, the same on both sides."""


def calibrate(trials: CalibrationTrials) -> Calibration:
    """Learns threshold and slope by logistic regression.

    Raises:
        OneKindOfTrials: a class is missing.
        NoDifference: target trials are not nearer than nontarget ones.
    """
    if len(np.unique(trials.label)) < 2:
        raise OneKindOfTrials
    # A server that makes the base model does without it.
    from sklearn.linear_model import LogisticRegression

    regression = LogisticRegression(C=INVERSE_REGULARISATION)
    regression.fit(trials.distance.reshape(-1, 1), trials.label, trials.weight)
    slope = -float(regression.coef_[0, 0])
    if slope <= 0.0:
        raise NoDifference
    return Calibration(threshold=float(regression.intercept_[0]) / slope, slope=slope)


def calibration_trials(embedded: EmbeddedWindows, nearest_fraction: float) -> CalibrationTrials:
    """Compares utterances of two and of four windows, each with others of its length.

    Single windows are compared only where neither length gives trials of both classes.

    Utterances overlap, to make the most of little speech, but no trial has the same sound on both
    sides. Two utterances of one speaker come from two recordings if the speaker has several. Those
    of two speakers are compared if one of the two is among the nearest of the other.

    Args:
        embedded: the calibration speakers.
        nearest_fraction: share of the other speakers that count as near.
    """
    compared = embedded.near_speakers(nearest_fraction)
    parts = [_trials(embedded, count, compared) for count in WINDOWS_OF_UTTERANCE]
    parts = [part for part in parts if len(np.unique(part.label)) == 2]
    parts = parts or [_trials(embedded, 1, compared)]
    merged = CalibrationTrials(*map(np.concatenate, zip(*parts, strict=True)))
    return merged._replace(weight=merged.weight * len(merged.weight) / np.sum(merged.weight))


def _trials(
    embedded: EmbeddedWindows, count: int, compared: npt.NDArray[np.bool_]
) -> CalibrationTrials:
    """Trials of utterances of `count` windows, which start every half utterance."""
    utterances = embedded.utterances(count, count * embedded.window_seconds / 2)
    _, speaker, recording, start, end = utterances
    first, second = np.nonzero(np.triu(compared[np.ix_(speaker, speaker)], k=1))
    same = speaker[first] == speaker[second]
    recordings = {one: len(set(recording[speaker == one])) for one in set(speaker.tolist())}
    several = np.array([recordings[one] > 1 for one in speaker.tolist()], bool)
    within = recording[first] == recording[second]
    # The degraded part of a recording counts as another one, and may begin within a window.
    whole = np.array([name.removesuffix(DEGRADED) for name in recording.tolist()], object)
    overlap_seconds = np.minimum(end[first], end[second]) - np.maximum(start[first], start[second])
    share_sound = (whole[first] == whole[second]) & (overlap_seconds > ROUNDING_SECONDS)
    left_out = (within & several[first]) | share_sound
    first, second, same = first[~left_out], second[~left_out], same[~left_out]
    return CalibrationTrials(
        embedded.distances(utterances, first, second),
        np.where(same, TARGET, NONTARGET),
        _alike(speaker[first], speaker[second], same),
        np.full(len(first), count),
    )


def _alike(first: Indices, second: Indices, same: npt.NDArray[np.bool_]) -> npt.NDArray[np.float64]:
    """Weights of trials, so that within a class all pairs of speakers count alike. All [N].

    The number of trials grows with the square of the speech: one speaker with much of it, perhaps
    an unusual one, would set the threshold for all.
    """
    speakers = 1 + max(first.max(initial=0), second.max(initial=0))
    pair = np.ravel_multi_index(np.sort([first, second], axis=0), (speakers, speakers))
    _, of_pair, trials = np.unique(pair, return_inverse=True, return_counts=True)
    weight = 1.0 / trials[of_pair]
    total = np.where(same, weight[same].sum(), weight[~same].sum())
    shares: npt.NDArray[np.float64] = weight / total
    return shares
