"""What must not be enrolled: recordings of two people, clipped ones, names that look like others.

Whether two people speak in a recording is seen from its passages of a second and a half, each of
which overlaps the next by half: so some lie within every turn of that length. The model compares
each with each, and they are divided into the two groups that differ most. How much one person's
passages differ is a matter of the embeddings: it has nothing to do with the model's threshold,
which may be learnt anew for other speakers.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from components.pcm16 import pack_wav, read_wav
from components.recording_quality import RecordingQuality
from serving.answers import OK, Vector
from serving.client import FILES_PER_REQUEST, Client
from serving.conditions import MOST_CLIPPED
from serving.references import mean_embedding

PASSAGE_SECONDS: Final = 1.5
HOP_SECONDS: Final = 0.75
"""From the begin of a passage to that of the next one."""
MOST_PASSAGES: Final = 40
"""Of a longer recording so many are compared, spread over it: pairs grow with their square."""
LEAST_PASSAGES: Final = 5
"""With speech. Fewer differ too much by chance."""
WITHIN_SHARE: Final = 0.25
"""Of the mean distance within the groups, that is taken from the one between them: passages of
noisy or short speech differ from each other, whoever speaks."""
LARGEST_CONTRAST: Final = 0.5
"""Of one person, of the base model and those that are fine-tuned from it.

`python -m benchmarks.enrolment_gate` measures what share of recordings of one and of two people is
beyond it."""


@dataclass(frozen=True)
class SpeakerGroups:
    """The passages of a recording, in the two groups that differ most."""

    distance: float
    """The model's, of the means of the two groups."""
    contrast: float
    """Mean of the model's distances between passages of the two, less WITHIN_SHARE of that within
    them, in lengths of an embedding; the smaller the less even the groups are."""
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
    length = round(PASSAGE_SECONDS * rate)
    count = 1 + (len(samples) - length) // round(HOP_SECONDS * rate)
    if count < LEAST_PASSAGES:
        return None
    starts = np.linspace(0, len(samples) - length, min(count, MOST_PASSAGES)).astype(int)
    wavs = [pack_wav(samples[start : start + length], rate) for start in starts.tolist()]
    passages = [
        passage
        for first in range(0, len(wavs), FILES_PER_REQUEST)
        for passage in client.embed_wavs(
            wavs[first : first + FILES_PER_REQUEST], is_watched=False, with_quality=False
        )
    ]
    usable = [at for at, passage in enumerate(passages) if passage.status == OK]
    if len(usable) < LEAST_PASSAGES:
        return None
    vectors = np.stack([passages[at].vector for at in usable])
    distances = _distances(client, vectors)
    group = _most_different(distances)
    one, other = (mean_embedding(vectors[part])[np.newaxis] for part in (group, ~group))
    seconds = starts[usable] / rate
    groups = sorted(tuple(seconds[part].tolist()) for part in (group, ~group))
    contrast = _contrast(distances, group) - WITHIN_SHARE * _within(distances, group)
    norm = float(np.mean(np.linalg.norm(vectors, axis=1)))
    return SpeakerGroups(
        client.score(one, other)[0].distance,
        contrast / norm if norm else 0.0,
        (groups[0], groups[1]),
    )


def _distances(client: Client, vectors: Vector) -> npt.NDArray[np.float64]:
    """float64 [n, n]: the model's, of embeddings [n, D]."""
    first, second = np.triu_indices(len(vectors), 1)
    distances = np.zeros((len(vectors), len(vectors)))
    distances[first, second] = [
        decision.distance for decision in client.score(vectors[first], vectors[second])
    ]
    distances += distances.T
    return distances


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


def _within(distances: npt.NDArray[np.float64], group: npt.NDArray[np.bool_]) -> float:
    """Mean distance of two passages of one group, times the deviation of a passage's group."""
    share = float(np.mean(group))
    is_pair = np.triu(group[:, np.newaxis] == group, k=1)
    within = float(np.mean(distances[is_pair])) if is_pair.any() else 0.0
    return within * math.sqrt(share * (1.0 - share))


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
