"""Which part of whose speech lies in which split: pure functions."""

import hashlib
import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from components import features
from components.errors import SwarError
from components.settings import SpeechSettings


@dataclass(frozen=True)
class Piece:
    """A stretch of one recording's cleaned speech, within one split."""

    split: str
    index: int  # counts within the recording
    start: int  # samples, in the cleaned recording
    end: int


def unseen_speakers(speakers: Sequence[str], fraction: float, seed: int) -> frozenset[str]:
    """The speakers that training never hears: those whose keyed hashes come first.

    A new speaker moves at most one other speaker across the border. At least two speakers
    are taken, since one alone makes no trial of two people, and two are left to train on.

    Raises:
        SwarError: there are too few speakers for that.
    """
    if fraction == 0.0:
        return frozenset()
    count = max(2, round(fraction * len(speakers)))
    if len(speakers) - count < 2:
        raise SwarError(
            f"{len(speakers)} speakers are too few to hold {count} out as unseen and train on "
            "two: add speakers, or set speech.unseen_speaker_fraction to 0"
        )

    def rank(speaker: str) -> tuple[bytes, str]:
        return hashlib.sha256(f"{seed}/{speaker}".encode()).digest(), speaker

    return frozenset(sorted(speakers, key=rank)[:count])


def split_speaker(
    speech_samples: Mapping[str, int], unseen: bool, settings: SpeechSettings
) -> dict[str, list[Piece]]:
    """Cuts one speaker's speech by time, and each part into pieces of bounded length.

    Args:
        speech_samples: cleaned samples of each of the speaker's recordings.
        unseen: whether all of it goes to the `unseen` split.
        settings: the fractions and the longest piece.

    Returns:
        The pieces of each recording, in order, without gaps or overlaps.
    """
    total = sum(speech_samples.values())
    borders = _borders(total, unseen, settings)
    longest = int(settings.max_piece_seconds * settings.sample_rate)
    pieces: dict[str, list[Piece]] = {}
    offset = 0
    for recording in sorted(speech_samples):
        length = speech_samples[recording]
        spans = [
            (split, max(0, start - offset), min(length, end - offset))
            for split, start, end in borders
        ]
        pieces[recording] = _cut([span for span in spans if span[1] < span[2]], longest)
        offset += length
    return pieces


def _borders(total: int, unseen: bool, settings: SpeechSettings) -> list[tuple[str, int, int]]:
    if unseen:
        return [(features.UNSEEN, 0, total)]
    train_end = round(settings.train_fraction * total)
    calibration_end = round((settings.train_fraction + settings.calibration_fraction) * total)
    return [
        (features.TRAIN, 0, train_end),
        (features.CALIBRATION, train_end, calibration_end),
        (features.EVAL, calibration_end, total),
    ]


def _cut(spans: Sequence[tuple[str, int, int]], longest: int) -> list[Piece]:
    """Equal pieces of at most `longest` samples: no span ends in a useless rest."""
    pieces: list[Piece] = []
    for split, start, end in spans:
        parts = math.ceil((end - start) / longest)
        cuts = [start + (end - start) * part // parts for part in range(parts + 1)]
        for first, last in itertools.pairwise(cuts):
            pieces.append(Piece(split, len(pieces), first, last))
    return pieces
