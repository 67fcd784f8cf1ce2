"""How far recordings may be from those that a model was trained on."""

from typing import Annotated, Final

from pydantic import Field

from components.settings import Fraction, PositiveCount, Settings

OUTCOME: Final = "outcome"
"""The feature that says whether a recording is used, and why not."""


class DriftSettings(Settings):
    """Bounds of `swar drift`, from 0 (alike) to 1.

    They bound TFDV's Jensen-Shannon divergence of the two distributions over recordings; for the
    outcomes, which are categories, the largest difference of a share. The defaults lie above what
    50 recordings reach by chance (`benchmarks/drift.py`).
    """

    min_recordings: Annotated[PositiveCount, Field(ge=2)] = 50
    """Least recordings on each side: fewer differ by chance."""
    max_speech_seconds: Fraction = 0.2
    max_kept_fraction: Fraction = 0.2
    max_level_dbfs: Fraction = 0.2
    max_background_dbfs: Fraction = 0.2
    max_treble_db: Fraction = 0.2
    max_outcome: Fraction = 0.1
    """For whether a recording is used, and the reason if not."""
    reference_rows: Annotated[PositiveCount, Field(ge=100)] = 500
    """First recordings, or decisions, of a watch log, which define what is normal."""
    requests_per_false_alarm: Annotated[PositiveCount, Field(ge=100)] = 10_000
    """Of a watch log: without a change, alarms are rarer than one in so many requests."""
