"""How far recordings may be from those that a model was trained on."""

from typing import Annotated, Final

from pydantic import Field

from components.settings import Fraction, PositiveCount, Settings

OUTCOME: Final = "outcome"
"""The feature that says whether a recording is used, and why not."""


class DriftSettings(Settings):
    """Bounds of `swar drift`, from 0 (alike) to 1.

    TFDV's Jensen-Shannon divergence of the two distributions over recordings; of the outcomes,
    which are categories, the largest difference of a share. The defaults lie above what chance
    makes of 50 recordings (`benchmarks/drift.py`).
    """

    min_recordings: Annotated[PositiveCount, Field(ge=2)] = 50
    """On both sides: fewer differ by chance."""
    max_speech_seconds: Fraction = 0.2
    max_kept_fraction: Fraction = 0.2
    max_level_dbfs: Fraction = 0.2
    max_background_dbfs: Fraction = 0.2
    max_treble_db: Fraction = 0.2
    max_outcome: Fraction = 0.1
    """Whether a recording is used, and the reason if not."""
    reference_rows: Annotated[PositiveCount, Field(ge=100)] = 500
    """Of a watch log: so many recordings, or decisions, at its beginning are what is normal."""
    requests_per_false_alarm: Annotated[PositiveCount, Field(ge=100)] = 10_000
    """Of a watch log: without a change, an alarm comes less often than once in so many."""
