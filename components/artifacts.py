"""Artifact types that TFX does not have."""

from tfx.types.artifact import Artifact


class Rejects(Artifact):
    """A folder with `rejects.jsonl`: rows `file`, `reason`, `seconds`, `detail`."""

    TYPE_NAME = "Rejects"


class VerificationReport(Artifact):
    """A folder with `index.html`, its plots as PNG, and what they were drawn from."""

    TYPE_NAME = "VerificationReport"


REPORT_PAGE = "index.html"
REJECTS_FILE = "rejects.jsonl"
# Custom property of an Examples artifact: JSON, number of examples of each split.
SPLIT_COUNTS = "split_counts"
# In a SavedModel: what it was made from. TF Serving leaves the folder alone.
MODEL_CARD = "assets.extra/swar.json"
