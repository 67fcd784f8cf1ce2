"""The pieces of cleaned speech, their metadata, and utterances cut from them."""

import hashlib
import itertools
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final, NamedTuple

import numpy as np

from components import features
from components.speech_examples import read_examples, samples_of, text
from components.verification.utterances import (
    Cut,
    SpeechSegment,
    UtterancePlan,
    UtterancePosition,
)

CUTS_AT_ONCE: Final = 32


class SpeechPiece(NamedTuple):
    """An example of `speech`, without its sound."""

    split: str
    file: str
    number: int
    """Index in the file."""
    speaker: str
    gender: str
    channel: str
    recording: str
    start_seconds: float
    """In the recording's speech without silence."""
    samples: int
    sample_rate: int
    digest: str
    """sha256 of its samples."""
    session: str | None
    """The speaker's occasion of recording; None where that is not known."""

    @property
    def segment(self) -> SpeechSegment:
        """The segment that utterances are cut from."""
        return SpeechSegment(
            speaker=self.speaker,
            recording=self.recording,
            session=self.session,
            gender=self.gender,
            channel=self.channel,
            start_seconds=self.start_seconds,
            samples=self.samples,
        )


Positions = Mapping[SpeechPiece, Sequence[UtterancePosition]]
"""Where utterances lie in the pieces of a split."""


def read_pieces(split: str, file: str, sessions: Mapping[str, str | None]) -> Iterator[SpeechPiece]:
    """Every piece of a `speech` file; its sound is read but not kept.

    Args:
        split: of the file.
        file: of tf.Examples.
        sessions: by recording, since `speech` does not contain them.
    """
    for number, example in enumerate(read_examples(file)):
        feature = example.features.feature
        pcm16 = feature[features.PCM16].bytes_list.value[0]
        recording = text(example, features.RECORDING)
        yield SpeechPiece(
            split=split,
            file=file,
            number=number,
            speaker=text(example, features.SPEAKER),
            gender=text(example, features.GENDER),
            channel=text(example, features.CHANNEL),
            recording=recording,
            start_seconds=feature[features.START_SECONDS].float_list.value[0],
            samples=len(pcm16) // 2,
            sample_rate=feature[features.SAMPLE_RATE].int64_list.value[0],
            digest=hashlib.sha256(pcm16).hexdigest(),
            session=sessions.get(recording),
        )


def repeated_words(pieces: Sequence[SpeechPiece], window_samples: int) -> list[SpeechPiece]:
    """Extends pieces of speakers of single words to a window's length: `cut` repeats the sound.

    Such a speaker has no piece of a window's length in the split, as for the training.

    Args:
        pieces: of one split.
        window_samples: the model's window.
    """
    longest: dict[str, int] = defaultdict(int)
    for piece in pieces:
        longest[piece.speaker] = max(longest[piece.speaker], piece.samples)
    return [
        piece._replace(samples=max(piece.samples, window_samples))
        if longest[piece.speaker] < window_samples
        else piece
        for piece in pieces
    ]


def positions_of(
    pieces: Iterable[SpeechPiece], plan: UtterancePlan
) -> dict[SpeechPiece, list[UtterancePosition]]:
    """Positions of a split's utterances, speaker by speaker, whatever the files' order.

    Args:
        pieces: of the split.
        plan: chooses the utterances.
    """
    ordered = sorted(pieces, key=lambda each: (each.speaker, each.recording, each.start_seconds))
    found: dict[SpeechPiece, list[UtterancePosition]] = defaultdict(list)
    for _, group in itertools.groupby(ordered, key=lambda each: each.speaker):
        own = list(group)
        for position in plan.positions([piece.segment for piece in own]):
            found[own[position.segment]].append(position)
    return dict(found)


def cut(positions: Positions, plan: UtterancePlan) -> Iterator[list[Cut]]:
    """Cuts the utterances, a few at a time, file by file, with one piece in memory."""
    batch: list[Cut] = []
    by_file: dict[str, dict[int, SpeechPiece]] = defaultdict(dict)
    for piece in positions:
        by_file[piece.file][piece.number] = piece
    for file, wanted in sorted(by_file.items()):
        for number, example in enumerate(read_examples(file)):
            if number not in wanted:
                continue
            piece = wanted[number]
            pcm16 = np.resize(samples_of(example), piece.samples)
            for position in sorted(positions[piece], key=lambda each: each[1:]):
                batch.append(plan.cut(piece.segment, position, pcm16))
                if len(batch) == CUTS_AT_ONCE:
                    yield batch
                    batch = []
    if batch:
        yield batch
