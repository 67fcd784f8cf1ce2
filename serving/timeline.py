"""Who speaks when in a recording: enrolled speakers by name, others as "speaker 1", "speaker 2".

The speech is found as the model finds it, its windows are embedded and grouped
(`serving.diarization`), and each group is one query to the gallery. Overlapping speech of several
people is not separated: it counts as one speaker's.
"""

import tempfile
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from components import audio
from components.errors import SwarError
from components.mean_embedding import mean_embedding
from components.pcm16 import pack_wav, to_pcm16
from components.recording_quality import quality_of
from serving.answers import OK, Description, Embedding, Vector
from serving.bulk import embed_each
from serving.client import Client, fault
from serving.decisions import DecisionRule
from serving.diarization import (
    Ranges,
    Turn,
    follow_speakers,
    group_windows,
    islands,
    pieces,
    turns_of,
    window_positions,
)
from serving.gallery import Gallery
from serving.recognition import (
    Identification,
    enrolled_names,
    identification_rule,
    identify_embedding,
)
from serving.recordings import AudioInput, LocalRecording, display_name, local_recording

if TYPE_CHECKING:  # TensorFlow may be missing if only a server is called
    from components.block_detection import BlockDetector
    from components.settings import SpeechSettings

LONGEST_PAUSE_SECONDS: Final = 1.0
"""In a turn."""
LEAST_SPEAKER_SECONDS: Final = 4.5
"""Of a speaker: one who speaks less is taken for one of the others."""
HOPS_PER_WINDOW: Final = 3
MEASURED_SECONDS: Final = 60.0
"""The most of a speaker's longest turn that is measured for the warnings."""
_SUBJECT: Final = "the speaker's part"


@dataclass(frozen=True)
class SpeakerTurn:
    """Speech of one speaker, with its pauses of up to LONGEST_PAUSE_SECONDS."""

    start_seconds: float
    end_seconds: float
    speech_seconds: float
    """Without pauses."""
    speaker: str
    """One of the timeline's speakers."""


@dataclass(frozen=True)
class TimelineSpeaker:
    """A speaker of a recording."""

    speaker: str
    """The name, or "speaker 1", "speaker 2" in the order of their first words."""
    is_enrolled: bool
    speech_seconds: float
    """Without pauses."""
    identification: Identification
    """Of all that the speaker says; if several groups of windows got this name, of the nearest
    group."""


@dataclass(frozen=True)
class Timeline:
    """Who speaks when."""

    turns: tuple[SpeakerTurn, ...]
    """In the order of time; they do not overlap."""
    speakers: tuple[TimelineSpeaker, ...]
    """In the order in which they first speak."""
    recording_seconds: float
    model_digest: str


class _Island(NamedTuple):
    """Speech without long pauses."""

    ranges: Ranges
    windows: Ranges
    """In samples of the joined ranges."""


class _Speech(NamedTuple):
    """The speech of a recording."""

    islands: list[_Island]
    embeddings: list[Embedding]
    """Of the windows of all islands."""
    waveform: audio.Samples
    """float32 [samples] of the whole recording, in a temporary file."""


def timeline(
    client: Client,
    gallery: Gallery,
    recording: AudioInput,
    *,
    top: int = 5,
    rule: DecisionRule | None = None,
    among: Collection[str] | None = None,
) -> Timeline:
    """Who of the gallery, and who else, speaks when.

    The recording is decoded to temporary files, 128 kB for each second at 16 kHz: no more than a
    minute of its samples is in memory.

    Args:
        client: of the model.
        gallery: the enrolled speakers.
        recording: of any length up to the model's `speech.max_recording_seconds`.
        top: how many of the nearest enrolled speakers to list for each.
        rule: see `serving.recognition.identification_rule`; each speaker of the recording is a
            query. By default the one without a bound.
        among: names of the only speakers who are candidates; None for all who are enrolled.

    Raises:
        SwarError: the recording is not usable, the model does not say how it finds speech, or a
            library is missing.
    """
    among = enrolled_names(gallery, among)
    rule = rule or identification_rule(client, gallery, among=among)
    return timeline_of(client, gallery, recording, top=top, rule=rule, among=among)


def timeline_of(
    client: Client,
    gallery: Gallery,
    recording: AudioInput,
    *,
    top: int,
    rule: DecisionRule,
    among: Collection[str] | None,
) -> Timeline:
    """As `timeline`, with names as `enrolled_names` returns them."""
    description = client.describe()
    rate = description.sample_rate_hz
    speech = _speech(client, description, recording)
    vectors = np.stack([embedding.vector for embedding in speech.embeddings])
    usable = np.flatnonzero([embedding.status == OK for embedding in speech.embeddings])
    if not len(usable):
        raise fault(display_name(recording), speech.embeddings[0].status)
    grouped = group_windows(
        vectors[usable], lambda a, b: _distances(client, a, b), description.threshold
    )
    least = round(LEAST_SPEAKER_SECONDS * HOPS_PER_WINDOW * rate / _window_samples(description))
    group = follow_speakers(vectors, [usable[each] for each in grouped], least)
    ends = np.cumsum([len(island.windows) for island in speech.islands])
    turns = [
        turn
        for island, of_island in zip(speech.islands, np.split(group, ends[:-1]), strict=True)
        for turn in turns_of(island.ranges, island.windows, of_island)
    ]
    identified = []
    for number in range(int(group.max()) + 1):
        own_vectors = vectors[usable[group[usable] == number]]
        own_turns = [turn for turn in turns if turn.group == number]
        query = _query(description, own_vectors, own_turns, speech.waveform)
        identified.append(
            identify_embedding(
                client, gallery, query, top=top, rule=rule, among=among, subject=_SUBJECT
            )
        )
    named = _named_turns(turns, _names(identified), rate)
    return Timeline(
        named,
        _speakers(named, identified),
        len(speech.waveform) / rate,
        description.model_digest,
    )


def rttm(recorded: Timeline, name: str, channel: int = 1) -> str:
    """A timeline as RTTM (NIST, Rich Transcription): a SPEAKER line for each turn.

    Args:
        recorded: the timeline.
        name: of the recording. Blanks in it and in speakers' names, which RTTM does not allow,
            become `_`; a number is added to a speaker's name that another one then has too.
        channel: of the recording.

    Returns:
        The lines, each with its end of line.
    """
    fields: dict[str, str] = {}
    for each in recorded.speakers:
        field = base = _without_blanks(each.speaker)
        number = 1
        while field in fields.values():
            number += 1
            field = f"{base}_{number}"
        fields[each.speaker] = field
    return "".join(
        f"SPEAKER {_without_blanks(name)} {channel} {turn.start_seconds:.3f} "
        f"{turn.end_seconds - turn.start_seconds:.3f} <NA> <NA> {fields[turn.speaker]} <NA> <NA>\n"
        for turn in recorded.turns
    )


def _without_blanks(text: str) -> str:
    return "_".join(text.split()) or "_"


def _speech(client: Client, description: Description, recording: AudioInput) -> _Speech:
    """The embedded windows of a recording's speech, at least one.

    Raises:
        SwarError: the recording is not usable, or as `timeline` says.
    """
    rate, window = description.sample_rate_hz, _window_samples(description)
    settings = _speech_settings(description)
    with (
        local_recording(recording, rate) as local,
        tempfile.TemporaryFile() as waveform_file,
        tempfile.TemporaryFile() as filtered_file,
    ):
        detector = _detector(settings)
        for block in _decoded(local, settings):
            waveform_file.write(block.tobytes())
        waveform_file.flush()
        waveform = np.memmap(waveform_file, np.float32, "r")
        found = detector.detect(detector.filtered(waveform, filtered_file))
        ranges = np.minimum(found.ranges.numpy(), len(waveform))
        if not len(ranges):
            status = "silent" if bool(found.is_silent) else "no_speech"
            if len(waveform) < round(settings.min_speech_seconds * rate):
                status = "too_short"
            raise fault(display_name(recording), status)
        spoken = []
        for each in islands(ranges, round(LONGEST_PAUSE_SECONDS * rate)):
            samples = int(np.sum(each[:, 1] - each[:, 0]))
            positions = window_positions(samples, window, window // HOPS_PER_WINDOW)
            spoken.append(_Island(each, positions))
        wavs = (
            pack_wav(to_pcm16(_joined(waveform, island.ranges, start, end)), rate)
            for island in spoken
            for start, end in island.windows
        )
        embeddings = list(embed_each(client, description, wavs, with_quality=False))
        # The mapping stays valid after its file is closed.
        return _Speech(spoken, embeddings, waveform)


def _query(
    description: Description,
    vectors: Vector,
    own_turns: Sequence[Turn],
    waveform: audio.Samples,
) -> Embedding:
    """The query to the gallery for one speaker of a recording.

    Args:
        description: of the model.
        vectors: float32 [N, D] of the speaker's windows.
        own_turns: the speaker's; the recording quality is that of the longest.
        waveform: float32 [samples] of the whole recording.
    """
    rate = description.sample_rate_hz
    seconds = sum(turn.speech for turn in own_turns) / rate
    quality = None
    if own_turns:
        longest = max(own_turns, key=lambda turn: turn.end - turn.start)
        end = min(longest.end, longest.start + round(MEASURED_SECONDS * rate))
        quality = quality_of(to_pcm16(waveform[longest.start : end]), rate, seconds)
    return Embedding(mean_embedding(vectors), seconds, OK, description.model_digest, quality)


def _detector(settings: "SpeechSettings") -> "BlockDetector":
    try:
        import scipy.cluster.hierarchy  # noqa: F401, before minutes of work

        from components.block_detection import BlockDetector
        from components.speech_detection import detector_of
    except ModuleNotFoundError as error:
        raise SwarError(
            f"{error.name} is missing, which a timeline needs, also with --url: install all of "
            "swar by `make`"
        ) from error
    return BlockDetector(detector_of(settings))


def _decoded(local: LocalRecording, settings: "SpeechSettings") -> Iterator[audio.Samples]:
    return audio.decode_blocks(
        local.path,
        sample_rate=settings.sample_rate,
        max_seconds=settings.max_recording_seconds,
        channel=local.channel,
        name=local.name,
    )


def _joined(waveform: audio.Samples, ranges: Ranges, start: int, end: int) -> audio.Samples:
    """float32: samples `start:end` of the joined ranges of a waveform."""
    parts = pieces(ranges, start, end)
    return np.concatenate([waveform[first:last] for first, last in parts])


def _speech_settings(description: Description) -> "SpeechSettings":
    from components.settings import SpeechSettings

    try:
        return SpeechSettings.model_validate(description.card["speech"])
    except (KeyError, ValueError) as error:
        raise _not_described(error) from error


def _window_samples(description: Description) -> int:
    try:
        seconds = float(description.card["spectrogram"]["window_seconds"])
        if not 0.0 < seconds <= description.max_seconds:
            raise ValueError(f"windows of {seconds} s")
    except (KeyError, TypeError, ValueError) as error:
        raise _not_described(error) from error
    return max(HOPS_PER_WINDOW, round(seconds * description.sample_rate_hz))


def _not_described(error: Exception) -> SwarError:
    return SwarError(
        "the model's card does not say how it finds speech and how long its windows are "
        f"({' '.join(str(error).split())[:200]}): publish the model again with this version of swar"
    )


def _distances(client: Client, a: Vector, b: Vector) -> npt.NDArray[np.float64]:
    return np.array([decision.distance for decision in client.score(a, b)], np.float64)


def _names(identified: Sequence[Identification]) -> list[str]:
    """Each group's name; "speaker 1" is skipped if an identified speaker is enrolled as that."""
    enrolled = {each.speaker for each in identified if each.speaker is not None}
    names = []
    number = 0
    for each in identified:
        name = each.speaker
        while name is None:
            number += 1
            if f"speaker {number}" not in enrolled:
                name = f"speaker {number}"
        names.append(name)
    return names


def _named_turns(turns: Sequence[Turn], names: Sequence[str], rate: int) -> tuple[SpeakerTurn, ...]:
    """Turns by name; those of one name without a long pause between them are joined."""
    named: list[SpeakerTurn] = []
    for turn in turns:
        new = SpeakerTurn(turn.start / rate, turn.end / rate, turn.speech / rate, names[turn.group])
        last = named[-1] if named else None
        if (
            last is not None
            and last.speaker == new.speaker
            and new.start_seconds - last.end_seconds <= LONGEST_PAUSE_SECONDS
        ):
            new = replace(
                new,
                start_seconds=last.start_seconds,
                speech_seconds=last.speech_seconds + new.speech_seconds,
            )
            named.pop()
        named.append(new)
    return tuple(named)


def _speakers(
    turns: Sequence[SpeakerTurn], identified: Sequence[Identification]
) -> tuple[TimelineSpeaker, ...]:
    nearest: dict[str, Identification] = {}
    for name, each in zip(_names(identified), identified, strict=True):
        if name not in nearest or _distance(each) < _distance(nearest[name]):
            nearest[name] = each
    return tuple(
        TimelineSpeaker(
            name,
            each.speaker is not None,
            sum(turn.speech_seconds for turn in turns if turn.speaker == name),
            each,
        )
        for name, each in nearest.items()
    )


def _distance(identification: Identification) -> float:
    candidates = identification.candidates
    return candidates[0].decision.distance if candidates else np.inf
