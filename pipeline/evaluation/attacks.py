"""A user's own attack recordings against the speakers whom they claim to be."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd

from components.audio import AudioError
from components.errors import SwarError
from components.model.files import card_settings
from components.model.published import Embedded, PublishedModel
from components.pcm16 import pack_wav
from components.recordings.sources import Listing, Recording, list_recordings
from components.settings import ServingSettings
from components.terminal import Console
from components.verification.attacks import CLAIM_COLUMNS, GENUINE, UNKNOWN_KIND
from components.verification.utterances import OK, Unused
from pipeline.evaluation.scoring import name_sets, remarked, shown
from pipeline.evaluation.speech import whole_file
from serving.references import mean_embedding

ATTACK_COLUMN = "attack"
REFERENCE_RECORDINGS = 5
"""Of each claimed speaker, at most: the first by name."""
NAMES_SHOWN = 10


def score_attacks(
    served: PublishedModel,
    genuine: Listing,
    attacks: str,
    console: Console,
    *,
    follow_links: bool,
) -> tuple[pd.DataFrame, list[Unused]]:
    """Compares whole attack recordings with the claimed speaker's reference, as `swar verify` does.

    The reference is the mean of the embeddings of the speaker's own recordings, as a gallery's is;
    each of these is compared with the mean of the others, too.

    Args:
        served: the model.
        genuine: the speakers' own recordings.
        attacks: folder or manifest of recordings that claim to be of these speakers. Their kind is
            the folder below the speaker's, or the manifest's column `attack`.
        console: shows the progress.
        follow_links: whether links that lead out of the folder are followed.

    Returns:
        A table of CLAIM_COLUMNS, and recordings that cannot be decoded or that make no reference.

    Raises:
        SwarError: the folder is at fault; or a speaker is claimed who is not in the data, or of
            whom no recording can be used.
    """
    (name,) = name_sets([attacks])
    listing = list_recordings(attacks, follow_outside_links=follow_links)
    for remark in listing.remarks:
        remarked(console, f"{name}: {remark}")
    own, claiming = _by_speaker(genuine), _by_speaker(listing)
    absent = sorted(claiming.keys() - own.keys())
    if absent:
        names = ", ".join(map(repr, absent[:NAMES_SHOWN]))
        raise SwarError(
            f"{name} claims {len(absent)} speaker(s) who are not in --data: {names}: name the "
            "folders of attacks, or the manifest's speakers, as those speakers are"
        )
    if not claiming:
        raise SwarError(f"{attacks!r} holds no recording: lay it out as <speaker>/<kind>/<file>")
    unused = [Unused(name, each.file, each.reason, each.detail) for each in listing.rejects]
    rows: list[tuple[object, ...]] = []
    with shown(console, f"{name}: claimed speakers", len(claiming)) as track:
        for speaker in track(claiming):
            enrolled = own[speaker][:REFERENCE_RECORDINGS]
            rows += _claims(speaker, enrolled, claiming[speaker], served, name, unused)
    return pd.DataFrame(rows, columns=list(CLAIM_COLUMNS)), unused


def _by_speaker(listing: Listing) -> Mapping[str, list[Recording]]:
    found: dict[str, list[Recording]] = defaultdict(list)
    for recording in listing.recordings:
        found[recording.speaker].append(recording)
    return found


def _claims(
    speaker: str,
    genuine: Sequence[Recording],
    attacks: Sequence[Recording],
    served: PublishedModel,
    name: str,
    unused: list[Unused],
) -> Iterator[tuple[object, ...]]:
    """Rows of CLAIM_COLUMNS, of the attacks and then of the speaker's own recordings."""
    enrolled, references = _embedded(genuine, served, name, unused)
    taken = np.flatnonzero([status == OK for status in references.status])
    if not len(taken):
        raise SwarError(
            f"none of the {len(genuine)} recordings of {speaker!r} that attacks are compared with "
            "can be used: replace them"
        )
    vectors = references.embedding[taken]
    claimed, probes = _embedded(attacks, served, name, unused)
    yield from _rows(
        speaker,
        claimed,
        list(map(_kind, claimed)),
        probes.status,
        probes.embedding,
        np.repeat(mean_embedding(vectors)[np.newaxis], len(claimed), axis=0),
        served,
    )
    if len(taken) > 1:
        others = np.stack(
            [mean_embedding(np.delete(vectors, at, axis=0)) for at in range(len(taken))]
        )
        names = [enrolled[at] for at in taken]
        yield from _rows(
            speaker, names, [GENUINE] * len(names), [OK] * len(names), vectors, others, served
        )


def _rows(
    speaker: str,
    recordings: Sequence[Recording],
    kinds: Sequence[str],
    statuses: Sequence[str],
    embedding: npt.NDArray[np.float32],
    reference: npt.NDArray[np.float32],
    served: PublishedModel,
) -> Iterator[tuple[object, ...]]:
    distance, probability, accepted = served.score(embedding, reference)
    is_taken = np.array([status == OK for status in statuses], bool)
    yield from zip(
        [speaker] * len(recordings),
        [each.recording for each in recordings],
        kinds,
        statuses,
        np.where(is_taken, distance, np.nan),
        np.where(is_taken, probability, np.nan),
        accepted & is_taken,
        strict=True,
    )


def _kind(recording: Recording) -> str:
    return recording.columns.get(ATTACK_COLUMN) or recording.session or UNKNOWN_KIND


def _embedded(
    recordings: Sequence[Recording], served: PublishedModel, name: str, unused: list[Unused]
) -> tuple[list[Recording], Embedded]:
    """The recordings that can be decoded, and what the model makes of them."""
    serving = card_settings(served.card, "serving", ServingSettings, served.folder)
    decoded, wavs = [], []
    for recording in recordings:
        try:
            cut = whole_file(name, recording, served.sample_rate, serving.max_seconds)
        except AudioError as error:
            unused.append(Unused(name, recording.recording, error.reason, str(error)))
            continue
        decoded.append(recording)
        wavs.append(pack_wav(cut.pcm16, cut.sample_rate))
    return decoded, served.embed(wavs)
