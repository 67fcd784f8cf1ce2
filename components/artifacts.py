"""Artifact types that Swar names, and what is in artifacts under which name."""

from tfx.types.experimental.simple_artifacts import File

# Not types of their own: Kubeflow's compiler takes TFX's types, and others only under the name
# of a class in a top-level module.
Rejects = File
"""A folder with `rejects.jsonl`: rows `file`, `reason`, `seconds`, `detail`, `same_as`."""
Recordings = File
"""A folder with `recordings.jsonl`: one row for each recording that was used."""
VerificationReport = File
"""A folder with `index.html`, its plots as PNG, and what they were drawn from."""

REPORT_PAGE = "index.html"
REJECTS_FILE = "rejects.jsonl"
# Rows: recording, path, speaker, gender, session, the data's other columns, the digest of its
# speech, its seconds by split, its acoustics.
RECORDINGS_FILE = "recordings.jsonl"
# Custom property of `speech`: JSON, the names of the spans that it was made from.
SPANS = "spans"
# Custom property of an Examples artifact: JSON, number of examples of each split.
SPLIT_COUNTS = "split_counts"
