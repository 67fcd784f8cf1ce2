"""A published model on disk: its folder, its card, the files beside the graph."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, TypeVar

from pydantic import BaseModel, ConfigDict, FiniteFloat, PositiveInt, ValidationError

from components.errors import SwarError
from components.settings import Settings

# TF Serving leaves `assets.extra` alone.
MODEL_CARD: Final = "assets.extra/swar.json"
"""The model's card: what it was made from."""
TOWER_WEIGHTS: Final = "assets.extra/tower.weights.h5"
"""The tower's, in Keras' format: another training can start from them."""
WARMUP_REQUESTS: Final = "assets.extra/tf_serving_warmup_requests"
"""What TensorFlow Serving runs before it answers: PredictionLogs in a TFRecord file."""
GOLDEN_ANSWERS: Final = "assets.extra/golden_answers"
"""Requests and the exported model's answers: PredictionLogs in a TFRecord file."""
BASE: Final = "base"
"""Name of the released base model."""
PUBLISHED: Final = "published"
"""The folder of versions in the output folder of a run."""
NAMES_OF_A_MODEL: Final = "OUTPUT (the folder of a run), OUTPUT/published, a version in it, or base"
"""Names of a model that commands accept."""
GRAPH: Final = "saved_model.pb"
"""Every version has this file."""
_LAST_VERSION: Final = 2**63 - 1
_Settings = TypeVar("_Settings", bound=Settings)


class _Card(BaseModel):
    """Fields that are read from a card, required if without default; a card holds more."""

    model_config = ConfigDict(strict=True)

    sample_rate: PositiveInt
    embedding_size: PositiveInt
    threshold: FiniteFloat
    model_digest: str
    slope: FiniteFloat | None = None
    data_digest: str | None = None
    calibrated_on: dict[str, Any] | None = None
    calibration: dict[str, Any] | None = None
    speech: dict[str, Any] = {}
    history: list[dict[str, Any]] | None = None


def version_folder(model: Path) -> Path:
    """The folder of one version of a model.

    Args:
        model: the version's folder; or a folder of versions or the output folder of a run, whose
            newest version is meant.

    Raises:
        SwarError: there is no version.
    """
    if (model / GRAPH).is_file():
        return model
    if not model.is_dir():
        fault = "is no folder" if os.path.lexists(model) else "does not exist"
        raise SwarError(f"{str(model)!r} {fault}: name {NAMES_OF_A_MODEL}")
    for folder in (model, model / PUBLISHED):
        if versions := published_folders(folder):
            return versions[-1]
    raise SwarError(
        f"{str(model)!r} holds no model, which would be {GRAPH}, VERSION/{GRAPH} or "
        f"{PUBLISHED}/VERSION/{GRAPH}: name {NAMES_OF_A_MODEL}"
    )


def is_version_name(name: str) -> bool:
    """Whether a name can be a version's: for TensorFlow Serving a positive 63-bit number, here
    without leading zeros."""
    is_number = name.isascii() and name.isdecimal() and not name.startswith("0")
    return is_number and len(name) <= len(str(_LAST_VERSION)) and int(name) <= _LAST_VERSION


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
        model: `base`, the released base model, or a path for `version_folder`. For a folder named
            `base`, pass `./base`.

    Raises:
        SwarError: there is no such model.
    """
    if model == BASE:
        from components.model.base import base_model_folder

        return base_model_folder()
    return version_folder(Path(model))


def read_card(folder: Path) -> dict[str, Any]:
    """The card of a version, `assets.extra/swar.json`.

    Raises:
        SwarError: it is missing, or not as the pipeline writes it.
    """
    try:
        card: dict[str, Any] = json.loads((folder / MODEL_CARD).read_text("utf-8"))
        _Card.model_validate(card)
    except OSError as error:
        reason = error.strerror or str(error)
    except ValidationError as error:
        first = error.errors()[0]
        reason = f"{'.'.join(map(str, first['loc'])) or 'the whole'}: {first['msg']}"
    except (ValueError, RecursionError) as error:
        reason = str(error)
    else:
        return card
    raise SwarError(
        f"{folder} has no readable {MODEL_CARD} ({reason}): publish it again, or remove the folder"
    )


def card_settings(
    card: Mapping[str, Any], name: str, kind: type[_Settings], folder: Path
) -> _Settings:
    """Reads settings from a card.

    Args:
        card: see `read_card`.
        name: of the settings in the card.
        kind: class of the settings.
        folder: of the card, for the message.

    Raises:
        SwarError: the card has none, or none that this version accepts.
    """
    try:
        return kind.model_validate(card[name])
    except (KeyError, ValidationError) as error:
        raise SwarError(
            f"{folder} was published by another version of swar: publish it again"
        ) from error
