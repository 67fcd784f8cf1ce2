"""Artifact types that Swar names, and what is in artifacts under which name."""

import os

from tfx import types
from tfx.dsl.io import fileio
from tfx.types import artifact_utils
from tfx.types.experimental.simple_artifacts import File

ArtifactDict = dict[str, list[types.Artifact]]
"""What TFX gives an executor to read and to write, by key."""

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


def split_files(examples: types.Artifact) -> list[tuple[str, str]]:
    """The files of Examples, each behind the name of its split, by split and name."""
    return [
        (split, file)
        for split in artifact_utils.decode_split_names(examples.split_names)
        for file in sorted(
            fileio.glob(os.path.join(artifact_utils.get_split_uri([examples], split), "*"))
        )
    ]
