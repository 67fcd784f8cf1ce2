"""Marks trained models that were rolled back after they had been published.

The mark is a file in the Model artifact's folder: if its record in ML Metadata changed, TFX's
cache would miss, and the model would be evaluated and published again.
"""

import os
from typing import Final

from tfx.dsl.io import fileio

_MARK: Final = "ROLLED_BACK"


def is_rolled_back(model_uri: str) -> bool:
    """Whether the model is marked: it must be neither published nor a baseline."""
    return bool(fileio.exists(os.path.join(model_uri, _MARK)))


def rolled_back_at(model_uri: str) -> str | None:
    """When the model was rolled back, in UTC; None if it was not."""
    if not is_rolled_back(model_uri):
        return None
    with fileio.open(os.path.join(model_uri, _MARK)) as file:
        return str(file.read()).strip()


def mark_rolled_back(model_uri: str, time: str) -> None:
    """Marks a published model, unless its folder was deleted.

    TFX's cache takes a folder with only a mark for a model.

    Args:
        model_uri: folder of the artifact.
        time: the current time, in UTC.
    """
    if fileio.exists(model_uri):
        with fileio.open(os.path.join(model_uri, _MARK), "w") as file:
            file.write(f"{time}\n")


def clear_rolled_back(model_uri: str) -> None:
    """Removes any mark of a model that is published again."""
    if is_rolled_back(model_uri):
        fileio.remove(os.path.join(model_uri, _MARK))
