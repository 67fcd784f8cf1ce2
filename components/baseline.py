"""Chooses the model that a new one is compared with."""

import json
import os
from typing import Any, Final

import ml_metadata as mlmd
from tfx import types
from tfx.components.evaluator import constants
from tfx.dsl.components.base.base_node import BaseNode
from tfx.dsl.components.common import resolver
from tfx.dsl.components.common.importer import Importer
from tfx.dsl.io import fileio
from tfx.types import standard_artifacts
from tfx.utils import path_utils

from components.model.files import MODEL_CARD
from components.rolled_back import is_rolled_back

MODEL: Final = "model"
MODEL_BLESSING: Final = "model_blessing"
CANDIDATE: Final = "candidate"


class LatestOtherBlessedModelStrategy(resolver.ResolverStrategy):
    """The latest blessed model that sees the candidate's windows and is not the candidate.

    TFX's LatestBlessedModelStrategy finds the candidate when an identical run is
    repeated: the Evaluator's input changes from no baseline to the model itself,
    and all that was cached runs again. It also finds models made for windows of another
    shape, which cannot score today's pairs, and models that were rolled back. Inputs: `model`,
    `model_blessing` (every one of the pipeline) and `candidate` (this run's).
    """

    def resolve_artifacts(
        self, store: mlmd.MetadataStore, input_dict: dict[str, list[types.Artifact]]
    ) -> dict[str, list[types.Artifact]]:
        """The same keys, `model` and `model_blessing` with one artifact or none."""
        (candidate,) = input_dict[CANDIDATE]
        blessings = {
            blessing.get_int_custom_property(
                constants.ARTIFACT_PROPERTY_CURRENT_MODEL_ID_KEY
            ): blessing
            for blessing in input_dict[MODEL_BLESSING]
            if blessing.get_int_custom_property(constants.ARTIFACT_PROPERTY_BLESSED_KEY)
            == constants.BLESSED_VALUE
        }
        window = _window(candidate)
        others = [
            model
            for model in input_dict[MODEL]
            if model.id in blessings
            and model.id != candidate.id
            and fileio.exists(_card(model))  # nobody has cleaned it up
            and not is_rolled_back(model.uri)
            and _window(model) == window
        ]
        latest = sorted(others, key=lambda model: model.id)[-1:]
        return {
            **input_dict,
            MODEL: latest,
            MODEL_BLESSING: [blessings[model.id] for model in latest],
        }


Baseline = type[resolver.ResolverStrategy] | str | None
"""How a baseline is found: a strategy, the URI of a Model artifact, or None for no baseline."""


def make_baseline(found_by: Baseline, candidate: types.BaseChannel) -> BaseNode | None:
    """The node that finds the baseline, its output `model`; None if there shall be none.

    Args:
        found_by: a strategy other than ours does not get the candidate: Kubeflow's compiler
            takes TFX's LatestBlessedModelStrategy only, and that with two inputs.
        candidate: the model of this run.
    """
    if found_by is None:
        return None
    if isinstance(found_by, str):
        imported = Importer(found_by, artifact_type=standard_artifacts.Model, output_key=MODEL)
        return imported.with_id("Baseline")
    properties = {CANDIDATE: candidate} if found_by is LatestOtherBlessedModelStrategy else {}
    return resolver.Resolver(
        strategy_class=found_by,
        **{
            MODEL: types.Channel(type=standard_artifacts.Model),
            MODEL_BLESSING: types.Channel(type=standard_artifacts.ModelBlessing),
        },
        **properties,
    ).with_id("Baseline")


def _card(model: types.Artifact) -> str:
    return os.path.join(path_utils.serving_model_path(model.uri), MODEL_CARD)


def _window(model: types.Artifact) -> tuple[Any, ...]:
    """What the pairs are that a model reads: sample rate, spectrograms and how they are packed."""
    with fileio.open(_card(model)) as file:
        card = json.loads(file.read())
    return card["sample_rate"], card["spectrogram"], card.get("spectrogram_codec")
