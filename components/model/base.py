"""The released base model: its weights in the package, its SavedModel in the user's cache."""

import contextlib
import functools
import hashlib
import json
import logging
import os
import zipfile
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

import numpy as np
import numpy.typing as npt

from components.atomic_write import FolderInUse, new_folder
from components.errors import SwarError
from components.model.digest import write_digests
from components.model.files import GRAPH
from components.user_folders import is_writable, temporary_cache, user_cache

if TYPE_CHECKING:
    import keras

    from components.model.normalisation import CohortNormalisation
    from components.model.recordings import FrontEnd
    from components.settings import TrainerSettings

WEIGHTS_FILE: Final = "base.npz"
CARD_FILE: Final = "base.json"
_COHORT: Final = "cohort"
_VERSION: Final = "1"  # of the SavedModel, for TF Serving
progress = logging.getLogger("swar.progress")


@dataclass(frozen=True)
class BaseModel:
    """The base model as `pretrained/` stores it.

    card: of the published model that was released, with threshold and slope; see
        `components.model.export`.
    weights: of the tower, in its order; float16, vectors (batch statistics) float32.
    cohort: float32 [C, D], which distances are normalised by.
    """

    card: dict[str, Any]
    weights: list[npt.NDArray[np.floating]]
    cohort: npt.NDArray[np.float32]

    @classmethod
    def read(cls, folder: Path | None = None) -> Self:
        """Reads a folder, by default that of the package.

        Raises:
            SwarError: a file is missing or damaged.
        """
        weights_file, _ = _files(folder)
        card = base_card(folder)
        try:
            with np.load(weights_file, allow_pickle=False) as stored:
                count = sum(name.isdecimal() for name in stored.files)
                weights = [stored[f"{index:03d}"] for index in range(count)]
                cohort = stored[_COHORT].astype(np.float32)
        except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
            raise _unreadable(weights_file) from error
        return cls(card, weights, cohort)

    def write(self, folder: Path) -> None:
        """Writes both files."""
        weights_file, card_file = _files(folder)
        named = {f"{index:03d}": weight for index, weight in enumerate(self.weights)}
        cohort = self.cohort.astype(np.float16)
        np.savez_compressed(weights_file, allow_pickle=False, **named, **{_COHORT: cohort})
        card_file.write_text(json.dumps(self.card, indent=2, sort_keys=True) + "\n", "utf-8")

    def trainer_settings(self) -> "TrainerSettings":
        """The settings of its training that the current code still has."""
        from components.settings import TrainerSettings

        return TrainerSettings.known(self.card["trainer"])

    def front_end(self) -> "FrontEnd":
        """How recordings become the model's windows."""
        from components.model.recordings import FrontEnd

        return FrontEnd.of_card(self.card)

    def tower(self) -> "keras.Model":
        """Maps uint8 windows to embeddings, with the released weights."""
        from components.model.tower import served_tower
        from components.settings import SpectrogramSettings

        spectrogram = SpectrogramSettings.model_validate(self.card["spectrogram"])
        sample_rate = int(self.card["sample_rate"])
        tower = served_tower(self.trainer_settings(), spectrogram, sample_rate)
        tower.set_weights([weight.astype(np.float32) for weight in self.weights])
        return tower

    def distances(
        self,
        embedding: npt.NDArray[np.float32],
        first: npt.NDArray[np.integer],
        second: npt.NDArray[np.integer],
    ) -> npt.NDArray[np.float32]:
        """Distances, float32 [N], as the served model computes them.

        Args:
            embedding: float32 [utterances, D], from `tower`.
            first, second: [N], the utterances to compare.
        """
        from components.model.normalisation import distances

        apart: npt.NDArray[np.float32] = distances(
            embedding, first, second, self.normalisation
        ).numpy()
        return apart

    @functools.cached_property
    def normalisation(self) -> "CohortNormalisation":
        """Normalises distances by the cohort."""
        from components.model.normalisation import CohortNormalisation

        return CohortNormalisation(self.cohort, self.trainer_settings().normalisation_nearest)


def base_card(folder: Path | None = None) -> dict[str, Any]:
    """The card of the base model in a folder, by default that of the package.

    Raises:
        SwarError: it is missing or damaged.
    """
    _, card_file = _files(folder)
    try:
        card: dict[str, Any] = json.loads(card_file.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise _unreadable(card_file) from error
    return card


def base_digest() -> str:
    """sha256 of the released files, in hexadecimal; names the base model in a lineage.

    Raises:
        SwarError: a file is missing.
    """
    sha = hashlib.sha256()
    for file in _files(None):
        try:
            sha.update(file.read_bytes())
        except OSError as error:
            raise _unreadable(file) from error
    return sha.hexdigest()


def base_model_folder() -> Path:
    """The folder of one version of the base model's SavedModel.

    The first call makes it from the package's weights, in the user's cache or, where that cannot
    be written, in a temporary folder. Every version of the code makes its own, because the graph
    comes from the code.

    Raises:
        SwarError: the cache cannot be written, or the weights cannot be read.
    """
    name = f"base-{base_digest()[:12]}-{_code_digest()[:12]}"
    cache = user_cache()
    if cache is not None and _is_there(folder := cache / name / _VERSION):
        return folder
    try:
        if cache is None or not (os.environ.get("XDG_CACHE_HOME") or is_writable(cache)):
            cache = temporary_cache()
        versions = cache / name
        folder = versions / _VERSION
        if _is_there(folder):
            return folder
        progress.info("making the base model ready, once: %s", folder)
        # Another process may have been quicker; its folder is as good.
        with contextlib.suppress(FolderInUse), new_folder(versions) as partial:
            _export(partial / _VERSION)
            write_digests(partial / _VERSION)
    except OSError as error:
        place = cache or "a temporary folder"
        raise SwarError(
            f"the base model cannot be written to {place}: {error.strerror or error}: "
            "set XDG_CACHE_HOME to a folder that can be written"
        ) from error
    return folder


def _is_there(folder: Path) -> bool:
    # Path.is_file would raise where the folder is not readable.
    return os.path.isfile(folder / GRAPH)


def _export(folder: Path) -> None:
    from components.model.calibration import Calibration
    from components.model.export import export

    base = BaseModel.read()
    card = base.card
    export(
        base.tower(),
        Calibration(card["threshold"], card["slope"]),
        base.front_end(),
        card,
        str(folder),
        unit_norm=base.trainer_settings().unit_norm,
        normalisation=base.normalisation,
    )


def _files(folder: Path | None) -> tuple[Path, Path]:
    place = folder if folder is not None else Path(str(resources.files("pretrained")))
    return place / WEIGHTS_FILE, place / CARD_FILE


def _unreadable(file: Path) -> SwarError:
    return SwarError(f"the base model cannot be read from {file}: install swar again")


def _code_digest() -> str:
    """sha256 of the source code that makes a SavedModel."""
    source = Path(__file__).parents[1]
    sha = hashlib.sha256()
    for path in sorted(source.rglob("*.py")):
        sha.update(str(path.relative_to(source)).encode())
        sha.update(path.read_bytes())
    return sha.hexdigest()
