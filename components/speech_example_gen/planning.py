"""Results of the first pass over the recordings, and the plan that follows."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from components.errors import SwarError, count_reasons, first_names
from components.recordings.acoustics import AcousticStatistics
from components.recordings.files import SPEAKER_WITHOUT_SPEECH
from components.recordings.sources import Recording, Reject
from components.recordings.splitting import Piece, held_out_speakers, split_speaker
from components.settings import SpeechSettings

SHARD_SECONDS = 600


@dataclass(frozen=True)
class RecordingSummary:
    """A usable recording."""

    recording: Recording
    speech_samples: int
    digest: str  # of the cleaned speech
    acoustics: AcousticStatistics


@dataclass(frozen=True)
class RecordingPlan:
    """A recording and the pieces to write of it."""

    recording: Recording
    pieces: tuple[Piece, ...]


def without_duplicates(
    summaries: Iterable[RecordingSummary],
) -> tuple[list[RecordingSummary], list[Reject]]:
    """Keeps the first of recordings with the same speech, and rejects the others.

    Raises:
        SwarError: two speakers have the same speech.
    """
    first: dict[str, Recording] = {}
    kept, rejects = [], []
    for item in sorted(summaries, key=lambda item: item.recording.recording):
        original = first.setdefault(item.digest, item.recording)
        if original is item.recording:
            kept.append(item)
        elif original.speaker == item.recording.speaker:
            rejects.append(
                Reject(
                    file=item.recording.recording,
                    reason="duplicate",
                    seconds=None,
                    detail=f"the same speech as {original.recording!r}",
                    same_as=original.recording,
                )
            )
        else:
            raise SwarError(
                f"the same audio under two speakers: {original.recording!r} and "
                f"{item.recording.recording!r}: remove the wrong one"
            )
    return kept, rejects


def without_speech(summaries: Iterable[RecordingSummary], speakers: Iterable[str]) -> list[Reject]:
    """A reject for every speaker of the input who has no usable recording."""
    usable = {item.recording.speaker for item in summaries}
    return [
        Reject(speaker, SPEAKER_WITHOUT_SPEECH, None, "this speaker has no usable recording")
        for speaker in sorted(set(speakers) - usable)
    ]


def check_rejects(
    rejects: Sequence[Reject],
    recordings: Sequence[Recording],
    speakers: Collection[str],
    settings: SpeechSettings,
) -> None:
    """Stops a run that would train on too little of its input.

    Args:
        rejects: everything that was not used.
        recordings: every recording that was read.
        speakers: all that the input names.
        settings: holds `max_reject_fraction`.

    Raises:
        SwarError: more than `max_reject_fraction` of the recordings, or of the speakers, were
            rejected.
    """
    bound = settings.max_reject_fraction
    counted = [reject for reject in rejects if reject.counts]
    read = {recording.recording for recording in recordings}
    total = len(read | {reject.file for reject in counted})
    if len(counted) > bound * total:
        names = first_names([f"{reject.file!r} ({reject.reason})" for reject in counted])
        raise SwarError(
            f"{len(counted)} of {total} recordings rejected, more than {bound:.0%}: {names}: "
            "mend or remove them, or raise speech.max_reject_fraction"
        )
    silent = [repr(item.file) for item in rejects if item.reason == SPEAKER_WITHOUT_SPEECH]
    if len(silent) > bound * len(speakers):
        raise SwarError(
            f"nothing usable of {len(silent)} of {len(speakers)} speakers, more than {bound:.0%}: "
            f"{first_names(silent)}: add recordings, remove the speakers, or raise "
            "speech.max_reject_fraction"
        )


def plan(
    summaries: Sequence[RecordingSummary], speakers: Iterable[str], settings: SpeechSettings
) -> list[RecordingPlan]:
    """Assigns every sample of cleaned speech to a split.

    Args:
        summaries: the usable recordings.
        speakers: all that the input names, also those without a usable recording.
        settings: the fractions.

    Returns:
        The plans, sorted by recording.

    Raises:
        SwarError: there are too few speakers with speech.
    """
    by_speaker: dict[str, dict[str, int]] = defaultdict(dict)
    for item in summaries:
        by_speaker[item.recording.speaker][item.recording.recording] = item.speech_samples
    if len(by_speaker) < 2:
        raise SwarError(f"{len(by_speaker)} speaker(s) in the input: verification needs at least 2")
    totals = {speaker: sum(by_speaker.get(speaker, {}).values()) for speaker in speakers}
    held_out = held_out_speakers(totals, settings)
    pieces: dict[str, list[Piece]] = {}
    for speaker, lengths in by_speaker.items():
        pieces |= split_speaker(lengths, held_out.get(speaker), settings)
    ordered = sorted(summaries, key=lambda item: item.recording.recording)
    return [
        RecordingPlan(item.recording, tuple(pieces[item.recording.recording])) for item in ordered
    ]


def rows(
    summaries: Iterable[RecordingSummary], work: Iterable[RecordingPlan], sample_rate: int
) -> Iterator[dict[str, Any]]:
    """The rows of `recordings.jsonl`, for every recording that is used, in the order of `work`."""
    known = {item.recording.recording: item for item in summaries}
    for item in work:
        recording = item.recording
        seconds: defaultdict[str, float] = defaultdict(float)
        for piece in item.pieces:
            seconds[piece.split] += (piece.end - piece.start) / sample_rate
        found = known[recording.recording]
        yield {
            "recording": recording.recording,
            "path": recording.path,
            "speaker": recording.speaker,
            "gender": recording.gender,
            "session": recording.session,
            "columns": dict(recording.columns),
            "digest": found.digest,
            "splits": {split: round(value, 3) for split, value in seconds.items()},
            **asdict(found.acoustics),
        }


def shards(work: Sequence[RecordingPlan], sample_rate: int) -> list[list[RecordingPlan]]:
    """Groups neighbouring recordings into files of about `SHARD_SECONDS` of speech."""
    groups: list[list[RecordingPlan]] = []
    room = 0
    for item in work:
        if room <= 0:
            groups.append([])
            room = SHARD_SECONDS * sample_rate
        groups[-1].append(item)
        room -= sum(piece.end - piece.start for piece in item.pieces)
    return groups


def reasons(rejects: Collection[Reject]) -> str:
    """A text such as `3 rejected (2 silent, 1 too_short)`."""
    listed = count_reasons(reject.reason for reject in rejects)
    return f"{len(rejects)} rejected" + (f" ({listed})" if listed else "")
