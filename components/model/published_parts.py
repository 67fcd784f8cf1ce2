"""The parts that a published version was exported from, to change or to release it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from components.errors import SwarError
from components.model.files import TOWER_WEIGHTS, read_card
from components.model.normalisation import CohortNormalisation
from components.model.recordings import FrontEnd
from components.model.tower import served_tower
from components.settings import TrainerSettings

_COHORT: Final = "_normalisation/cohort/.ATTRIBUTES/VARIABLE_VALUE"


@dataclass(frozen=True)
class PublishedParts:
    """The arguments that `components.model.export` was called with."""

    card: dict[str, Any]
    trainer: TrainerSettings
    front_end: FrontEnd
    tower: keras.Model
    """Maps uint8 windows to embeddings, with the published weights."""
    cohort: npt.NDArray[np.float32] | None
    """[C, D], for normalised distances; None for Euclidean distances."""

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Reads a version.

        Args:
            folder: the version's, its digests already checked: see `PublishedModel`.

        Raises:
            SwarError: it was published by another version of the code.
        """
        card = read_card(folder)
        variables = str(folder / "variables" / "variables")
        try:
            front_end = FrontEnd.of_card(card)
            trainer = TrainerSettings.known(card["trainer"])
            tower = served_tower(trainer, front_end.spectrogram, front_end.speech.sample_rate)
            tower.load_weights(folder / TOWER_WEIGHTS)
            cohort = None
            if trainer.normalisation_nearest:
                cohort = tf.train.load_variable(variables, _COHORT)
        except (KeyError, ValueError, OSError, tf.errors.OpError) as error:
            raise SwarError(
                f"{folder} was published by another version of swar: publish it again"
            ) from error
        return cls(card, trainer, front_end, tower, cohort)

    @property
    def normalisation(self) -> CohortNormalisation | None:
        """Normalises distances; None for Euclidean distances."""
        if self.cohort is None:
            return None
        return CohortNormalisation(self.cohort, self.trainer.normalisation_nearest)
