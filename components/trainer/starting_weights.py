"""What a tower starts from: the base model, another published one, ImageNet, a file."""

import hashlib
from pathlib import Path
from typing import Any, Final

import h5py
import keras

from components.errors import SwarError
from components.model.base import BaseModel, base_card, base_digest
from components.model.files import BASE, TOWER_WEIGHTS, read_card, version_folder
from components.settings import DENSENET121_BLOCKS, SpectrogramSettings, TrainerSettings

NONE: Final = "none"
IMAGENET: Final = "imagenet"


def start(
    tower: keras.Model,
    settings: TrainerSettings,
    spectrogram: SpectrogramSettings,
    sample_rate: int,
) -> None:
    """Gives a new tower the weights that the settings name.

    Raises:
        SwarError: the weights are missing, or of another network or another window.
    """
    name = settings.weights
    if name == NONE:
        return
    if name == IMAGENET:
        _load_imagenet(tower, settings)
    elif name == BASE:
        base = BaseModel.read()
        _check_fits("the base model", base.card, settings, spectrogram, sample_rate)
        tower.set_weights([weight.astype("float32") for weight in base.weights])
    elif Path(name).is_dir():
        version = version_folder(Path(name))
        _check_fits(str(version), read_card(version), settings, spectrogram, sample_rate)
        _load(tower, version / TOWER_WEIGHTS, name)
    else:
        _load(tower, Path(name), name)


def parent_of(
    settings: TrainerSettings, spectrogram: SpectrogramSettings, sample_rate: int
) -> dict[str, str]:
    """Name and digest, for a lineage, of the weights that a training starts from.

    Empty where there are none, or they are ImageNet's or not on this machine.

    Raises:
        SwarError: they are of another network or window, or a folder holds no published model.
    """
    name, path = settings.weights, Path(settings.weights)
    if name in (NONE, IMAGENET):
        return {}
    if name == BASE:
        _check_fits("the base model", base_card(), settings, spectrogram, sample_rate)
        return {"parent": BASE, "parent_digest": base_digest()}
    if path.is_dir():
        version = version_folder(path)
        card = read_card(version)
        _check_fits(str(version), card, settings, spectrogram, sample_rate)
        return {"parent": name, "parent_digest": card["model_digest"]}
    if path.is_file():
        return {"parent": name, "parent_digest": hashlib.sha256(path.read_bytes()).hexdigest()}
    return {}


def _check_fits(
    name: str,
    card: dict[str, Any],
    settings: TrainerSettings,
    spectrogram: SpectrogramSettings,
    sample_rate: int,
) -> None:
    theirs = {"speech.sample_rate": card["sample_rate"]}
    for part in ("spectrogram", "trainer"):
        theirs |= {f"{part}.{key}": value for key, value in card.get(part, {}).items()}
    # The tower does not depend on the length of the windows of `train`.
    windows = spectrogram.model_dump(exclude={"longest_train_window_seconds"})
    ours = {
        "speech.sample_rate": sample_rate,
        **{f"spectrogram.{key}": value for key, value in windows.items()},
        "trainer.blocks": list(settings.blocks),
        "trainer.head": settings.head,
        "trainer.embedding_size": settings.embedding_size,
    }
    for key, value in ours.items():
        if key not in theirs:
            raise SwarError(
                f"trainer.weights {settings.weights!r}: {name} was published by another version of "
                f"swar and does not tell its {key}: name another model, or none"
            )
        if theirs[key] != value:
            raise SwarError(
                f"trainer.weights {settings.weights!r}: {name} was trained with {key} "
                f"{theirs[key]}, not {value}: set {key} to {theirs[key]}, or trainer.weights to "
                "none"
            )


def _load_imagenet(tower: keras.Model, settings: TrainerSettings) -> None:
    if settings.blocks != DENSENET121_BLOCKS:
        raise SwarError(
            f"trainer.weights is imagenet but trainer.blocks is {settings.blocks}: ImageNet "
            f"weights exist for {DENSENET121_BLOCKS} only"
        )
    try:
        published = keras.applications.DenseNet121(include_top=False, weights="imagenet")
    except Exception as error:  # Keras raises nothing narrower where a download fails
        raise _unusable(settings.weights, error) from error
    _backbone(tower).set_weights(published.get_weights())


def _load(tower: keras.Model, path: Path, name: str) -> None:
    """Keras weights of a whole tower, or of its backbone."""
    if not path.is_file():
        raise SwarError(
            f"trainer.weights {name!r} is none of base, imagenet, none, a published model with "
            f"{TOWER_WEIGHTS}, or a file"
        )
    try:
        (tower if _is_of_tower(path) else _backbone(tower)).load_weights(path)
    except Exception as error:  # Keras and h5py raise many kinds
        raise _unusable(name, error) from error


def _is_of_tower(path: Path) -> bool:
    """Whether a file has the weights of a whole tower, a model that holds its backbone."""
    with h5py.File(path) as file:
        return "functional" in file.get("layers", {})


def _backbone(tower: keras.Model) -> keras.Model:
    return tower.get_layer("densenet")


def _unusable(name: str, error: Exception) -> SwarError:
    return SwarError(
        f"trainer.weights {name!r} cannot be used: {error}: set it to none for random weights, or "
        "to a file of weights"
    )
