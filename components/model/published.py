"""A published model in this process: embeddings of WAVs, scores of embeddings."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from components.errors import SwarError
from components.model.digest import check_digests
from components.model.files import GRAPH, read_card

_SIGNATURES: Final = ("embed", "score_embeddings")
_WAVS_AT_ONCE: Final = 32
_SCORED_AT_ONCE: Final = 2**14

Floats = npt.NDArray[np.float32]


class Embedded(NamedTuple):
    """The model's output for N recordings."""

    embedding: Floats
    """float32 [N, D], NaN unless the status is "ok"."""
    speech_seconds: Floats
    """float32 [N], silence excluded."""
    status: list[str]


def check_path(folder: Path) -> None:
    """Raises SwarError where TensorFlow cannot find a version by its path."""
    try:
        is_found = bool(tf.io.gfile.glob(str(folder / GRAPH)))
    except UnicodeEncodeError:
        is_found = False
    if not is_found:
        raise SwarError(
            f"{str(folder)!r} cannot be read by TensorFlow: brackets and backslashes in a path "
            "are a pattern to it, and it takes names in UTF-8 only: rename the folder"
        )


class PublishedModel:
    """A SavedModel that the pipeline published.

    Args:
        folder: of one version.
        is_published: whether to check the files' digests; False for a model that a run has just
            trained.

    Attributes:
        folder: the same.
        card: what `assets.extra/swar.json` says about the model.
        sample_rate: of the WAVs that it takes, in Hz.

    Raises:
        SwarError: it is no such model, was changed after publication, or cannot be loaded.
    """

    def __init__(self, folder: Path, *, is_published: bool = True) -> None:
        self.folder = folder
        self.card = read_card(folder)
        self.sample_rate = int(self.card["sample_rate"])
        check_path(folder)
        if is_published:
            check_digests(folder)
        try:
            # Kept: the signatures do not keep the model's variables alive.
            self._model = tf.saved_model.load(str(folder))
        except Exception as error:  # TensorFlow raises nearly any kind for a damaged graph
            raise SwarError(
                f"{folder} cannot be loaded ({type(error).__name__}): publish it again"
            ) from error
        if missing := [name for name in _SIGNATURES if name not in self._model.signatures]:
            raise SwarError(f"{folder} lacks the signature {', '.join(missing)}: publish it again")

    def embed(self, wavs: Sequence[bytes]) -> Embedded:
        """Embeds recordings, a few at a time.

        Args:
            wavs: [N], 16-bit PCM WAVs at `sample_rate`.
        """
        answers = [
            self.call("embed", audio=tf.constant(wavs[start : start + _WAVS_AT_ONCE], tf.string))
            for start in range(0, max(1, len(wavs)), _WAVS_AT_ONCE)
        ]
        return Embedded(
            np.concatenate([answer["embedding"] for answer in answers]),
            np.concatenate([answer["speech_seconds"] for answer in answers]),
            [status.decode() for answer in answers for status in answer["status"]],
        )

    def score(
        self, embedding_a: Floats, embedding_b: Floats
    ) -> tuple[Floats, Floats, npt.NDArray[np.bool_]]:
        """Compares embeddings, many at a time.

        Args:
            embedding_a, embedding_b: float32 [N, D].

        Returns:
            Distance, probability of the same speaker and same-speaker decision; each [N].
        """
        answers = [
            self.call(
                "score_embeddings",
                embedding_a=tf.constant(embedding_a[start : start + _SCORED_AT_ONCE]),
                embedding_b=tf.constant(embedding_b[start : start + _SCORED_AT_ONCE]),
            )
            for start in range(0, max(1, len(embedding_a)), _SCORED_AT_ONCE)
        ]
        distance, probability, same_speaker = (
            np.concatenate([answer[name] for answer in answers])
            for name in ("distance", "probability", "same_speaker")
        )
        return distance, probability, same_speaker

    def call(self, signature: str, **inputs: tf.Tensor) -> dict[str, npt.NDArray[Any]]:
        """The outputs of a signature; strings are an object array of bytes.

        Raises tf.errors.OpError where the model refuses the inputs.
        """
        answer = self._model.signatures[signature](**inputs)
        return {name: value.numpy() for name, value in answer.items()}
