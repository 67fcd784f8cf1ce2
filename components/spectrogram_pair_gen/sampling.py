"""Who is compared with whom, and where each window lies: pure functions of keyed seeds."""

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
SHORTEST_STRETCH = 0.25
"""Of a window: less speech is not repeated to one."""
_NO_PAIRS: Final = PairCounts(similar_per_speaker=0, dissimilar=0)


@dataclass(frozen=True, order=True)
class TrainSpeaker:
    """A speaker as recorded, or played at another speed, which makes somebody else of them.

    Source: Yamamoto et al., "Speaker Augmentation and Bandwidth Extension for Deep Speaker
    Embedding", Interspeech 2019.
    """

    speaker: str
    speed: float = NORMAL_SPEED

    @property
    def name(self) -> str:
        """What the pairs call the speaker."""
        if self.speed == NORMAL_SPEED:
            return self.speaker
        return f"{self.speaker} at speed {self.speed:g}"

    def samples(self, window: int) -> int:
        """Samples of the recording in a window of so many samples."""
        if self.speed == NORMAL_SPEED:
            return window
        return math.ceil(window * self.speed) + 1  # resampling may round one away


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
    """Whether the pair is there again under every condition."""


@dataclass(frozen=True)
class WindowPosition:
    """One window of one pair."""

    pair_id: str
    label: int
    side: str
    voice: TrainSpeaker
    recording: str
    piece: int
    start: int  # samples, within the piece
    condition: str = CLEAN
    """That side b of the pair is under."""

    def under_conditions(self) -> "Iterator[WindowPosition]":
        """The same window, as a side of the pair under every condition."""
        for condition in CONDITIONS:
            pair_id = f"{self.pair_id}-{condition}"
            yield replace(self, pair_id=pair_id, condition=condition)


@dataclass(frozen=True)
class SplitSpeakers:
    """Everybody who speaks in a split."""

    speakers: tuple[TrainSpeaker, ...]
    """Sorted."""
    mean_samples: float
    """Of speech that a voice has."""

    @classmethod
    def of(cls, found: Iterable[tuple[TrainSpeaker, int]]) -> "SplitSpeakers":
        """Voices with their samples of speech, in any order."""
        samples = dict(found)
        return cls(tuple(sorted(samples)), sum(samples.values()) / len(samples))

    def in_proportion(self, counts: PairCounts, samples: int) -> PairCounts:
        """The counts of a voice with so many samples, given the mean; at least 1 where not 0."""
        return PairCounts.model_validate(
            {
                name: max(1, round(count * samples / self.mean_samples)) if count else 0
                for name, count in counts
            }
        )


# TimelineSegment, first and last possible start of a window in it.
_Room = tuple[TimelineSegment, int, int]


def has_room(timeline: Sequence[TimelineSegment], window: int) -> bool:
    """Whether there is speech for a window of so many samples."""
    return bool(_room(timeline, window))


def speech_samples(timeline: Iterable[TimelineSegment]) -> int:
    """Of all stretches together."""
    return sum(stretch.samples for stretch in timeline)


def requests(
    split: str,
    voice: TrainSpeaker,
    roster: Sequence[TrainSpeaker],
    counts: PairCounts,
    settings: PairSettings,
) -> Iterator[tuple[TrainSpeaker, WindowRequest]]:
    """The trials that start from one voice.

    Args:
        split: the split's name.
        voice: side a of every trial, one of the roster.
        roster: the split's speakers, sorted; side b of different-speaker trials.
        counts: how many trials of each kind.
        settings: protocol and seed.

    Yields:
        (voice, request): which voice has to give which sides.
    """
    position = bisect_left(roster, voice)
    repeated = _NO_PAIRS
    is_among = _is_among(position, len(roster), settings.condition_speakers)
    if split in features.UNDER_CONDITIONS and is_among:
        repeated = settings.condition
    for index in range(counts.similar_per_speaker):
        is_repeated = index < repeated.similar_per_speaker
        yield voice, WindowRequest(_pair_id(split, voice, voice, index), 1, "ab", is_repeated)
    others = len(roster) - 1
    if not others or not counts.dissimilar:
        return
    if settings.protocol == "every_ordered_pair":
        indices = range(counts.dissimilar)
        trials = [(other, index) for other in roster if other != voice for index in indices]
    else:
        generator = keyed_generator(settings.seed, split, voice.name, "partners")
        drawn = generator.integers(others, size=counts.dissimilar)
        # The roster without the voice, which is not copied for every one of thousands.
        trials = [(roster[at + (at >= position)], index) for index, at in enumerate(drawn)]
    for other, index in trials:
        pair_id = _pair_id(split, voice, other, index)
        for owner, side in ((voice, "a"), (other, "b")):
            yield owner, WindowRequest(pair_id, 0, side, index < repeated.dissimilar)


def _is_among(position: int, total: int, chosen: int) -> bool:
    """Whether a place is one of so many, evenly spread over all; all where these are fewer."""
    return position * chosen % total < chosen


def place(
    request: WindowRequest,
    voice: TrainSpeaker,
    timeline: Sequence[TimelineSegment],
    window: int,
    settings: PairSettings,
) -> list[WindowPosition]:
    """Draws the windows that a request asks of a voice.

    Args:
        request: one or both sides of a pair.
        voice: whose windows they are.
        timeline: the speaker's speech in this split.
        window: samples that a window takes of the recording, at the voice's speed.
        settings: whether a pair's windows may overlap, and the seed.

    Returns:
        One placement for each side; none where two disjoint windows do not fit.
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
            request.pair_id, request.label, side, voice, stretch.recording, stretch.piece, start
        )
        for side, (stretch, start) in zip(request.sides, drawn, strict=False)
    ]


def _room(timeline: Sequence[TimelineSegment], window: int) -> list[_Room]:
    """Where windows may start: of a speaker of single words, each stretch is one, repeated."""
    room = [
        (stretch, 0, stretch.samples - window) for stretch in timeline if stretch.samples >= window
    ]
    words = [
        (stretch, 0, 0) for stretch in timeline if stretch.samples >= SHORTEST_STRETCH * window
    ]
    return room or words


def _pair_id(split: str, a: TrainSpeaker, b: TrainSpeaker, index: int) -> str:
    key = json.dumps([split, a.name, b.name, index]).encode()
    return hashlib.sha256(key).hexdigest()[:20]


def _draw(room: Sequence[_Room], generator: np.random.Generator) -> tuple[TimelineSegment, int]:
    """A start drawn evenly from all that there are."""
    ends = np.cumsum([last - first + 1 for _, first, last in room])
    chosen = int(generator.integers(ends[-1]))
    index = int(np.searchsorted(ends, chosen, side="right"))
    stretch, _, last = room[index]
    return stretch, last - (int(ends[index]) - 1 - chosen)


def _draw_disjoint(
    room: Sequence[_Room], window: int, generator: np.random.Generator
) -> list[tuple[TimelineSegment, int]]:
    """Two windows that share no sample, from two recordings if the speaker has them."""
    if len(room) == 1:
        stretch, _, last = room[0]
        feasible = _beside(stretch, 0, last, window)
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


def _beside(stretch: TimelineSegment, first: int, last: int, window: int) -> list[_Room]:
    """Starts that leave room for a second window before or after them."""
    if last - window >= window - 1:  # the two ranges would touch or overlap
        return [(stretch, first, last)]
    return [
        (stretch, low, high)
        for low, high in ((first, last - window), (first + window, last))
        if low <= high
    ]


def _around(stretch: TimelineSegment, start: int, window: int) -> list[_Room]:
    """Starts in the same stretch that do not overlap the window at `start`."""
    last = stretch.samples - window
    sides = ((0, start - window), (start + window, last))
    return [(stretch, low, high) for low, high in sides if low <= high]
