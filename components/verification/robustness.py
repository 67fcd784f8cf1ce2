"""How a model treats speech under conditions, and sounds without speech."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from components.conditions import CLEAN, CONDITIONS
from components.degradation import Samples
from components.keyed_random import keyed_generator
from components.nonspeech import NONSPEECH, nonspeech
from components.pcm16 import pack_wav, to_pcm16
from components.verification.bootstrap import Estimate
from components.verification.error_rates import TARGET
from components.verification.slices import estimate_metrics
from components.verification.trials import BOTH_SIDES, ONE_SIDE, Scorer, trial_table
from components.verification.utterances import OK, Cut, EmbeddedUtterances, Model

PEAK: Final = 0.5
"""Peak of every utterance before a condition, full scale 1, to leave room for added sound."""


class ConditionTrials(NamedTuple):
    """The trials of one set and duration, with no, one or both sides under a condition."""

    set: str
    duration_seconds: float
    condition: str
    changed_sides: str
    utterances: int
    """Number given to the model under the condition."""
    refused: int
    """Number of these that it refused; their trials are missing."""
    trials: pd.DataFrame
    """See `trial_table`."""


def under_conditions(cuts: Sequence[Cut], names: Sequence[str], seed: int) -> list[Cut]:
    """Every utterance at PEAK, and the ones marked for conditions also under each of them.

    Random draws depend on the seed, the condition's name and the utterance's. The result is
    not normalised, but scaled down if it exceeds full scale.

    Args:
        cuts: clean utterances.
        names: of conditions.
        seed: of the draws.
    """
    found = [cut._replace(pcm16=to_pcm16(_at_half_scale(cut.pcm16))) for cut in cuts]
    for name in names:
        for cut in cuts:
            utterance = cut.utterance
            if not cut.under_conditions:
                continue
            samples = CONDITIONS[name](
                _at_half_scale(cut.pcm16),
                cut.sample_rate,
                keyed_generator(seed, name, utterance.utterance),
            )
            changed = utterance._replace(condition=name)
            found.append(Cut(changed, to_pcm16(samples), cut.sample_rate))
    return found


def score_conditions(
    embedded: EmbeddedUtterances,
    clean_trials: pd.DataFrame,
    names: Sequence[str],
    score: Scorer,
    *,
    set_name: str,
    duration_seconds: float,
) -> list[ConditionTrials]:
    """The clean trials, then the same with the second side, and both, under each condition.

    Without conditions the result is empty.

    Args:
        embedded: of one set and duration, clean and under all conditions, with those that the
            model refused under these.
        clean_trials: the table of these utterances' clean trials.
        names: of the conditions.
        score: the model.
        set_name, duration_seconds: of the utterances.
    """
    taken = embedded.utterances["condition"].value_counts()
    refused = Counter(each.condition for each in embedded.unusable)
    given = int(taken.get(names[0], 0)) + refused[names[0]] if names else 0

    def scored(condition: str, changed_sides: str, trials: pd.DataFrame) -> ConditionTrials:
        missing = given - int(taken.get(condition, 0))
        return ConditionTrials(
            set_name, duration_seconds, condition, changed_sides, given, missing, trials
        )

    found = [scored(CLEAN, CLEAN, clean_trials)] if names else []
    for name in names:
        for sides, first in ((ONE_SIDE, CLEAN), (BOTH_SIDES, name)):
            trials = _scored_under(first, name, embedded, clean_trials, score)
            found.append(scored(name, sides, trials))
    return found


def _scored_under(
    first: str, second: str, embedded: EmbeddedUtterances, clean_trials: pd.DataFrame, score: Scorer
) -> pd.DataFrame:
    """The trials with sides under two conditions, if the model accepted both sides."""
    keys = zip(embedded.utterances["condition"], embedded.utterances["utterance"], strict=True)
    row_of = {key: row for row, key in enumerate(keys)}
    rows = [
        (row_of.get((first, one)), row_of.get((second, other)), label)
        for one, other, label in zip(
            clean_trials["utterance_a"],
            clean_trials["utterance_b"],
            clean_trials["label"],
            strict=True,
        )
    ]
    usable = np.array([row for row in rows if None not in row], np.int64).reshape(-1, 3)
    one, other, label = usable.T
    return trial_table(embedded.utterances, embedded.embeddings, one, other, label, score)


def _at_half_scale(pcm16: npt.NDArray[np.int16]) -> Samples:
    """Scales to float32 [samples] with the peak PEAK; silence stays silence."""
    samples = pcm16.astype(np.float32)
    peak = np.max(np.abs(samples), initial=np.float32(1.0))
    scaled: Samples = samples * np.float32(PEAK / peak)
    return scaled


@dataclass(frozen=True)
class ConditionMetrics:
    """The metrics of the trials of one set and duration, under one condition."""

    set: str
    duration_seconds: float
    condition: str
    """A name in CONDITIONS, or "clean"."""
    changed_sides: str
    """"one": enrolled clean and verified under the condition; "both"; or "clean"."""
    utterances: int
    """Number given to the model under the condition."""
    refused: int
    """Number of these that it refused; their trials are missing."""
    similar: int
    """Number of same-speaker trials."""
    dissimilar: int
    """Number of different-speaker trials."""
    figures: dict[str, Estimate]
    """Metrics by their names in `error_rates`."""


def measure_condition(scored: ConditionTrials, *, resamples: int, seed: int) -> ConditionMetrics:
    """The metrics of the trials under a condition.

    Args:
        scored: the trials.
        resamples: of the speakers, for the intervals.
        seed: the same one gives the same intervals.
    """
    label = scored.trials["label"].to_numpy()
    return ConditionMetrics(
        set=scored.set,
        duration_seconds=scored.duration_seconds,
        condition=scored.condition,
        changed_sides=scored.changed_sides,
        utterances=scored.utterances,
        refused=scored.refused,
        similar=int(np.sum(label == TARGET)),
        dissimilar=int(np.sum(label != TARGET)),
        figures=estimate_metrics(scored.trials, resamples=resamples, seed=seed),
    )


@dataclass(frozen=True)
class NonSpeechMetrics:
    """How often sounds without speech match each other or a set's utterances."""

    set: str
    duration_seconds: float
    sounds: int
    taken: int
    """Sounds accepted as speech: with the status "ok"."""
    taken_by_kind: dict[str, int]
    """Out of `components.nonspeech.TAKES` of each kind."""
    pairs: int
    """Pairs of two different sounds that were both accepted as speech."""
    same_speaker_pairs: int
    """Number of these decided to be the same speaker at the stored threshold."""
    pairs_with_speech: int
    """Pairs of a sound accepted as speech and an utterance."""
    same_speaker_pairs_with_speech: int


def measure_nonspeech(
    model: Model,
    speech: EmbeddedUtterances,
    *,
    set_name: str,
    duration_seconds: float,
    sample_rate: int,
    max_pairs: int,
    seed: int,
) -> NonSpeechMetrics:
    """Compares every sound with every other one and with every clean utterance.

    Args:
        model: embeds and compares.
        speech: the utterances of one set and duration.
        set_name, duration_seconds: of these; the sounds are as long.
        sample_rate: of the model, Hz.
        max_pairs: with speech; more are sampled.
        seed: of the sounds, and of the sample.
    """
    sounds = list(nonspeech(sample_rate, duration_seconds, seed))
    answer = model.embed([pack_wav(to_pcm16(each.samples), sample_rate) for each in sounds])
    taken = np.array([status == OK for status in answer.status], bool)
    of_kind = Counter(sound.kind for sound, is_taken in zip(sounds, taken, strict=True) if is_taken)
    embeddings = answer.embedding[taken]
    first, second = np.triu_indices(len(embeddings), 1)
    *_, same_speaker = model.score(embeddings[first], embeddings[second])
    possible = len(embeddings) * len(speech.embeddings)
    drawn = np.arange(possible)
    if possible > max_pairs:
        drawn = np.random.default_rng(seed).choice(possible, max_pairs, replace=False)
    sound, utterance = np.divmod(drawn, max(1, len(speech.embeddings)))
    *_, same_as_speech = model.score(embeddings[sound], speech.embeddings[utterance])
    return NonSpeechMetrics(
        set=set_name,
        duration_seconds=duration_seconds,
        sounds=len(sounds),
        taken=int(taken.sum()),
        taken_by_kind={kind: of_kind[kind] for kind in NONSPEECH},
        pairs=len(first),
        same_speaker_pairs=int(same_speaker.sum()),
        pairs_with_speech=len(drawn),
        same_speaker_pairs_with_speech=int(same_as_speech.sum()),
    )
