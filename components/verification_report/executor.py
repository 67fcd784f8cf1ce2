"""Judges the model on speech that it did not learn from, and writes the report."""

import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tfx import types
from tfx.dsl.components.base import base_executor
from tfx.dsl.io import fileio
from tfx.types import artifact_utils
from tfx.utils import io_utils, path_utils

from components.artifacts import RECORDINGS_FILE, REJECTS_FILE, ArtifactDict, split_files
from components.errors import SwarError
from components.model.published import PublishedModel
from components.settings import ReportSettings, SpectrogramSettings
from components.verification_report.judging import judge_splits
from components.verification_report.pieces import SpeechPiece, read_pieces
from components.verification_report.report import report_files


class Executor(base_executor.BaseExecutor):
    """Writes `report`."""

    def Do(
        self, input_dict: ArtifactDict, output_dict: ArtifactDict, exec_properties: dict[str, Any]
    ) -> None:
        """Writes the page, its plots, every score and every number into one folder.

        Raises:
            SwarError: there is too little speech to compare, or the model is not one of Swar's.
        """
        settings = ReportSettings.model_validate_json(exec_properties["settings"])
        recordings = _read_rows(input_dict["recordings"], RECORDINGS_FILE)
        columns = {row["recording"]: row["columns"] for row in recordings}
        sessions = {row["recording"]: row["session"] for row in recordings}
        speech = artifact_utils.get_single_instance(input_dict["speech"])
        pieces = _read_pieces(speech, sessions)
        rejects = _read_rows(input_dict["rejects"], REJECTS_FILE)
        blessing = artifact_utils.get_single_instance(input_dict["blessing"])
        model = artifact_utils.get_single_instance(input_dict["model"])
        with tempfile.TemporaryDirectory(prefix="swar-report-") as folder:
            served = PublishedModel(_local_copy(model, folder), is_published=False)
            judged = judge_splits(pieces, served, _window_samples(served), settings, columns)
        files = report_files(
            pieces,
            rejects,
            served.card,
            judged,
            blessing.get_int_custom_property("blessed") == 1,
            settings,
            columns,
        )
        _write(artifact_utils.get_single_uri(output_dict["report"]), files)


def _read_pieces(speech: types.Artifact, sessions: Mapping[str, str | None]) -> list[SpeechPiece]:
    """The pieces of every split, in the order of the files."""
    return [
        piece for split, file in split_files(speech) for piece in read_pieces(split, file, sessions)
    ]


def _read_rows(artifacts: list[types.Artifact], name: str) -> list[dict[str, Any]]:
    with fileio.open(os.path.join(artifact_utils.get_single_uri(artifacts), name)) as file:
        return [json.loads(line) for line in file.read().splitlines() if line]


def _local_copy(model: types.Artifact, folder: str) -> Path:
    """Copies the SavedModel, wherever it is, to a local folder."""
    source = path_utils.serving_model_path(model.uri, path_utils.is_old_model_artifact(model))
    copy = os.path.join(folder, "model")
    io_utils.copy_dir(source, copy)
    return Path(copy)


def _window_samples(served: PublishedModel) -> int:
    try:
        spectrogram = SpectrogramSettings.model_validate(served.card["spectrogram"])
    except (KeyError, ValueError) as error:
        raise SwarError(
            "the model was trained by another version of swar: train it again"
        ) from error
    return spectrogram.window_samples(served.sample_rate)


def _write(uri: str, files: Mapping[str, bytes]) -> None:
    fileio.makedirs(uri)
    for name, content in files.items():
        with fileio.open(os.path.join(uri, name), "wb") as file:
            file.write(content)
