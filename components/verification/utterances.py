"""Utterances to compare: cut from speech without its silence, and embedded by a model."""

import itertools
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
import pandas as pd

from components.conditions import CLEAN
from components.keyed_random import keyed_generator
from components.pcm16 import pack_wav
from components.verification.trials import UTTERANCE_COLUMNS, Embeddings

OK: Final = "ok"
LEAST_OF_A_SPEAKER: Final = 4
"""Fewest utterances under conditions; with fewer, most speakers have no target trial."""


class Utterance(NamedTuple):
    """Columns of an utterance before the model embeds it; see `trial_table`."""

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
    """A recording that gave no utterances, or an utterance that the model refused."""

    set: str
    name: str
    reason: str
    """A short snake_case code; for an utterance, the model's status."""
    detail: str
    condition: str = CLEAN
    """Condition of the utterance."""


class Cut(NamedTuple):
    """An utterance and its sound."""

    utterance: Utterance
    pcm16: npt.NDArray[np.int16]
    sample_rate: int
    under_conditions: bool = False
    """Whether it is also put under conditions."""


class EmbedOutput(Protocol):
    """Output of a model's signature `embed` for N recordings."""

    @property
    def embedding(self) -> Embeddings:
        """float32 [N, D], NaN unless the status is "ok"."""

    @property
    def speech_seconds(self) -> npt.NDArray[np.float32]:
        """float32 [N], silence excluded."""

    @property
    def status(self) -> list[str]:
        """[N]."""


class Model(Protocol):
    """Embeds utterances and compares embeddings, as a PublishedModel does."""

    def embed(self, wavs: Sequence[bytes]) -> EmbedOutput:
        """Embeds N WAVs."""

    def score(
        self, embedding_a: Embeddings, embedding_b: Embeddings
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32], npt.NDArray[np.bool_]]:
        """Distance, probability and decision of N pairs of embeddings."""


class ModelWithCard(Model, Protocol):
    """A model with a card."""

    @property
    def card(self) -> Mapping[str, Any]:
        """The model's description: its threshold, and more."""


class EmbeddedUtterances(NamedTuple):
    """Utterances that the model embedded, and those that it refused."""

    utterances: pd.DataFrame
    """UTTERANCE_COLUMNS."""
    embeddings: Embeddings
    unusable: list[Unused]

    def where(self, is_wanted: "pd.Series[bool]") -> "EmbeddedUtterances":
        """Selects some of the embedded ones."""
        rows = np.flatnonzero(is_wanted)
        return self._replace(
            utterances=self.utterances.iloc[rows], embeddings=self.embeddings[rows]
        )

    def in_order(self) -> "EmbeddedUtterances":
        """Sorts by condition, speaker, recording and start."""
        table = self.utterances.reset_index(drop=True)
        order = table.sort_values(["condition", "speaker", "recording", "start_seconds"]).index
        return self._replace(utterances=table.iloc[order], embeddings=self.embeddings[order])


class SpeechSegment(NamedTuple):
    """One recording's speech, without silence, from which utterances are cut."""

    speaker: str
    recording: str
    session: str | None
    gender: str
    channel: str
    start_seconds: float
    """Where it begins in the recording's speech."""
    samples: int


class UtterancePosition(NamedTuple):
    """Where an utterance lies in the segments of one speaker."""

    segment: int
    """Index of the segment."""
    offset: int
    """Samples from the segment's start."""
    samples: int
    under_conditions: bool
    """Whether it is also put under conditions."""


class UtterancePlan:
    """Chooses the utterances of one set, speaker by speaker; none of a duration overlaps another.

    Args:
        set_name: name of the set.
        durations: of an utterance, samples.
        sample_rate: of the speech, Hz.
        per_speaker: most utterances of each duration; of more, a seeded sample.
        seed: the same one gives the same utterances.
        condition_samples: duration of the utterances that are put under conditions; None for no
            such utterances.
        under_conditions: most of these by speaker, from all recordings in turn; None for all.

    Attributes:
        set_name, sample_rate: as given.
        durations: in order, each once.
        possible: number of utterances by samples, without the bound, of the speakers so far.
    """

    def __init__(
        self,
        set_name: str,
        durations: Collection[int],
        sample_rate: int,
        *,
        per_speaker: int,
        seed: int,
        condition_samples: int | None = None,
        under_conditions: Mapping[str, int] | None = None,
    ) -> None:
        self.possible: Counter[int] = Counter()
        self.sample_rate = sample_rate
        self.durations = sorted(set(durations))
        self.set_name = set_name
        self._per_speaker = per_speaker
        self._seed = seed
        self._condition_samples = condition_samples
        self._under_conditions = under_conditions

    def positions(self, segments: Sequence[SpeechSegment]) -> list[UtterancePosition]:
        """Utterances of every duration, end to end in the segments of one speaker."""
        return [
            position
            for samples in self.durations
            for position in self._positions(segments, samples)
        ]

    def utterance(self, segment: SpeechSegment, position: UtterancePosition) -> Utterance:
        """Columns of an utterance that is to be cut."""
        start = segment.start_seconds + position.offset / self.sample_rate
        seconds = position.samples / self.sample_rate
        return Utterance(
            set=self.set_name,
            duration_seconds=seconds,
            utterance=f"{segment.recording}#{start:.3f}-{start + seconds:.3f}",
            speaker=segment.speaker,
            recording=segment.recording,
            session=segment.session,
            gender=segment.gender,
            channel=segment.channel,
            start_seconds=start,
        )

    def cut(
        self, segment: SpeechSegment, position: UtterancePosition, pcm16: npt.NDArray[np.int16]
    ) -> Cut:
        """Cuts the utterance from the segment's samples."""
        sound = np.array(pcm16[position.offset : position.offset + position.samples])
        utterance = self.utterance(segment, position)
        return Cut(utterance, sound, self.sample_rate, position.under_conditions)

    def _positions(
        self, segments: Sequence[SpeechSegment], samples: int
    ) -> Iterator[UtterancePosition]:
        every = [
            (index, offset)
            for index, segment in enumerate(segments)
            for offset in range(0, segment.samples - samples + 1, samples)
        ]
        self.possible[samples] += len(every)
        if len(every) > self._per_speaker:
            # Each speaker's draw is independent of the others'.
            generator = keyed_generator(self._seed, "utterances", segments[0].speaker, samples)
            chosen = generator.choice(len(every), self._per_speaker, replace=False)
            every = [every[index] for index in sorted(chosen)]
        changed = self._changed(segments, every) if samples == self._condition_samples else set()
        for index, offset in every:
            yield UtterancePosition(index, offset, samples, (index, offset) in changed)

    def _changed(
        self, segments: Sequence[SpeechSegment], chosen: Sequence[tuple[int, int]]
    ) -> set[tuple[int, int]]:
        """Those of the chosen positions that are put under conditions."""
        if self._under_conditions is None or not chosen:
            return set(chosen)
        recordings: dict[str, list[tuple[int, int]]] = defaultdict(list)
        for position in chosen:
            recordings[segments[position[0]].recording].append(position)
        in_turn = itertools.chain.from_iterable(itertools.zip_longest(*recordings.values()))
        most = self._under_conditions.get(segments[0].speaker, 0)
        return set(itertools.islice((each for each in in_turn if each is not None), most))


def share_among_speakers(speakers: Collection[str], most: int, seed: int) -> dict[str, int]:
    """Shares `most` utterances equally among speakers: the number of each.

    If each had less than LEAST_OF_A_SPEAKER, speakers drawn by the seed have that many, and the
    others none.
    """
    of_each = max(LEAST_OF_A_SPEAKER, most // max(1, len(speakers)))
    drawn = keyed_generator(seed, "condition_utterances").permutation(sorted(speakers))
    return dict.fromkeys(drawn[: most // of_each].tolist(), of_each)


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
