"""What must not be enrolled: recordings of two people, clipped ones, names that look like others.

Whether two people speak in a recording is judged by its passages of a second and a half. A passage
begins every quarter of that, so that some nearly fit any turn that long. Two people who speak one
after the other show in the means of all passages before and after a moment; two who take turns, in
the two groups of passages that differ most, whatever their order. How much one person's passages
differ depends on the directions of embeddings. It has nothing to do with the model's threshold,
which may be calibrated again for other speakers, nor with its cohort, with which such short
passages tell less than without it.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from components.mean_embedding import like_embeddings, mean_embedding
from components.pcm16 import pack_wav, read_wav
from components.recording_quality import RecordingQuality
from serving.answers import OK, Vector
from serving.client import Client
from serving.conditions import MOST_CLIPPED
from serving.enrolled import Enrolment

PASSAGE_SECONDS: Final = 1.5
HOP_SECONDS: Final = 0.375
"""From the start of a passage to the start of the next."""
NEIGHBOUR_SECONDS: Final = 0.8
"""Between the starts of passages that share about half."""
MOST_PASSAGES: Final = 40
"""In a longer recording, so many are compared, spread over it."""
LEAST_PASSAGES: Final = 9
LEAST_DIVIDED_SECONDS: Final = 5.0
"""Least speech in which a second speaker is looked for. Less differs too much by chance: a third
of the recordings with three seconds of one person would be taken for two people's."""
LEAST_OF_PART: Final = 2
"""Passages before a moment, and after it."""
LARGEST_DIFFERENCE_AT_A_CHANGE: Final = 2.5
"""Between all passages of one person before a moment and all after it.

Differences are those of the base model and of models fine-tuned from it: the distance between the
mean directions of two groups of n and m passages, divided by the standard error of such means if
each passage has a deviation of 1, sqrt(1/n + 1/m). `python -m benchmarks.enrolment_gate` measures
what shares of recordings of one and of two people exceed the limits."""
LARGEST_DIFFERENCE_OF_TURNS: Final = 3.0
"""Between any two groups of passages of one person: they can be chosen in more ways."""


@dataclass(frozen=True)
class SpeakerGroups:
    """A recording's passages, in the two groups that are most likely of two people."""

    distance: float
    """The model's distance of the means of the two groups."""
    difference: float
    """In units of the limit for one person's passages."""
    starts_seconds: tuple[tuple[float, ...], tuple[float, ...]]
    """Of each group's passages, the earlier group first."""

    @property
    def is_one_speaker(self) -> bool:
        """Whether they differ no more than one person's."""
        return self.difference <= 1.0


@dataclass(frozen=True)
class Part:
    """One of an enrolment's recordings, compared with the others, or passages of the only one."""

    source: str
    distance: float
    """From the mean of the other recordings or passages."""
    matches: bool
    """Whether it is taken for the same person's: a recording by some operating point of the model,
    passages by `SpeakerGroups.is_one_speaker`."""


@dataclass(frozen=True)
class GateReport:
    """How the recordings of an enrolment fit together, and whether they should be enrolled."""

    groups: tuple[SpeakerGroups | None, ...]
    """Of each new recording; None if it has too little speech to tell."""
    parts: tuple[Part, ...]
    """Each new recording, or the two groups of passages of a speaker's only one."""
    faults: tuple[str, ...]
    """Why they should not be enrolled, a sentence each, with what helps."""


def check(
    client: Client,
    new: Sequence[Enrolment],
    known: Iterable[Vector] = (),
    similar_names: Sequence[str] = (),
) -> GateReport:
    """Checks what `swar enroll` refuses.

    Args:
        client: of the model.
        new: recordings to be enrolled for one speaker, at least one.
        known: float32 [D] each, of the speaker's recordings that are enrolled already.
        similar_names: names of others that a reader may mistake for this one.
    """
    groups = tuple(speaker_groups(client, each.wav, each.embedding.speech_seconds) for each in new)
    parts = _parts(client, new, known)
    faults = _faults(
        two_speakers=[
            _named(each.source)
            for each, found in zip(new, groups, strict=True)
            if found is not None and not found.is_one_speaker
        ],
        misfits=[_named(part.source) for part in parts if not part.matches],
        clipped=[_named(each.source) for each in new if _is_clipped(each.embedding.quality)],
        similar_names=similar_names,
    )
    return GateReport(groups, parts or _passages(new[0].source, groups[0]), tuple(faults))


def speaker_groups(client: Client, wav: bytes, speech_seconds: float) -> SpeakerGroups | None:
    """Divides a recording; None if it has too little speech to tell.

    Args:
        client: of the model.
        wav: as `Client.to_wav` makes it.
        speech_seconds: of the speech that the model finds in it.
    """
    if speech_seconds < LEAST_DIVIDED_SECONDS:
        return None
    read = read_wav(wav)
    assert read is not None  # of to_wav
    samples, rate = read
    length = round(PASSAGE_SECONDS * rate)
    count = 1 + (len(samples) - length) // round(HOP_SECONDS * rate)
    if count < LEAST_PASSAGES:
        return None
    starts = np.linspace(0, len(samples) - length, min(count, MOST_PASSAGES)).astype(int)
    wavs = [pack_wav(samples[start : start + length], rate) for start in starts.tolist()]
    passages = client.embed_wavs(wavs, is_watched=False, with_quality=False)
    usable = [at for at, passage in enumerate(passages) if passage.status == OK]
    if len(usable) < LEAST_PASSAGES:
        return None
    vectors = np.stack([passages[at].vector for at in usable])
    starts_seconds = starts[usable] / rate
    difference, group = _most_likely_two(vectors, starts_seconds)
    means = (mean_embedding(vectors[part])[np.newaxis] for part in (group, ~group))
    (decision,) = client.score(*means)
    groups = sorted(tuple(starts_seconds[part].tolist()) for part in (group, ~group))
    return SpeakerGroups(decision.distance, difference, (groups[0], groups[1]))


def _most_likely_two(
    vectors: Vector, starts_seconds: npt.NDArray[np.floating]
) -> tuple[float, npt.NDArray[np.bool_]]:
    """The largest difference, see `SpeakerGroups`, and one of its two groups, bool [n].

    The groups lie before and after a moment, or are those that differ most.
    """
    directions = like_embeddings(vectors, unit_norm=True)
    count = len(directions)
    changes = [np.arange(count) < at for at in range(LEAST_OF_PART, count - LEAST_OF_PART + 1)]
    turns = _most_different(_distances(directions, starts_seconds))
    divisions = [(group, LARGEST_DIFFERENCE_AT_A_CHANGE) for group in changes]
    divisions.append((turns, LARGEST_DIFFERENCE_OF_TURNS))
    differences = [_difference(directions, group) / largest for group, largest in divisions]
    best = int(np.argmax(differences))
    return differences[best], divisions[best][0]


def _difference(directions: Vector, group: npt.NDArray[np.bool_]) -> float:
    """Between a group and the others, see LARGEST_DIFFERENCE_AT_A_CHANGE."""
    means = np.stack([directions[part].mean(axis=0) for part in (group, ~group)])
    one, other = like_embeddings(means, unit_norm=True)
    standard_error = np.sqrt(1.0 / group.sum() + 1.0 / (~group).sum())
    return float(np.linalg.norm(one - other) / standard_error)


def _distances(
    directions: Vector, starts_seconds: npt.NDArray[np.floating]
) -> npt.NDArray[np.float64]:
    """float64 [n, n]: Euclidean, of the means of each direction [n, D] and its neighbours."""
    apart = np.abs(starts_seconds[:, np.newaxis] - starts_seconds)
    weights = (apart <= NEIGHBOUR_SECONDS).astype(np.float64)
    smooth = weights @ directions / weights.sum(axis=1, keepdims=True)
    distances: npt.NDArray[np.float64] = np.linalg.norm(smooth[:, np.newaxis] - smooth, axis=2)
    return distances


def _most_different(distances: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
    """bool [n]: one of the two groups with the largest contrast, by distances [n, n].

    First each passage joins the nearer one of the farthest pair; then one passage at a time moves
    for as long as the contrast grows.
    """
    one, other = np.unravel_index(np.argmax(distances), distances.shape)
    group: npt.NDArray[np.bool_] = distances[one] < distances[other]
    group[one] = True  # also where all are alike
    contrast = _contrast(distances, group)
    while True:
        moved = [group ^ (np.arange(len(group)) == at) for at in range(len(group))]
        contrasts = [_contrast(distances, each) for each in moved]
        best = int(np.argmax(contrasts))
        if contrasts[best] <= contrast + 1e-9:
            return group
        group, contrast = moved[best], contrasts[best]


def _contrast(distances: npt.NDArray[np.float64], group: npt.NDArray[np.bool_]) -> float:
    """Mean distance between the groups times `_deviation`."""
    if group.all() or not group.any():
        return 0.0
    return float(np.mean(distances[np.ix_(group, ~group)])) * _deviation(group)


def _deviation(group: npt.NDArray[np.bool_]) -> float:
    """Standard deviation of a passage's membership in the group: 0.5 at most."""
    return float(np.std(group))


def _is_clipped(quality: RecordingQuality | None) -> bool:
    """Whether too many samples of a recording are clipped to enrol it."""
    return quality is not None and quality.clipped_fraction > MOST_CLIPPED


def _faults(
    *,
    two_speakers: Sequence[str],
    misfits: Sequence[str],
    clipped: Sequence[str],
    similar_names: Sequence[str],
) -> list[str]:
    """Why an enrolment is refused, the gravest reason first, each with what helps.

    Args:
        two_speakers: recordings in which two people seem to speak.
        misfits: recordings that do not sound like the rest.
        clipped: recordings, see `_is_clipped`.
        similar_names: names of others that a reader may mistake for this one.
    """
    found = []
    if two_speakers:
        found.append(
            f"two people seem to speak in {', '.join(two_speakers)}: give recordings of one person "
            "alone"
        )
    if misfits:
        found.append(
            f"the model hears another speaker than in the rest in {', '.join(misfits)}: give other "
            "recordings"
        )
    if clipped:
        found.append(f"clipped at the loudest: {', '.join(clipped)}: record again at a lower level")
    if similar_names:
        found.append(
            f"the name looks like {similar_names[0]!r}, who is enrolled: give that name or another"
        )
    return found


def _named(source: str) -> str:
    return source or "the recording"


def _parts(
    client: Client, enrolments: Sequence[Enrolment], known: Iterable[Vector]
) -> tuple[Part, ...]:
    """Each new recording, compared with the others; empty for a speaker's only one."""
    new = np.stack([each.embedding.vector for each in enrolments])
    everything = np.stack([*new, *known])
    if len(everything) < 2:
        return ()
    others = [mean_embedding(np.delete(everything, at, axis=0)) for at in range(len(new))]
    decisions, farthest = client.score(new, np.stack(others)), client.loosest_threshold()
    return tuple(
        Part(each.source, decision.distance, decision.distance <= farthest)
        for each, decision in zip(enrolments, decisions, strict=True)
    )


def _passages(source: str, groups: SpeakerGroups | None) -> tuple[Part, ...]:
    """The two groups of passages of a speaker's only recording."""
    if groups is None:
        return ()
    return tuple(
        Part(
            f"{_named(source)} at {', '.join(f'{start:.3g}' for start in starts)} s",
            groups.distance,
            groups.is_one_speaker,
        )
        for starts in groups.starts_seconds
    )
