"""A user's own attack recordings against the speakers whom they claim to be."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd

from components.errors import SwarError, first_names
from components.mean_embedding import mean_embedding
from components.model.published import Embedded, PublishedModel
from components.pcm16 import pack_wav
from components.recordings.sources import Listing, Recording, list_recordings
from components.terminal import Console
from components.verification.attacks import CLAIM_COLUMNS, GENUINE, UNKNOWN_KIND
from components.verification.slices import EVERYTHING
from components.verification.utterances import OK, Unused
from pipeline.evaluation.scoring import by_speaker, name_sets, remarked, shown
from pipeline.evaluation.speech import whole_files

ATTACK_COLUMN = "attack"
REFERENCE_RECORDINGS = 5
"""Recordings of a claimed speaker's reference at most: the first ones."""
RESERVED_KINDS = {EVERYTHING: "all attacks together", GENUINE: "the speakers' own recordings"}
"""Names that no kind of attack may have, and what they stand for."""


def score_attacks(
    served: PublishedModel,
    data: Mapping[str, Listing],
    attacks: str,
    console: Console,
    *,
    follow_links: bool,
) -> tuple[pd.DataFrame, list[Unused]]:
    """Compares whole attack recordings with the claimed speaker's reference, as `swar verify` does.

    The reference is the mean embedding of the speaker's own recordings, as in a gallery. Each of
    these recordings is also compared with the mean of the others, if any of them can be used.

    Args:
        served: the model.
        data: the speakers' own recordings, by the name of their one set.
        attacks: folder or manifest of recordings that claim to be of these speakers. Their kind is
            the folder below the speaker's, or the manifest's column `attack`.
        console: shows the progress.
        follow_links: whether links that lead out of the folder are followed.

    Returns:
        A table of CLAIM_COLUMNS, and recordings that were rejected or cannot be decoded.

    Raises:
        SwarError: the folder is at fault, a kind has the name of one of RESERVED_KINDS, or a
            claimed speaker is not in the data or has no recording that can be used.
    """
    ((own_set, own_listing),) = data.items()
    (name,) = name_sets([attacks])
    listing = list_recordings(attacks, follow_outside_links=follow_links)
    for remark in listing.remarks:
        remarked(console, f"{name}: {remark}")
    own, claiming = by_speaker(own_listing), by_speaker(listing)
    _check_claims(attacks, name, own, claiming)
    unused = [Unused(name, each.file, each.reason, each.detail) for each in listing.rejects]
    rows: list[tuple[object, ...]] = []
    with shown(console, f"{name}: claimed speakers", len(claiming)) as track:
        for speaker in track(claiming):
            genuine = own[speaker][:REFERENCE_RECORDINGS]
            enrolled, embedded = _embedded(genuine, served, own_set, unused)
            reference = _reference(speaker, len(genuine), embedded)
            claimed, probes = _embedded(claiming[speaker], served, name, unused)
            kinds = list(map(_kind, claimed))
            references = np.repeat(reference[np.newaxis], len(claimed), axis=0)
            rows += _rows(
                speaker, claimed, kinds, probes.status, probes.embedding, references, served
            )
            rows += _genuine_rows(speaker, enrolled, embedded, served)
    return pd.DataFrame(rows, columns=list(CLAIM_COLUMNS)), unused


def _check_claims(
    attacks: str,
    name: str,
    own: Mapping[str, Sequence[Recording]],
    claiming: Mapping[str, Sequence[Recording]],
) -> None:
    """Raises SwarError unless there are attacks, on speakers of the data and of allowed kinds."""
    absent = sorted(claiming.keys() - own.keys())
    if absent:
        raise SwarError(
            f"{name} claims {len(absent)} speaker(s) who are not in --data: "
            f"{first_names(list(map(repr, absent)))}: name the folders of attacks, or the "
            "manifest's speakers, as those speakers are"
        )
    if not claiming:
        raise SwarError(f"{attacks!r} holds no recording: lay it out as <speaker>/<kind>/<file>")
    for recording in (each for claims in claiming.values() for each in claims):
        if (kind := _kind(recording)) in RESERVED_KINDS:
            raise SwarError(
                f"{name}: {recording.recording!r} is an attack of the kind {kind!r}, which is what "
                f"{RESERVED_KINDS[kind]} are called: give the kind another name"
            )


def _reference(speaker: str, count: int, embedded: Embedded) -> npt.NDArray[np.float32]:
    """float32 [D], of a speaker's `count` recordings. Raises SwarError if none can be used."""
    is_taken = np.array([status == OK for status in embedded.status], bool)
    if not is_taken.any():
        raise SwarError(
            f"none of the {count} recordings of {speaker!r} that attacks are compared with "
            "can be used: replace them"
        )
    return mean_embedding(embedded.embedding[is_taken])


def _genuine_rows(
    speaker: str, recordings: Sequence[Recording], embedded: Embedded, served: PublishedModel
) -> Iterator[tuple[object, ...]]:
    """Rows of a speaker's own recordings, each against the mean of the other usable ones."""
    taken = np.flatnonzero([status == OK for status in embedded.status])
    others = [taken[taken != at] for at in range(len(recordings))]
    compared = [at for at, rows in enumerate(others) if len(rows)]
    if compared:
        yield from _rows(
            speaker,
            [recordings[at] for at in compared],
            [GENUINE] * len(compared),
            [embedded.status[at] for at in compared],
            embedded.embedding[compared],
            np.stack([mean_embedding(embedded.embedding[others[at]]) for at in compared]),
            served,
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
    """The recordings that can be decoded, and the model's output for them."""
    files = list(whole_files(name, recordings, served, unused))
    wavs = [pack_wav(cut.pcm16, cut.sample_rate) for _, cut in files]
    return [recording for recording, _ in files], served.embed(wavs)
