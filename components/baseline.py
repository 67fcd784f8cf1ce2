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
    """Finds the latest blessed model that takes the candidate's windows and is not the candidate.

    TFX's LatestBlessedModelStrategy finds the candidate itself when an identical run is repeated:
    the Evaluator's baseline changes from none to that model, and cached steps run again. It also
    finds models for other windows, which cannot score the current pairs, and models that were
    rolled back. Inputs: `model` and `model_blessing` (all of the pipeline) and `candidate` (of
    this run).
    """

    def resolve_artifacts(
        self, store: mlmd.MetadataStore, input_dict: dict[str, list[types.Artifact]]
    ) -> dict[str, list[types.Artifact]]:
        """The inputs, with at most one artifact for each of `model` and `model_blessing`."""
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
            and fileio.exists(_card(model))  # it was not deleted
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
    """Makes the node whose output `model` is the baseline; None for no baseline.

    Args:
        found_by: how it is found. Strategies other than ours do not get the candidate: Kubeflow's
            compiler takes only TFX's LatestBlessedModelStrategy, which has two inputs.
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
    """The pairs that a model reads: their sample rate, spectrograms and packing."""
    with fileio.open(_card(model)) as file:
        card = json.loads(file.read())
    return card["sample_rate"], card["spectrogram"], card.get("spectrogram_codec")
