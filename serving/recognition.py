"""What people ask of a client and a gallery: enrol, verify, identify, enrol again."""

import io
import wave
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import numpy as np

from components.errors import SwarError
from components.pcm16 import pack_wav
from serving import defaults
from serving.answers import DIFFERENT, OK, Decision, Embedding, Vector, Verdict
from serving.client import Client, fault
from serving.decisions import DecisionRule
from serving.gallery import Enrolled, Enrolment, Gallery, recording_id
from serving.recordings import AudioInput, display_name, file_name, listed
from serving.references import mean_embedding
from serving.speaker_names import name_to_enrol

MIN_ENROLMENT_SECONDS: Final = 5.0
_RECORDINGS_AT_ONCE: Final = 8
# Of the gallery, nearest to a query: which of them the model finds nearest, it says itself.
_SCORED: Final = 20


@dataclass(frozen=True)
class Part:
    """A recording of an enrolment, or half of a single one, beside all the others."""

    source: str
    distance: float
    """From the mean of the others, Euclidean."""
    matches: bool
    """Whether the model hears the same person in it as in the others."""


@dataclass(frozen=True)
class EnrolmentReport:
    """What an enrolment did."""

    speaker: str
    added: int
    """Recordings; one that was enrolled before is not added again."""
    speech_seconds: float
    """Of all of the speaker's recordings."""
    parts: tuple[Part, ...]
    """How the recordings fit together; empty where nothing was new, or too short to compare."""
    similar_names: tuple[str, ...] = ()
    """Of other speakers, which a reader may take for this one."""

    @property
    def mean_distance(self) -> float:
        """Of the parts from the others; NaN without parts."""
        return float(np.mean([part.distance for part in self.parts])) if self.parts else np.nan

    @property
    def largest_distance(self) -> float:
        """Of the parts from the others; NaN without parts."""
        return max((part.distance for part in self.parts), default=np.nan)


@dataclass(frozen=True)
class Candidate:
    """An enrolled speaker who may be speaking."""

    speaker: str
    decision: Decision


@dataclass(frozen=True)
class Identification:
    """Who speaks in a recording."""

    speaker: str | None
    """The nearest enrolled speaker if the rule accepts them, else None."""
    verdict: Verdict
    """Of the nearest: "different", an unknown speaker, where nobody is enrolled."""
    candidates: tuple[Candidate, ...]
    """Nearest first."""


def enroll(
    client: Client,
    gallery: Gallery,
    name: str,
    recordings: Sequence[AudioInput],
    *,
    keep_audio: bool = False,
    consent: str = "",
    expires_at: datetime | None = None,
    force: bool = False,
    actor: str = "",
) -> EnrolmentReport:
    """Adds recordings to a speaker, new or known. All are enrolled or none.

    Args:
        client: of the model.
        gallery: where the speaker is enrolled.
        name: the speaker's.
        recordings: of the speaker.
        keep_audio: whether the gallery keeps the recordings too.
        consent: how the speaker gave it.
        expires_at: with a time zone; from then on the recordings are not used any more.
        force: enrols what does not sound like the rest, and under a name that looks like another.
        actor: who enrols, for the gallery's ledger.

    Raises:
        SwarError: a recording is not usable, or all together, with those that the speaker has
            already, hold less than MIN_ENROLMENT_SECONDS of speech; or, without `force`, one does
            not sound like the others, or a new name looks like another speaker's; or the speaker
            has opted out.
    """
    name = name_to_enrol(name)
    gallery.ledger.check_may_enrol(name)
    wavs = [client.to_wav(recording) for recording in listed(recordings)]
    given = []
    for recording, wav, embedding in zip(recordings, wavs, client.embed(wavs), strict=True):
        if embedding.status != OK:
            raise fault(display_name(recording), embedding.status)
        given.append(Enrolment(embedding, file_name(recording), wav))
    known = Enrolled(np.zeros((0, 0), np.float32), 0.0, frozenset())
    if gallery.exists():
        known = gallery.enrolled(name, given[0].embedding.model_digest)
    # What is there already, or was given twice, is neither more speech nor a comparison.
    by_id = {recording_id(name, each.wav): each for each in given}
    new = [each for key, each in by_id.items() if key not in known.ids]
    seconds = known.speech_seconds + sum(each.embedding.speech_seconds for each in new)
    if seconds < MIN_ENROLMENT_SECONDS:
        raise SwarError(
            f"{seconds:.1f} s of speech are too little to enrol {name!r}: "
            f"give at least {MIN_ENROLMENT_SECONDS:g} s in all"
        )
    if not new:
        return EnrolmentReport(name, 0, seconds, ())
    # An enrolled speaker's own name was looked at when the speaker was new.
    similar = [] if known.ids else gallery.similar_names(name)
    parts = _parts(client, new, known.vectors)
    if not force:
        _check_fits(name, parts, similar)
    added = gallery.enroll(
        name, new, keep_audio=keep_audio, consent=consent, expires_at=expires_at, actor=actor
    )
    return EnrolmentReport(name, added, seconds, parts, tuple(similar))


def identify(
    client: Client,
    gallery: Gallery,
    recording: AudioInput,
    *,
    top: int = 5,
    rule: DecisionRule | None = None,
) -> Identification:
    """Who of the gallery speaks; a rule decides, not the ranking.

    Args:
        client: of the model.
        gallery: the enrolled speakers.
        recording: of one speaker.
        top: how many of the nearest to tell.
        rule: see `identification_rule`; by default the model's own threshold.
    """
    query = _usable_embedding(client, recording)
    return identify_embedding(client, gallery, query, top=top, rule=rule or client.rule())


def identification_rule(
    client: Client,
    gallery: Gallery,
    max_false_accept: float | None = None,
    *,
    prior: float = defaults.PRIOR,
) -> DecisionRule:
    """A rule for queries that are compared with every enrolled speaker.

    Args:
        client: of the model.
        gallery: the enrolled speakers: the more there are, the stricter each comparison.
        max_false_accept: share of queries by unknown speakers that get a name at most; None for
            the model's own threshold, whatever the gallery's size.
        prior: of the same speaker in one comparison, for the probabilities.

    Raises:
        SwarError: the model's calibration cannot hold that share among so many speakers.
    """
    comparisons = 1 if max_false_accept is None else len(gallery.speakers())
    return client.rule(max_false_accept, prior=prior, comparisons=comparisons)


def identify_embedding(
    client: Client, gallery: Gallery, query: Embedding, *, top: int, rule: DecisionRule
) -> Identification:
    """As `identify`, of the embedding of a recording whose status is ok."""
    neighbours = gallery.nearest(query.vector, query.model_digest, max(top, _SCORED))
    if not neighbours:
        return Identification(None, DIFFERENT, ())
    references = np.stack([neighbour.reference for neighbour in neighbours])
    decisions = client.score(np.broadcast_to(query.vector, references.shape), references)
    # The gallery ranks by Euclidean distance, which a model may normalise.
    candidates = tuple(
        sorted(
            (
                Candidate(neighbour.speaker, rule.apply(decision))
                for neighbour, decision in zip(neighbours, decisions, strict=True)
            ),
            key=lambda candidate: candidate.decision.distance,
        )
    )
    nearest = candidates[0]
    speaker = nearest.speaker if nearest.decision.same_speaker else None
    return Identification(speaker, nearest.decision.verdict, candidates[:top])


def verify_speaker(client: Client, gallery: Gallery, recording: AudioInput, name: str) -> Decision:
    """Whether an enrolled speaker speaks in a recording."""
    query = _usable_embedding(client, recording)
    reference = gallery.reference(name, query.model_digest)
    return client.score(query.vector[np.newaxis], reference[np.newaxis])[0]


def reenroll(client: Client, gallery: Gallery) -> int:
    """Makes the embeddings of another model anew from the audio that was kept.

    Cut off, it goes on from where it was when it is called again.

    Returns:
        How many recordings were made anew.

    Raises:
        SwarError: the audio of some was not kept or is no longer usable; names the speakers. The
            others are done.
    """
    stale = gallery.stale(client.model_digest())
    lost = set(stale.speakers_without_audio)
    done = 0
    for ids in _batched(stale.kept_ids, _RECORDINGS_AT_ONCE):
        kept = gallery.kept_audio(ids)
        embeddings = client.embed([wav for _, _, wav in kept])
        usable = {}
        for (identifier, speaker, _), embedding in zip(kept, embeddings, strict=True):
            if embedding.status == OK:
                usable[identifier] = embedding
            else:
                lost.add(speaker)
        gallery.replace(usable)
        done += len(usable)
    if done:
        gallery.ledger.record("reenrol", "", done, "")
    if lost:
        raise SwarError(
            f"recordings enrolled again: {done}; not those of {', '.join(sorted(lost))}, for "
            "want of usable audio: `swar forget` them and enrol them anew"
        )
    return done


def _check_fits(name: str, parts: Sequence[Part], similar: Sequence[str]) -> None:
    """Raises SwarError where an enrolment would make one speaker of two, or two names of one."""
    misfits = [part.source or "the recording" for part in parts if not part.matches]
    if misfits:
        raise SwarError(
            f"{name!r} is not enrolled: the model hears another speaker than in the rest in "
            f"{', '.join(misfits)}; give other recordings, or enrol all the "
            "same with `swar enroll --force`"
        )
    if similar:
        raise SwarError(
            f"the name {name!r} looks like {similar[0]!r}, who is enrolled: give that name or "
            "another, or enrol all the same with `swar enroll --force`"
        )


def _usable_embedding(client: Client, recording: AudioInput) -> Embedding:
    embedding = client.embed([recording])[0]
    if embedding.status != OK:
        raise fault(display_name(recording), embedding.status)
    return embedding


def _parts(client: Client, enrolments: Sequence[Enrolment], known: Vector) -> tuple[Part, ...]:
    """Each new recording beside the others; of a speaker's only recording, its halves."""
    sources = [each.source for each in enrolments]
    embeddings = [each.embedding for each in enrolments]
    if len(enrolments) == 1 and not len(known):
        embeddings = client.embed(_halves(enrolments[0].wav))
        if any(half.status != OK for half in embeddings):
            return ()
        sources = [f"{sources[0]}, {half} half" for half in ("first", "second")]
    new = np.stack([embedding.vector for embedding in embeddings])
    everything = np.concatenate([new, known]) if len(known) else new
    others = [mean_embedding(np.delete(everything, at, axis=0)) for at in range(len(new))]
    decisions = client.score(new, np.stack(others))
    return tuple(
        Part(source, decision.distance, decision.same_speaker)
        for source, decision in zip(sources, decisions, strict=True)
    )


def _halves(wav: bytes) -> list[bytes]:
    with wave.open(io.BytesIO(wav)) as reader:
        rate = reader.getframerate()
        samples = np.frombuffer(reader.readframes(reader.getnframes()), "<i2")
    return [pack_wav(half, rate) for half in np.array_split(samples, 2)]


def _batched(items: Sequence[str], size: int) -> list[Sequence[str]]:
    return [items[first : first + size] for first in range(0, len(items), size)]
