"""A mark on a trained model that was taken back after it had been published.

A file in the folder of the Model artifact: ML Metadata's record must stay as it is, since TFX's
cache goes by it, and would evaluate and publish the model once more.
"""

import os
from typing import Final

from tfx.dsl.io import fileio

_MARK: Final = "ROLLED_BACK"


def is_rolled_back(model_uri: str) -> bool:
    """Whether the model must be neither published nor a baseline."""
    return bool(fileio.exists(os.path.join(model_uri, _MARK)))


def rolled_back_at(model_uri: str) -> str | None:
    """When it was, in UTC; None where it was not."""
    if not is_rolled_back(model_uri):
        return None
    with fileio.open(os.path.join(model_uri, _MARK)) as file:
        return str(file.read()).strip()


def mark_rolled_back(model_uri: str, time: str) -> None:
    """Marks a model that was published, unless somebody has cleaned it up.

    A folder with nothing but the mark would be a model to TFX's cache.

    Args:
        model_uri: folder of the artifact.
        time: now, in UTC.
    """
    if fileio.exists(model_uri):
        with fileio.open(os.path.join(model_uri, _MARK), "w") as file:
            file.write(f"{time}\n")


def clear_rolled_back(model_uri: str) -> None:
    """Removes the mark, if there is one: the model is published again."""
    if is_rolled_back(model_uri):
        fileio.remove(os.path.join(model_uri, _MARK))
