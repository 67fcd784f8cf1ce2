"""Utterances to compare: cut from speech without its silence, and embedded by a model."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
import pandas as pd

from components.conditions import CLEAN
from components.keyed_random import keyed_generator
from components.pcm16 import pack_wav
from components.verification.trials import UTTERANCE_COLUMNS, Embeddings

OK: Final = "ok"


class Utterance(NamedTuple):
    """What is known of an utterance before the model embeds it; see `trial_table`."""

    set: str
    duration_seconds: float
    utterance: str
    speaker: str
    recording: str
    session: str | None
    gender: str
    channel: str
    start_seconds: float
    condition: str = CLEAN


@dataclass(frozen=True)
class Unused:
    """A recording that gave no utterances, or an utterance that the model did not take."""

    set: str
    name: str
    reason: str
    """A short snake_case code; of an utterance, the model's status."""
    detail: str
    condition: str = CLEAN
    """That the utterance was under."""


class Cut(NamedTuple):
    """An utterance and its sound."""

    utterance: Utterance
    pcm16: npt.NDArray[np.int16]
    sample_rate: int


class EmbedOutput(Protocol):
    """What a model's signature `embed` answers about N recordings."""

    @property
    def embedding(self) -> Embeddings:
        """float32 [N, D], NaN unless the status is "ok"."""

    @property
    def speech_seconds(self) -> npt.NDArray[np.float32]:
        """float32 [N], without the silence."""

    @property
    def status(self) -> list[str]:
        """[N]."""


class Model(Protocol):
    """What embeds utterances and compares embeddings, such as a PublishedModel."""

    def embed(self, wavs: Sequence[bytes]) -> EmbedOutput:
        """Embeds N WAVs."""

    def score(
        self, embedding_a: Embeddings, embedding_b: Embeddings
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32], npt.NDArray[np.bool_]]:
        """Distance, probability and decision of N pairs of embeddings."""


class EmbeddedUtterances(NamedTuple):
    """Utterances that the model embedded, and those that it refused."""

    utterances: pd.DataFrame
    """UTTERANCE_COLUMNS."""
    embeddings: Embeddings
    unusable: list[Unused]


class ChosenPositions(NamedTuple):
    """Where to cut utterances, and of how many positions these were chosen."""

    chosen: list[tuple[int, int]]
    """Index of the segment of speech and offset in it, in samples, in order."""
    possible: int


def choose_positions(
    lengths: Sequence[int], samples: int, most: int, *, speaker: str, seed: int
) -> ChosenPositions:
    """Utterances end to end in segments of one speaker's speech; a seeded sample of too many.

    Args:
        lengths: samples of each segment.
        samples: of an utterance.
        most: utterances at most.
        speaker: whose they are; speakers are drawn for independently of each other.
        seed: the same one gives the same utterances.
    """
    every = [
        (index, offset)
        for index, length in enumerate(lengths)
        for offset in range(0, length - samples + 1, samples)
    ]
    if len(every) <= most:
        return ChosenPositions(every, len(every))
    generator = keyed_generator(seed, "utterances", speaker, samples)
    chosen = generator.choice(len(every), most, replace=False)
    return ChosenPositions([every[index] for index in sorted(chosen)], len(every))


def embed(groups: Iterable[Sequence[Cut]], model: Model) -> EmbeddedUtterances:
    """Embeds utterances, a group at a time.

    Args:
        groups: of utterances, made as they are needed.
        model: embeds them.
    """
    utterances: list[Utterance] = []
    answers: list[EmbedOutput] = []
    for cuts in groups:
        utterances += [cut.utterance for cut in cuts]
        answers.append(model.embed([pack_wav(cut.pcm16, cut.sample_rate) for cut in cuts]))
    table = pd.DataFrame(utterances, columns=Utterance._fields)
    table["speech_seconds"] = np.concatenate([answer.speech_seconds for answer in answers])
    statuses = [status for answer in answers for status in answer.status]
    is_ok = np.array([status == OK for status in statuses], bool)
    unusable = [
        Unused(
            utterance.set,
            utterance.utterance,
            status,
            f"{seconds:.2f} s of speech",
            utterance.condition,
        )
        for utterance, status, seconds in zip(
            utterances, statuses, table["speech_seconds"], strict=True
        )
        if status != OK
    ]
    return EmbeddedUtterances(
        table[list(UTTERANCE_COLUMNS)][is_ok],
        np.concatenate([answer.embedding for answer in answers])[is_ok],
        unusable,
    )
