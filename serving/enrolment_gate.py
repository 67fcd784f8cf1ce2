"""What must not be enrolled: recordings of two people, clipped ones, names that look like others.

Whether two people speak in a recording is seen from its passages of a second and a half, each of
which the model compares with each other. They are divided into the two groups that differ most.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from components.pcm16 import pack_wav, read_wav
from components.recording_quality import RecordingQuality
from serving.answers import OK
from serving.client import Client
from serving.conditions import MOST_CLIPPED

PASSAGE_SECONDS: Final = 1.5
MOST_PASSAGES: Final = 24
"""Of a longer recording so many are compared, spread over it: pairs grow with their square."""
LEAST_PASSAGES: Final = 4
"""With speech. Fewer differ too much by chance."""
LARGEST_CONTRAST: Final = 0.67
"""Of one person, in thresholds of the model: `python -m benchmarks.enrolment_gate` measures what
share of recordings of one and of two people is beyond it."""


@dataclass(frozen=True)
class SpeakerGroups:
    """The passages of a recording, in the two groups that differ most."""

    distance: float
    """Mean of the model's distances between passages of the two."""
    contrast: float
    """The distance, the smaller the less even the groups are, in thresholds of the model."""
    starts_seconds: tuple[tuple[float, ...], tuple[float, ...]]
    """Of the passages of each, the earlier group first."""

    @property
    def is_one_speaker(self) -> bool:
        """Whether they differ no more than one person's do."""
        return self.contrast <= LARGEST_CONTRAST


def speaker_groups(client: Client, wav: bytes) -> SpeakerGroups | None:
    """Divides a recording; None where too few passages hold speech.

    Args:
        client: of the model.
        wav: as `Client.to_wav` makes it.
    """
    read = read_wav(wav)
    assert read is not None  # of to_wav
    samples, rate = read
    count = int(len(samples) // (PASSAGE_SECONDS * rate))
    if count < LEAST_PASSAGES:
        return None
    edges = np.linspace(0, len(samples), count + 1).astype(int)
    chosen = np.unique(np.linspace(0, count - 1, min(count, MOST_PASSAGES)).astype(int))
    passages = client.embed(
        [pack_wav(samples[edges[at] : edges[at + 1]], rate) for at in chosen.tolist()]
    )
    usable = [at for at, passage in enumerate(passages) if passage.status == OK]
    if len(usable) < LEAST_PASSAGES:
        return None
    vectors = np.stack([passages[at].vector for at in usable])
    first, second = np.triu_indices(len(vectors), 1)
    distances = np.zeros((len(vectors), len(vectors)))
    distances[first, second] = [
        decision.distance for decision in client.score(vectors[first], vectors[second])
    ]
    distances += distances.T
    group = _most_different(distances)
    starts = edges[chosen[usable]] / rate
    groups = sorted(tuple(starts[part].tolist()) for part in (group, ~group))
    return SpeakerGroups(
        float(np.mean(distances[np.ix_(group, ~group)])),
        _contrast(distances, group) / client.rule().accept_up_to,
        (groups[0], groups[1]),
    )


def _most_different(distances: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
    """bool [n]: one of the two groups of the largest contrast, of distances [n, n].

    It begins with whichever of the farthest pair is nearer, and moves one passage at a time for
    as long as the contrast grows.
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
    """Mean distance between the groups times the deviation of a passage's group: 0.5 at most."""
    share = float(np.mean(group))
    if not 0.0 < share < 1.0:
        return 0.0
    between = float(np.mean(distances[np.ix_(group, ~group)]))
    return between * math.sqrt(share * (1.0 - share))


def is_clipped(quality: RecordingQuality | None) -> bool:
    """Whether a recording is cut off at the top too often to be enrolled."""
    return quality is not None and quality.clipped_fraction > MOST_CLIPPED


def faults(
    *,
    two_speakers: Sequence[str],
    misfits: Sequence[str],
    clipped: Sequence[str],
    similar_names: Sequence[str],
) -> list[str]:
    """Why an enrolment is refused, in the order of their weight, each with what helps.

    Args:
        two_speakers: recordings in which two people seem to speak.
        misfits: recordings that do not sound like the rest.
        clipped: recordings, see `is_clipped`.
        similar_names: of other speakers, which a reader may take for this one.
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
