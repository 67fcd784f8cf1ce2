"""Assigns speakers and parts of their speech to splits: pure functions."""

import hashlib
import itertools
import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

from components import features
from components.errors import SwarError
from components.settings import SpeechSettings


@dataclass(frozen=True)
class Piece:
    """A part of one recording's cleaned speech, within one split."""

    split: str
    index: int  # within the recording
    start: int  # samples, in the cleaned recording
    end: int


def unseen_speakers(speakers: Collection[str], settings: SpeechSettings) -> frozenset[str]:
    """The speakers for `unseen`: those whose keyed hashes come first.

    A new speaker moves at most one other speaker across the border.

    Args:
        speakers: all that the input names. `held_out_speakers` replaces those without usable
            speech by the next ones, so that all others returned here are unseen.
        settings: the fractions and the seed.

    Raises:
        SwarError: there are too few speakers, see `held_out_speakers`.
    """
    unseen, _ = _held_out_counts(len(speakers), len(speakers), settings)
    return frozenset(sorted(speakers, key=_rank(settings))[:unseen])


def held_out_speakers(
    speech_samples: Mapping[str, int], settings: SpeechSettings
) -> dict[str, str]:
    """The speakers that are not trained on, and the split that holds each.

    `unseen` gets the speakers whose keyed hashes come first. The others are sorted by amount of
    speech and cut into one group for each speaker of `calibration`, which gets the one whose
    keyed hash comes first in each group: speakers with much speech are as frequent as in the rest.
    Either split has at least two speakers or none, since one alone makes no trial of two, and two
    are left to train on.

    Args:
        speech_samples: cleaned samples of each speaker that the input names; a speaker with none
            counts for the fractions, but is never held out.
        settings: the fractions and the seed.

    Raises:
        SwarError: there are too few speakers for that.
    """
    usable = [name for name, samples in speech_samples.items() if samples]
    unseen_count, calibration = _held_out_counts(len(speech_samples), len(usable), settings)
    unseen = sorted(usable, key=_rank(settings))[:unseen_count]
    rest = sorted(set(usable) - set(unseen), key=lambda name: (speech_samples[name], name))
    groups = [
        rest[len(rest) * group // calibration : len(rest) * (group + 1) // calibration]
        for group in range(calibration)
    ]
    return {
        **dict.fromkeys(unseen, features.UNSEEN),
        **{min(group, key=_rank(settings)): features.CALIBRATION for group in groups},
    }


def _held_out_counts(speakers: int, usable: int, settings: SpeechSettings) -> tuple[int, int]:
    unseen, calibration = (
        max(2, round(fraction * speakers)) if fraction else 0
        for fraction in (settings.unseen_speaker_fraction, settings.calibration_speaker_fraction)
    )
    held_out = unseen + calibration
    if held_out and usable - held_out < 2:
        raise SwarError(
            f"{usable} speakers are too few to hold {held_out} out of training as "
            "unseen and for calibration, and train on two: add speakers, or set "
            "speech.unseen_speaker_fraction to 0, or speech.calibration_speaker_fraction to 0 and "
            "speech.calibration_fraction to 0.1"
        )
    return unseen, calibration


def _rank(settings: SpeechSettings) -> Callable[[str], tuple[bytes, str]]:
    return lambda speaker: (
        hashlib.sha256(f"{settings.seed}/{speaker}".encode()).digest(),
        speaker,
    )


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
    """Equal pieces of at most `longest` samples, so that no span ends in a short rest."""
    pieces: list[Piece] = []
    for split, start, end in spans:
        parts = math.ceil((end - start) / longest)
        cuts = [start + (end - start) * part // parts for part in range(parts + 1)]
        for first, last in itertools.pairwise(cuts):
            pieces.append(Piece(split, len(pieces), first, last))
    return pieces
