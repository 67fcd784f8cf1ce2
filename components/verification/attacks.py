"""Recordings that falsely claim to be of a speaker: replayed, synthetic, converted speech.

The measure is the impostor attack presentation accept rate (IAPAR) of ISO/IEC 30107-3: the share of
the attacks that the model accepts as the claimed speaker.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
import pandas as pd

from components.verification.bootstrap import (
    Estimate,
    estimate,
    multiplicities,
    widened_at_ends,
)
from components.verification.slices import EVERYTHING

GENUINE: Final = "genuine"
UNKNOWN_KIND: Final = "unknown"
CLAIM_COLUMNS: Final = (
    "speaker",  # str, the claimed one
    "recording",  # str
    "kind",  # str, of an attack, by the data, or UNKNOWN_KIND; GENUINE: the speaker's own
    "status",  # str, the model's; unless it is "ok", the recording is not accepted
    "distance",  # float32, from the speaker's reference; NaN unless the status is "ok"
    "probability",  # float32, likewise
    "accepted",  # bool, at the stored threshold
)


@dataclass(frozen=True)
class AcceptedClaims:
    """How many recordings that claim to be of a speaker were accepted as that speaker's."""

    kind: str
    """Kind of attack; "all" attacks; or "genuine", speakers' own, each against the others."""
    speakers: int
    """Number of claimed speakers."""
    recordings: int
    refused: int
    """Recordings that the model refused and did not compare."""
    accepted: int
    rate: Estimate
    """Share of accepted recordings, with an interval over the claimed speakers."""


def measure_claims(claims: pd.DataFrame, *, resamples: int, seed: int) -> list[AcceptedClaims]:
    """Measures all attacks, each kind if there are several, and genuine recordings.

    Args:
        claims: CLAIM_COLUMNS, a row for each recording.
        resamples: of the claimed speakers, for the intervals.
        seed: the same one gives the same intervals.
    """
    return [_measured(kind, part, resamples, seed) for kind, part in _parts(claims) if len(part)]


def _parts(claims: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    is_genuine = claims["kind"] == GENUINE
    attacks = claims[~is_genuine]
    yield EVERYTHING, attacks
    if attacks["kind"].nunique() > 1:
        yield from attacks.groupby("kind")
    yield GENUINE, claims[is_genuine]


def _measured(kind: str, claims: pd.DataFrame, resamples: int, seed: int) -> AcceptedClaims:
    codes, speakers = pd.factorize(claims["speaker"])
    accepted = claims["accepted"].to_numpy()
    drawn = multiplicities(len(speakers), resamples, seed)[:, codes]
    rate = estimate(float(accepted.mean()), (drawn @ accepted) / drawn.sum(axis=1))
    return AcceptedClaims(
        kind=kind,
        speakers=len(speakers),
        recordings=len(claims),
        refused=int((claims["status"] != "ok").sum()),
        accepted=int(np.sum(accepted)),
        rate=widened_at_ends(rate, len(speakers)),
    )
