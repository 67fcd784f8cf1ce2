"""Swar's artifact types, and the names of the files and properties in its artifacts."""

import os

from tfx import types
from tfx.dsl.io import fileio
from tfx.types import artifact_utils
from tfx.types.experimental.simple_artifacts import File

ArtifactDict = dict[str, list[types.Artifact]]
"""Artifacts that TFX passes to an executor as inputs or outputs, by key."""

# Aliases of TFX's type: Kubeflow's compiler takes other types only under the name of a class in a
# top-level module.
Rejects = File
"""A folder with `rejects.jsonl`: rows `file`, `reason`, `seconds`, `detail`, `same_as`."""
Recordings = File
"""A folder with `recordings.jsonl`: one row for each recording that was used."""
VerificationReport = File
"""A folder with `index.html`, its plots as PNG, and the data of the plots."""

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
    """(split, file) of each file of Examples, by split and name."""
    return [
        (split, file)
        for split in artifact_utils.decode_split_names(examples.split_names)
        for file in sorted(
            fileio.glob(os.path.join(artifact_utils.get_split_uri([examples], split), "*"))
        )
    ]
