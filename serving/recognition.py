"""What users do with a client and a gallery: enrol, verify, identify, enrol again."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

import numpy as np

from components.errors import SwarError
from components.mean_embedding import mean_embedding
from components.recording_quality import RecordingQuality
from serving import defaults, enrolment_gate
from serving.answers import DIFFERENT, OK, Decision, Embedding, Verdict
from serving.client import PAIRS_PER_REQUEST, Client, fault
from serving.decisions import DecisionRule, decision_rule
from serving.enrolled import Enrolled, Enrolment, recording_id
from serving.enrolment_gate import Part
from serving.gallery import Gallery
from serving.recordings import AudioInput, display_name, file_name, listed
from serving.speaker_names import name_to_enrol, speaker_name
from serving.watching import IDENTIFY, VERIFY_SPEAKER, decision_row

MIN_ENROLMENT_SECONDS: Final = 5.0
"""Of speech in all of a speaker's recordings."""
_UNCHANGED: Final = (
    "a recording is enrolled already: its consent, its last day and whether it is kept stay as "
    "they were; forget it and enrol it again to change that"
)
_RECORDINGS_AT_ONCE: Final = 8
_SCORED: Final = PAIRS_PER_REQUEST
"""How many of a query's nearest speakers by Euclidean distance the model scores: its own distance
may order them differently."""


@dataclass(frozen=True)
class EnrolmentReport:
    """What an enrolment did."""

    speaker: str
    added: int
    """New recordings; one that was enrolled before is not added again."""
    speech_seconds: float
    """Of all of the speaker's recordings."""
    parts: tuple[Part, ...]
    """How the recordings fit together; empty if nothing was new or long enough to compare."""
    similar_names: tuple[str, ...] = ()
    """Names of others that a reader may mistake for this one."""
    qualities: tuple[RecordingQuality | None, ...] = ()
    """Of the new recordings, in the order in which they were given."""
    faults: tuple[str, ...] = ()
    """Why it would have been refused without `force`, a sentence each."""
    warnings: tuple[str, ...] = ()
    """What else is doubtful, a sentence each."""
    recordings_before: int = 0
    """How many were enrolled before."""

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
    """Of the nearest; "different", an unknown speaker, if no one could be compared."""
    candidates: tuple[Candidate, ...]
    """Nearest first."""
    quality: RecordingQuality | None = None
    """Of the recording."""
    warnings: tuple[str, ...] = ()
    """Why the expected error rates may not apply, a sentence each, if any."""
    not_compared: tuple[str, ...] = ()
    """Enrolled speakers whose recordings another model embedded."""


def enroll(
    client: Client,
    gallery: Gallery,
    name: str,
    recordings: Iterable[AudioInput],
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
        force: enrols in spite of what is listed below as refused without it.
        actor: who enrols, for the gallery's ledger.

    Raises:
        SwarError: there is no recording; `expires_at` has no time zone or has passed; a recording
            is not usable; all of the speaker's recordings together hold less than
            MIN_ENROLMENT_SECONDS of speech; the speaker has opted out, or was enrolled meanwhile;
            or, without `force`, two people seem to speak in a recording, it does not sound like
            the others or is clipped, or a new name looks like another speaker's.
    """
    name = name_to_enrol(name)
    if expires_at is not None:
        _check_expiry(expires_at)
    gallery.ledger.check_may_enrol(name)
    given = _embedded(client, recordings)
    known = Enrolled(np.zeros((0, 0), np.float32), 0.0, frozenset())
    if gallery.exists():
        known = gallery.enrolled(name, given[0].embedding.model_digest)
    # A recording that is enrolled already or given twice adds no speech and no comparison.
    by_id = {recording_id(name, each.wav): each for each in given}
    new = [each for key, each in by_id.items() if key not in known.ids]
    seconds = known.speech_seconds + sum(each.embedding.speech_seconds for each in new)
    if seconds < MIN_ENROLMENT_SECONDS:
        raise SwarError(
            f"{seconds:.1f} s of speech are too little to enrol {name!r}: "
            f"give at least {MIN_ENROLMENT_SECONDS:g} s in all"
        )
    unchanged: tuple[str, ...] = ()
    if len(new) < len(by_id) and (consent or expires_at or keep_audio):
        unchanged = (_UNCHANGED,)
    if not new:
        return EnrolmentReport(
            name, 0, seconds, (), warnings=unchanged, recordings_before=len(known.ids)
        )
    # An enrolled speaker's own name was looked at when the speaker was new.
    similar = [] if known.ids else gallery.similar_names(name)
    gate = enrolment_gate.check(client, new, known.vectors, similar)
    if gate.faults and not force:
        raise SwarError(
            f"{name!r} is not enrolled: {'; '.join(gate.faults)}",
            "`swar enroll --force` enrols all the same",
        )
    warnings = unchanged + _enrolment_warnings(client, gallery, name, new)
    added = gallery.enroll(
        name,
        new,
        keep_audio=keep_audio,
        consent=consent,
        expires_at=expires_at,
        actor=actor,
        compared_with=known.ids,
        known_similar=None if force or known.ids else similar,
    )
    return EnrolmentReport(
        name,
        added,
        seconds,
        gate.parts,
        tuple(similar),
        tuple(each.embedding.quality for each in new),
        gate.faults,
        warnings,
        len(known.ids),
    )


def _check_expiry(expires_at: datetime) -> None:
    """Raises SwarError for a time without a time zone, and for one that has passed."""
    if not isinstance(expires_at, datetime) or expires_at.tzinfo is None:
        raise SwarError(
            f"expires_at {expires_at} has no time zone: give a datetime with one, such as "
            "datetime(2027, 11, 30, tzinfo=UTC)"
        )
    if expires_at <= datetime.now(UTC):
        raise SwarError(
            f"expires_at {expires_at} has passed: the recordings would never be used; give a "
            "later time"
        )


def _embedded(client: Client, recordings: Iterable[AudioInput]) -> list[Enrolment]:
    """The recordings to enrol; raises SwarError if one is not usable or there is none."""
    given = listed(recordings)
    if not given:
        raise SwarError("no recording is given: give one at least")
    wavs = [client.to_wav(recording) for recording in given]
    embedded = []
    for recording, wav, embedding in zip(given, wavs, client.embed_wavs(wavs), strict=True):
        if embedding.status != OK:
            raise fault(display_name(recording), embedding.status)
        embedded.append(Enrolment(embedding, file_name(recording), wav))
    return embedded


def identify(
    client: Client,
    gallery: Gallery,
    recording: AudioInput,
    *,
    top: int = 5,
    rule: DecisionRule | None = None,
    among: Collection[str] | None = None,
) -> Identification:
    """Who of the gallery speaks; a rule decides, not the ranking.

    Args:
        client: of the model.
        gallery: the enrolled speakers.
        recording: of one speaker.
        top: how many of the nearest speakers to list.
        rule: see `identification_rule`; by default the one without a bound.
        among: names of the only speakers who are candidates; None for all who are enrolled.

    Raises:
        SwarError: the recording is not usable, a name is not enrolled, or `top` is below 1.
    """
    if top < 1:
        raise SwarError(f"top is how many of the nearest to tell, 1 at least, not {top}")
    among = enrolled_names(gallery, among)
    query = usable_embedding(client, recording)
    rule = rule or identification_rule(client, gallery, among=among)
    return identify_embedding(client, gallery, query, top=top, rule=rule, among=among)


def enrolled_names(gallery: Gallery, names: Collection[str] | None) -> tuple[str, ...] | None:
    """Names as the gallery writes them, each once; None, which stands for all, stays None.

    Raises:
        SwarError: one of them is not enrolled, or none is given.
        TypeError: `names` is a single one.
    """
    if names is None:
        return None
    if isinstance(names, str):
        raise TypeError("a list of names is needed: put the name into one")
    written = tuple(dict.fromkeys(map(speaker_name, names)))
    if not written:
        raise SwarError("no candidate is named: name one enrolled speaker at least")
    enrolled = set(gallery.names())
    unknown = [repr(name) for name in written if name not in enrolled]
    if unknown:
        raise SwarError(
            f"nobody named {' or '.join(unknown)} is in the gallery {gallery.uri!r}",
            "`swar speakers` lists who is",
        )
    return written


def identification_rule(
    client: Client,
    gallery: Gallery,
    max_false_accept: float | None = None,
    *,
    prior: float = defaults.PRIOR,
    among: Collection[str] | None = None,
) -> DecisionRule:
    """A rule for queries that are compared with every enrolled speaker, or with those named.

    Args:
        client: of the model.
        gallery: the enrolled speakers: the more the model can compare, the stricter the rule.
        max_false_accept: largest share of queries by unknown speakers that get a name; None for
            the share that the model's own threshold accepts of single comparisons.
        prior: of the same speaker in one comparison, for the probabilities.
        among: names as `enrolled_names` returns them; None for all.

    Raises:
        SwarError: the model's calibration cannot hold that share among so many speakers.
    """
    candidates = set(gallery.names() if among is None else among)
    description = client.describe()
    candidates -= set(gallery.speakers_of_other_models(description.model_digest))
    return decision_rule(description, max_false_accept, prior=prior, comparisons=len(candidates))


def identify_embedding(
    client: Client,
    gallery: Gallery,
    query: Embedding,
    *,
    top: int,
    rule: DecisionRule,
    among: Collection[str] | None = None,
    subject: str = "the recording",
) -> Identification:
    """As `identify`, for the embedding of a recording whose status is ok.

    Args:
        client: of the model.
        gallery: the enrolled speakers.
        query: the embedding.
        top: how many of the nearest speakers to list.
        rule: see `identification_rule`.
        among: names as `enrolled_names` returns them; None for all.
        subject: what a warning calls the recording.
    """
    neighbours = gallery.nearest(query.vector, query.model_digest, max(top, _SCORED), among)
    not_compared = tuple(
        name
        for name in gallery.speakers_of_other_models(query.model_digest)
        if among is None or name in among
    )
    if not neighbours:
        client.show(lambda: decision_row(query.model_digest, IDENTIFY, DIFFERENT, None))
        return Identification(None, DIFFERENT, (), query.quality, (), not_compared)
    references = np.stack([neighbour.reference for neighbour in neighbours])
    decisions = client.score(np.broadcast_to(query.vector, references.shape), references)
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
    client.show(
        lambda: decision_row(
            query.model_digest, IDENTIFY, nearest.decision.verdict, nearest.decision
        )
    )
    enrolled_hz = gallery.bandwidths_hz(nearest.speaker)
    return Identification(
        nearest.speaker if nearest.decision.same_speaker else None,
        nearest.decision.verdict,
        candidates[:top],
        query.quality,
        client.conditions().warnings({subject: query.quality}, enrolled_hz),
        not_compared,
    )


def verify_speaker(
    client: Client,
    gallery: Gallery,
    recording: AudioInput,
    name: str,
    rule: DecisionRule | None = None,
) -> Decision:
    """Whether an enrolled speaker speaks in a recording.

    Args:
        client: of the model.
        gallery: where the speaker is enrolled.
        recording: of one speaker.
        name: the enrolled speaker's.
        rule: decides; by default the model's own threshold.
    """
    query = usable_embedding(client, recording)
    reference = gallery.reference(name, query.model_digest)
    decision = client.score(query.vector[np.newaxis], reference[np.newaxis])[0]
    decision = client.with_qualities(
        decision, query.quality, enrolled_hz=gallery.bandwidths_hz(name)
    )
    return client.decide(VERIFY_SPEAKER, decision, rule, query.model_digest)


def reenroll(client: Client, gallery: Gallery) -> int:
    """Replaces the embeddings of other models, from the audio that was kept.

    After an interruption, another call goes on from there.

    Returns:
        How many recordings were embedded again.

    Raises:
        SwarError: the audio of some speakers, whom it names, was not kept or is not usable any
            more. The others are done.
    """
    stale = gallery.stale(client.model_digest())
    lost = set(stale.speakers_without_audio)
    done = 0
    for first in range(0, len(stale.kept_ids), _RECORDINGS_AT_ONCE):
        kept = gallery.kept_audio(stale.kept_ids[first : first + _RECORDINGS_AT_ONCE])
        embeddings = client.embed([wav for _, _, wav in kept])  # at the new model's sample rate
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


def usable_embedding(client: Client, recording: AudioInput) -> Embedding:
    """A recording's embedding; raises SwarError if not usable."""
    embedding = client.embed([recording])[0]
    if embedding.status != OK:
        raise fault(display_name(recording), embedding.status)
    return embedding


def _enrolment_warnings(
    client: Client, gallery: Gallery, name: str, new: Sequence[Enrolment]
) -> tuple[str, ...]:
    """What is doubtful about recordings to enrol, a sentence each."""
    hertz = [each.embedding.quality.bandwidth_hz for each in new if each.embedding.quality]
    if gallery.exists():
        hertz += gallery.bandwidths_hz(name)
    warnings = list(client.conditions().warnings_of_bandwidths(hertz))
    if not gallery.exists():
        return tuple(warnings)
    vector = mean_embedding(np.stack([each.embedding.vector for each in new]))
    for neighbour in gallery.nearest(vector, new[0].embedding.model_digest, 2):
        decision = client.score(vector[np.newaxis], neighbour.reference[np.newaxis])[0]
        if neighbour.speaker != name and decision.same_speaker:
            warnings.append(
                f"{neighbour.speaker!r}, who is enrolled, sounds like the same person (probability "
                f"{decision.probability:.3f}): who has two names is found under either"
            )
    return tuple(warnings)
