"""A published model as it lies on disk: its folder, its card, what lies beside the graph."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, TypeVar

from pydantic import ValidationError

from components.errors import SwarError
from components.settings import Settings

# TF Serving leaves `assets.extra` alone.
MODEL_CARD: Final = "assets.extra/swar.json"
"""What the model was made from."""
TOWER_WEIGHTS: Final = "assets.extra/tower.weights.h5"
"""Of the tower, in Keras' format: another training can start from them."""
WARMUP_REQUESTS: Final = "assets.extra/tf_serving_warmup_requests"
"""What TensorFlow Serving runs before it answers, PredictionLogs in a TFRecord file."""
GOLDEN_ANSWERS: Final = "assets.extra/golden_answers"
"""Requests with the answers of the model that was exported, in the same form."""
BASE: Final = "base"
"""What the released base model is called."""
PUBLISHED: Final = "published"
"""The folder of versions in the output folder of a run."""
NAMES_OF_A_MODEL: Final = "OUTPUT (the folder of a run), OUTPUT/published, a version in it, or base"
"""What every command takes that takes a model."""
GRAPH: Final = "saved_model.pb"
"""Without it a version is none."""
_Settings = TypeVar("_Settings", bound=Settings)


def version_folder(model: Path) -> Path:
    """The folder of one version of a model.

    Args:
        model: the version's folder; or a folder of versions, or the output folder of a run that
            published some, whose newest it is.

    Raises:
        SwarError: there is none.
    """
    if (model / GRAPH).is_file():
        return model
    if not model.is_dir():
        raise SwarError(f"{str(model)!r} does not exist: name {NAMES_OF_A_MODEL}")
    for folder in (model, model / PUBLISHED):
        if versions := published_folders(folder):
            return versions[-1]
    raise SwarError(
        f"{str(model)!r} holds no model, which would be {GRAPH}, VERSION/{GRAPH} or "
        f"{PUBLISHED}/VERSION/{GRAPH}: name {NAMES_OF_A_MODEL}"
    )


def is_version_name(name: str) -> bool:
    """Whether a folder of that name may be a version: a positive number, written in one way."""
    return name.isascii() and name.isdecimal() and not name.startswith("0")


def published_folders(folder: Path) -> list[Path]:
    """The complete versions in a folder of versions, the newest last; none if it is not there."""
    if not folder.is_dir():
        return []
    versions = [
        version
        for version in folder.iterdir()
        if is_version_name(version.name) and (version / GRAPH).is_file()
    ]
    return sorted(versions, key=lambda version: int(version.name))


def check_model(model: str) -> None:
    """Raises SwarError where there is no model of that name; does not make the base model."""
    if model != BASE:
        version_folder(Path(model))


def model_folder(model: str | Path) -> Path:
    """The folder of one version of a model.

    Args:
        model: `base`, the released base model, or a path as `version_folder` takes it. A folder
            named `base` is `./base`.

    Raises:
        SwarError: there is no such model.
    """
    if model == BASE:
        from components.model.base import base_model_folder

        return base_model_folder()
    return version_folder(Path(model))


def read_card(folder: Path) -> dict[str, Any]:
    """What `assets.extra/swar.json` of a version says about the model.

    Raises:
        SwarError: it is missing, or was not written by the pipeline.
    """
    try:
        card: dict[str, Any] = json.loads((folder / MODEL_CARD).read_text("utf-8"))
        int(card["sample_rate"])
    except (OSError, ValueError, KeyError) as error:
        raise SwarError(f"{folder} has no readable {MODEL_CARD}: publish it again") from error
    return card


def card_settings(
    card: Mapping[str, Any], name: str, kind: type[_Settings], folder: Path
) -> _Settings:
    """What a card tells of the settings of that name.

    Args:
        card: see `read_card`.
        name: of the settings in the card.
        kind: what they are.
        folder: whose card it is, for the message.

    Raises:
        SwarError: this version has other settings.
    """
    try:
        return kind.model_validate(card[name])
    except (KeyError, ValidationError) as error:
        raise SwarError(
            f"{folder} was published by another version of swar: publish it again"
        ) from error
