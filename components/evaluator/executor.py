"""Evaluates a model with TFMA, and compares it with the base model that it was trained from."""

import logging
import os
from typing import Any, Final

import tensorflow as tf
import tensorflow_model_analysis as tfma
from tensorflow_model_analysis.proto import validation_result_pb2
from tfx import types
from tfx.components.evaluator import constants, executor
from tfx.dsl.io import fileio
from tfx.types import artifact_utils, standard_component_specs
from tfx.utils import io_utils

from components.artifacts import ArtifactDict, split_files
from components.evaluator.base_comparison import SPLITS, base_error_rates, worse_than_base
from components.evaluator.results import read_metrics

MAX_EER_INCREASE_OVER_BASE: Final = "max_eer_increase_over_base"
"""Exec property; if it is missing, no comparison is made."""

progress = logging.getLogger("swar.progress")


class Executor(executor.Executor):
    """TFX's Evaluator executor, whose blessing also requires a comparison with the base model."""

    def Do(
        self, input_dict: ArtifactDict, output_dict: ArtifactDict, exec_properties: dict[str, Any]
    ) -> None:
        """Evaluates and validates as TFX does; then withdraws the blessing of a worse model.

        The slices in which the model is worse are added to TFMA's validation result, beside the
        thresholds that it misses.
        """
        super().Do(input_dict, output_dict, exec_properties)
        if MAX_EER_INCREASE_OVER_BASE not in exec_properties:
            return
        files = _files(input_dict[standard_component_specs.EXAMPLES_KEY])
        if not files:
            return
        evaluation = artifact_utils.get_single_uri(output_dict[constants.EVALUATION_KEY])
        progress.info("comparing with the base model: unseen speakers, and every condition")
        failures = worse_than_base(
            read_metrics(evaluation),
            base_error_rates(files),
            exec_properties[MAX_EER_INCREASE_OVER_BASE],
        )
        if not failures:
            return
        result = tfma.load_validation_result(evaluation)
        result.validation_ok = False
        result.metric_validations_per_slice.extend(failures)
        _rewrite(result, evaluation)
        _withdraw(
            artifact_utils.get_single_instance(output_dict[standard_component_specs.BLESSING_KEY])
        )


def _files(examples: list[types.Artifact]) -> list[str]:
    """Files of the pairs of those SPLITS that exist."""
    return [
        file for artifact in examples for split, file in split_files(artifact) if split in SPLITS
    ]


def _rewrite(result: validation_result_pb2.ValidationResult, evaluation: str) -> None:
    (file,) = fileio.glob(os.path.join(evaluation, f"{tfma.constants.VALIDATIONS_KEY}*"))
    with tf.io.TFRecordWriter(file) as writer:
        writer.write(result.SerializeToString())


def _withdraw(blessing: types.Artifact) -> None:
    blessed = os.path.join(blessing.uri, constants.BLESSED_FILE_NAME)
    if fileio.exists(blessed):
        fileio.remove(blessed)
    not_blessed = os.path.join(blessing.uri, constants.NOT_BLESSED_FILE_NAME)
    io_utils.write_string_file(not_blessed, "")
    blessing.set_int_custom_property(
        constants.ARTIFACT_PROPERTY_BLESSED_KEY, constants.NOT_BLESSED_VALUE
    )
