"""A published model in this process, called like a served one."""

import json
import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from components.errors import SwarError
from components.model.files import model_folder, read_card
from components.quiet import tensorflow_quiet
from serving.client import DESCRIBE
from serving.wire import Input, Tensor

if TYPE_CHECKING:
    from components.model.published import PublishedModel


class InProcessTransport:
    """A transport, see `serving.transport`, to a model that it loads.

    Attributes:
        folder: of the model's version.
    """

    def __init__(self, model: str) -> None:
        """Finds a model; the first call loads it.

        Args:
            model: as `components.model.files.model_folder` takes it: `base`, or a path.

        Raises:
            SwarError: there is no such model.
        """
        with tensorflow_quiet():  # the base model may be made now
            self.folder = model_folder(model)
        self._card = read_card(self.folder)
        self._loaded: PublishedModel | None = None
        self._loading = threading.Lock()

    def predict(
        self, signature: str, inputs: Mapping[str, Input], timeout_seconds: float
    ) -> dict[str, Tensor]:
        """The signature's outputs, strings as an object array of bytes.

        Raises:
            SwarError: the model cannot be loaded, or refuses the inputs.
        """
        if signature == DESCRIBE:  # answered from the card, without TensorFlow
            return _described(self._card)
        model = self._model()
        import tensorflow as tf

        tensors = {
            name: tf.constant(value, tf.float32 if isinstance(value, np.ndarray) else tf.string)
            for name, value in inputs.items()
        }
        try:
            return model.call(signature, **tensors)
        except tf.errors.OpError as error:
            raise SwarError(f"the model refused: {' '.join(error.message.split())[:500]}") from None

    def _model(self) -> "PublishedModel":
        with self._loading:
            if self._loaded is None:
                with tensorflow_quiet():
                    import tensorflow as tf

                    from components.model.published import PublishedModel

                    self._loaded = PublishedModel(self.folder)
                    tf.constant(0)  # looks for devices, and logs what it found
            return self._loaded

    def close(self) -> None:
        """Nothing to close."""


def _described(card: Mapping[str, Any]) -> dict[str, Tensor]:
    numbers = ("sample_rate", "embedding_size", "threshold")
    texts = {"model_digest": card["model_digest"], "card": json.dumps(card)}
    return {name: np.array([card[name]]) for name in numbers} | {
        name: np.array([text.encode()], object) for name, text in texts.items()
    }
