"""What a gallery stores, and what is known of those who are enrolled in it."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple, Self

from serving.answers import Embedding, Vector
from serving.speaker_names import speaker_name


@dataclass(frozen=True)
class Enrolment:
    """A recording to enrol, and its embedding."""

    embedding: Embedding
    source: str
    """The file's name, with bytes that are not UTF-8 as backslash escapes."""
    wav: bytes


@dataclass(frozen=True)
class Enrolled:
    """A speaker's recordings, possibly none."""

    vectors: Vector
    """float32 [N, D]"""
    speech_seconds: float
    ids: frozenset[str]
    """Of the recordings, as `recording_id` gives them."""


@dataclass(frozen=True)
class EnrolledRecording:
    """What is known of one of a speaker's recordings."""

    id: str
    source: str
    """The file's name."""
    speech_seconds: float
    enrolled_at: datetime
    expires_at: datetime | None
    audio_kept: bool
    consent: str
    bandwidth_hz: float | None
    """See `RecordingQuality`; None if an earlier version of Swar enrolled it."""


@dataclass(frozen=True)
class Speaker:
    """What is known of an enrolled speaker."""

    name: str
    recordings: int
    speech_seconds: float
    last_enrolled: datetime
    audio_kept: bool
    """Whether that of every recording was."""
    consent: str
    """How the speaker gave it, as last noted; empty if it never was."""
    expires_at: datetime | None
    """When the first of the recordings expires; None if none does."""

    @classmethod
    def of(cls, name: str, recordings: Sequence[EnrolledRecording]) -> Self:
        """Sums up at least one recording; they are in the order of their enrolment."""
        return cls(
            name=name,
            recordings=len(recordings),
            speech_seconds=sum(each.speech_seconds for each in recordings),
            last_enrolled=max(each.enrolled_at for each in recordings),
            audio_kept=all(each.audio_kept for each in recordings),
            consent=next((each.consent for each in reversed(recordings) if each.consent), ""),
            expires_at=min(
                (each.expires_at for each in recordings if each.expires_at), default=None
            ),
        )


class Stale(NamedTuple):
    """The recordings that a model other than the one in use embedded."""

    kept_ids: list[str]
    """Of those whose audio was kept."""
    speakers_without_audio: list[str]
    """Speakers of the others."""


def recording_id(name: str, wav: bytes) -> str:
    """A recording's id: the same samples of the same speaker are one recording."""
    return hashlib.sha256(speaker_name(name).encode() + b"\0" + wav).hexdigest()
