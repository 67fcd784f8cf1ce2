"""The pieces of cleaned speech: what is known of each, and utterances cut from them."""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final, NamedTuple

import numpy as np

from components import features
from components.settings import ReportSettings
from components.speech_examples import read_examples, samples_of, text
from components.verification.utterances import Cut, Utterance, choose_positions

CUTS_AT_ONCE: Final = 32


class Piece(NamedTuple):
    """An example of `speech`, without its sound."""

    split: str
    file: str
    number: int
    """Its place in the file."""
    speaker: str
    gender: str
    channel: str
    recording: str
    start_seconds: float
    """In the recording's speech without its silence."""
    samples: int
    sample_rate: int
    digest: str
    """sha256 of its samples."""


class Place(NamedTuple):
    """Where an utterance lies in a piece."""

    offset: int
    samples: int


class Places(NamedTuple):
    """Utterances to cut."""

    of_piece: dict[Piece, list[Place]]
    possible: dict[tuple[str, float], int]
    """How many there are by split and duration in seconds, without the bound for a speaker."""


def read_pieces(split: str, file: str) -> Iterator[Piece]:
    """Every piece of a `speech` file; its sound is read and let go."""
    for number, example in enumerate(read_examples(file)):
        feature = example.features.feature
        pcm16 = feature[features.PCM16].bytes_list.value[0]
        yield Piece(
            split=split,
            file=file,
            number=number,
            speaker=text(example, features.SPEAKER),
            gender=text(example, features.GENDER),
            channel=text(example, features.CHANNEL),
            recording=text(example, features.RECORDING),
            start_seconds=feature[features.START_SECONDS].float_list.value[0],
            samples=len(pcm16) // 2,
            sample_rate=feature[features.SAMPLE_RATE].int64_list.value[0],
            digest=hashlib.sha256(pcm16).hexdigest(),
        )


def choose_places(
    pieces: Iterable[Piece], window_samples: int, sample_rate: int, settings: ReportSettings
) -> Places:
    """Utterances of every duration, at most so many of a speaker; none of a duration overlap.

    Where nobody speaks long enough for two of the shortest, the model's window is one more.

    Args:
        pieces: of the splits to judge on.
        window_samples: the model's window, the shortest utterance.
        sample_rate: of the speech, Hz.
        settings: durations, bound and seed.
    """
    by_speaker: dict[tuple[str, str], list[Piece]] = defaultdict(list)
    for piece in sorted(pieces, key=lambda each: (each.recording, each.start_seconds)):
        by_speaker[piece.split, piece.speaker].append(piece)
    durations = {
        max(window_samples, round(each * sample_rate)) for each in settings.duration_seconds
    }
    if not any(_utterances(own, min(durations)) > 1 for own in by_speaker.values()):
        durations.add(window_samples)
    of_piece: dict[Piece, list[Place]] = defaultdict(list)
    possible: Counter[tuple[str, float]] = Counter()
    for (split, speaker), own in sorted(by_speaker.items()):
        for samples in sorted(durations):
            found = choose_positions(
                [piece.samples for piece in own],
                samples,
                settings.utterances_per_speaker,
                speaker=speaker,
                seed=settings.seed,
            )
            possible[split, samples / sample_rate] += found.possible
            for index, offset in found.chosen:
                of_piece[own[index]].append(Place(offset, samples))
    return Places(dict(of_piece), dict(possible))


def _utterances(pieces: Iterable[Piece], samples: int) -> int:
    """How many of that length lie end to end in the pieces."""
    return sum(piece.samples // samples for piece in pieces)


def cut(places: Mapping[Piece, Sequence[Place]]) -> Iterator[list[Cut]]:
    """The utterances, a few at a time, file by file: one piece is in memory."""
    batch: list[Cut] = []
    by_file: dict[tuple[str, str], dict[int, Piece]] = defaultdict(dict)
    for piece in places:
        by_file[piece.split, piece.file][piece.number] = piece
    for (_, file), wanted in sorted(by_file.items()):
        for number, example in enumerate(read_examples(file)):
            if number not in wanted:
                continue
            piece = wanted[number]
            pcm16 = samples_of(example)
            for place in sorted(places[piece]):
                batch.append(_cut(piece, place, pcm16))
                if len(batch) == CUTS_AT_ONCE:
                    yield batch
                    batch = []
    if batch:
        yield batch


def _cut(piece: Piece, place: Place, pcm16: np.ndarray) -> Cut:
    utterance = utterance_at(piece, place)
    samples = pcm16[place.offset : place.offset + place.samples]
    return Cut(utterance, samples, piece.sample_rate)


def utterance_at(piece: Piece, place: Place) -> Utterance:
    """What is known of an utterance before it is cut."""
    start = piece.start_seconds + place.offset / piece.sample_rate
    seconds = place.samples / piece.sample_rate
    return Utterance(
        set=piece.split,
        duration_seconds=seconds,
        utterance=f"{piece.recording}#{start:.3f}-{start + seconds:.3f}",
        speaker=piece.speaker,
        recording=piece.recording,
        session=None,  # speech does not tell
        gender=piece.gender,
        channel=piece.channel,
        start_seconds=start,
    )
