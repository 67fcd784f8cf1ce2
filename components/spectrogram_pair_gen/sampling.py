"""Draws which speakers are compared and where windows lie: pure functions of keyed seeds."""

import hashlib
import json
import math
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from components import features
from components.conditions import CLEAN, CONDITIONS
from components.keyed_random import keyed_generator
from components.settings import PairCounts, PairSettings

NORMAL_SPEED = 1.0
SHORTEST_SEGMENT = 0.25
"""Share of a window: a shorter segment is not repeated to a whole one."""
_NO_PAIRS: Final = PairCounts(similar_per_speaker=0, dissimilar=0)


@dataclass(frozen=True, order=True)
class TrainSpeaker:
    """A speaker as recorded, or played at another speed, which counts as another speaker.

    Source: Yamamoto et al., "Speaker Augmentation and Bandwidth Extension for Deep Speaker
    Embedding", Interspeech 2019.
    """

    speaker: str
    speed: float = NORMAL_SPEED

    @property
    def name(self) -> str:
        """The speaker's name in pairs."""
        if self.speed == NORMAL_SPEED:
            return self.speaker
        return f"{self.speaker} at speed {self.speed:g}"

    def samples(self, window: int) -> int:
        """Samples that a window of `window` samples takes of the recording."""
        if self.speed == NORMAL_SPEED:
            return window
        return math.ceil(window * self.speed) + 1  # resampling may lose one by rounding


@dataclass(frozen=True, order=True)
class TimelineSegment:
    """A piece of cleaned speech, without its samples."""

    recording: str
    piece: int
    samples: int
    file: str


@dataclass(frozen=True)
class WindowRequest:
    """Windows of one speaker that a pair needs: side "a", side "b", or both of them."""

    pair_id: str
    label: int
    sides: str
    is_repeated: bool = False
    """Whether the pair is repeated under every condition."""


@dataclass(frozen=True)
class WindowPosition:
    """One window of one pair."""

    pair_id: str
    label: int
    side: str
    train_speaker: TrainSpeaker
    recording: str
    piece: int
    start: int  # samples, within the piece
    condition: str = CLEAN
    """The condition of the pair's side b."""

    def under_conditions(self) -> "Iterator[WindowPosition]":
        """Yields the same window for the pair under every condition."""
        for condition in CONDITIONS:
            pair_id = f"{self.pair_id}-{condition}"
            yield replace(self, pair_id=pair_id, condition=condition)


@dataclass(frozen=True)
class SplitSpeakers:
    """The speakers of a split."""

    speakers: tuple[TrainSpeaker, ...]
    """Sorted."""
    mean_samples: float
    """Mean speech of a speaker, in samples."""

    @classmethod
    def of(cls, found: Iterable[tuple[TrainSpeaker, int]]) -> "SplitSpeakers":
        """Collects speakers with their samples of speech, in any order."""
        samples = dict(found)
        return cls(tuple(sorted(samples)), sum(samples.values()) / len(samples))

    def in_proportion(self, counts: PairCounts, samples: int) -> PairCounts:
        """Scales mean counts to a speaker with so many samples; at least 1 if not 0."""
        return PairCounts.model_validate(
            {
                name: max(1, round(count * samples / self.mean_samples)) if count else 0
                for name, count in counts
            }
        )


# TimelineSegment, first and last possible start of a window in it.
_Room = tuple[TimelineSegment, int, int]


def has_room(timeline: Sequence[TimelineSegment], window: int) -> bool:
    """Whether there is speech for a window of `window` samples."""
    return bool(_room(timeline, window))


def speech_samples(timeline: Iterable[TimelineSegment]) -> int:
    """Total samples of all segments."""
    return sum(segment.samples for segment in timeline)


def requests(
    split: str,
    train_speaker: TrainSpeaker,
    speakers: Sequence[TrainSpeaker],
    counts: PairCounts,
    settings: PairSettings,
) -> Iterator[tuple[TrainSpeaker, WindowRequest]]:
    """The trials that start from one speaker.

    Args:
        split: the split's name.
        train_speaker: side a of every trial, one of `speakers`.
        speakers: the split's speakers, sorted; side b of different-speaker trials.
        counts: how many trials of each kind.
        settings: protocol and seed.

    Yields:
        (train_speaker, request): the speaker, and the sides to draw from their speech.
    """
    position = bisect_left(speakers, train_speaker)
    repeated = _NO_PAIRS
    # This many speakers, evenly spread over all, or all if there are fewer.
    chosen = settings.condition_speakers
    if split in features.UNDER_CONDITIONS and position * chosen % len(speakers) < chosen:
        repeated = settings.condition
    for index in range(counts.similar_per_speaker):
        is_repeated = index < repeated.similar_per_speaker
        yield (
            train_speaker,
            WindowRequest(
                _pair_id(split, train_speaker, train_speaker, index), 1, "ab", is_repeated
            ),
        )
    others = len(speakers) - 1
    if not others or not counts.dissimilar:
        return
    if settings.protocol == "every_ordered_pair":
        indices = range(counts.dissimilar)
        trials = [
            (other, index) for other in speakers if other != train_speaker for index in indices
        ]
    else:
        generator = keyed_generator(settings.seed, split, train_speaker.name, "partners")
        drawn = generator.integers(others, size=counts.dissimilar)
        # Skips this speaker without a copy of the list, which may have thousands.
        trials = [(speakers[at + (at >= position)], index) for index, at in enumerate(drawn)]
    for other, index in trials:
        pair_id = _pair_id(split, train_speaker, other, index)
        for owner, side in ((train_speaker, "a"), (other, "b")):
            yield owner, WindowRequest(pair_id, 0, side, index < repeated.dissimilar)


def place(
    request: WindowRequest,
    train_speaker: TrainSpeaker,
    timeline: Sequence[TimelineSegment],
    window: int,
    settings: PairSettings,
) -> list[WindowPosition]:
    """Draws the windows that a request needs of a speaker.

    Args:
        request: one or both sides of a pair.
        train_speaker: whose windows they are.
        timeline: the speaker's speech in this split.
        window: samples that a window takes of the recording, at the speaker's speed.
        settings: whether a pair's windows may overlap, and the seed.

    Returns:
        One position for each side; none where two disjoint windows do not fit.
    """
    generator = keyed_generator(settings.seed, request.pair_id, request.sides)
    room = _room(timeline, window)
    if request.sides != "ab":
        drawn = [_draw(room, generator)]
    elif settings.windows == "random":
        drawn = [_draw(room, generator), _draw(room, generator)]
    else:
        drawn = _draw_disjoint(room, window, generator)
    return [
        WindowPosition(
            request.pair_id,
            request.label,
            side,
            train_speaker,
            segment.recording,
            segment.piece,
            start,
        )
        for side, (segment, start) in zip(request.sides, drawn, strict=False)
    ]


def _room(timeline: Sequence[TimelineSegment], window: int) -> list[_Room]:
    """Where windows may start; if no segment holds one, those long enough are repeated to one."""
    room = [
        (segment, 0, segment.samples - window) for segment in timeline if segment.samples >= window
    ]
    words = [
        (segment, 0, 0) for segment in timeline if segment.samples >= SHORTEST_SEGMENT * window
    ]
    return room or words


def _pair_id(split: str, a: TrainSpeaker, b: TrainSpeaker, index: int) -> str:
    key = json.dumps([split, a.name, b.name, index]).encode()
    return hashlib.sha256(key).hexdigest()[:20]


def _draw(room: Sequence[_Room], generator: np.random.Generator) -> tuple[TimelineSegment, int]:
    """A start drawn evenly from all possible ones."""
    ends = np.cumsum([last - first + 1 for _, first, last in room])
    chosen = int(generator.integers(ends[-1]))
    index = int(np.searchsorted(ends, chosen, side="right"))
    segment, _, last = room[index]
    return segment, last - (int(ends[index]) - 1 - chosen)


def _draw_disjoint(
    room: Sequence[_Room], window: int, generator: np.random.Generator
) -> list[tuple[TimelineSegment, int]]:
    """Two windows that share no sample, from two recordings if the speaker has them."""
    if len(room) == 1:
        segment, _, last = room[0]
        feasible = _beside(segment, 0, last, window)
    else:
        feasible = list(room)
    if not feasible:
        return []
    first, start = _draw(feasible, generator)
    elsewhere = [item for item in room if item[0].recording != first.recording]
    if not elsewhere:
        elsewhere = [item for item in room if item[0] != first]
        elsewhere += _around(first, start, window)
    return [(first, start), _draw(elsewhere, generator)]


def _beside(segment: TimelineSegment, first: int, last: int, window: int) -> list[_Room]:
    """Starts that leave room for a second window before or after them."""
    if last - window >= window - 1:  # the two ranges would touch or overlap
        return [(segment, first, last)]
    return [
        (segment, low, high)
        for low, high in ((first, last - window), (first + window, last))
        if low <= high
    ]


def _around(segment: TimelineSegment, start: int, window: int) -> list[_Room]:
    """Starts in the same segment that do not overlap the window at `start`."""
    last = segment.samples - window
    sides = ((0, start - window), (start + window, last))
    return [(segment, low, high) for low, high in sides if low <= high]
