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


def held_out_speakers(speakers: Sequence[str], settings: SpeechSettings) -> dict[str, str]:
    """The speakers that training never hears, and the split that holds them.

    Those whose keyed hashes come first are `unseen`, the next are for `calibration`: a new
    speaker moves at most one other speaker across each border. Of either at least two are
    taken, since one alone makes no trial of two people, and two are left to train on.

    Raises:
        SwarError: there are too few speakers for that.
    """
    fractions = {
        features.UNSEEN: settings.unseen_speaker_fraction,
        features.CALIBRATION: settings.calibration_speaker_fraction,
    }
    split_of = [
        split
        for split, fraction in fractions.items()
        if fraction
        for _ in range(max(2, round(fraction * len(speakers))))
    ]
    if split_of and len(speakers) - len(split_of) < 2:
        raise SwarError(
            f"{len(speakers)} speakers are too few to hold {len(split_of)} out of training as "
            "unseen and for calibration, and train on two: add speakers, or set "
            "speech.unseen_speaker_fraction to 0, or speech.calibration_speaker_fraction to 0 and "
            "speech.calibration_fraction to 0.1"
        )

    def rank(speaker: str) -> tuple[bytes, str]:
        return hashlib.sha256(f"{settings.seed}/{speaker}".encode()).digest(), speaker

    return dict(zip(sorted(speakers, key=rank), split_of, strict=False))


def split_speaker(
    speech_samples: Mapping[str, int], held_out: str | None, settings: SpeechSettings
) -> dict[str, list[Piece]]:
    """Cuts one speaker's speech by time, and each part into pieces of bounded length.

    Args:
        speech_samples: cleaned samples of each of the speaker's recordings.
        held_out: the split that all of it goes to; None for a speaker to train on.
        settings: the fractions and the longest piece.

    Returns:
        The pieces of each recording, in order, without gaps or overlaps.
    """
    total = sum(speech_samples.values())
    borders = _borders(total, held_out, settings)
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


def _borders(
    total: int, held_out: str | None, settings: SpeechSettings
) -> list[tuple[str, int, int]]:
    if held_out is not None:
        return [(held_out, 0, total)]
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
