"""Another encoder's embeddings of the recordings, as a training target of the tower."""

import zipfile
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from components.errors import SwarError
from components.mean_embedding import like_embeddings
from components.settings import TrainerSettings

SPEAKER: Final = "speaker"
RECORDING: Final = "recording"
EMBEDDING: Final = "embedding"
# A control character, which no name holds.
_SEPARATOR: Final = "\x1f"


class Teacher:
    """Looks up the embeddings of recordings, within a graph.

    A recording at another speed has its own speaker, and so its own embedding.
    """

    def __init__(self, settings: TrainerSettings) -> None:
        """Reads `settings.teacher`.

        Raises:
            SwarError: it is missing or unreadable, or its embeddings' size is not the tower's.
        """
        self._path = settings.teacher
        try:
            with np.load(Path(settings.teacher or "")) as stored:
                speaker, recording = stored[SPEAKER], stored[RECORDING]
                embedding = stored[EMBEDDING].astype(np.float32)
        except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
            raise SwarError(
                f"trainer.teacher {self._path!r} cannot be read: name a file of embeddings "
                f"({SPEAKER}, {RECORDING}, {EMBEDDING}), or null"
            ) from error
        rows = len(recording)
        if len(speaker) != rows or embedding.shape != (rows, settings.embedding_size):
            raise SwarError(
                f"trainer.teacher {self._path!r} holds {rows} recordings, {len(speaker)} speakers "
                f"and embeddings of {list(embedding.shape)}: give a row of each for a recording, "
                "and set trainer.embedding_size to the teacher's"
            )
        names = [_SEPARATOR.join(pair).encode() for pair in zip(speaker, recording, strict=True)]
        # Centred: an encoder whose values are never negative, as is usual, has all speakers in one
        # corner, while the other losses spread them in all directions.
        self._embedding = tf.constant(
            like_embeddings(embedding - embedding.mean(axis=0), unit_norm=True)
        )
        self._row = tf.lookup.StaticHashTable(
            tf.lookup.KeyValueTensorInitializer(names, tf.range(len(names), dtype=tf.int64)), -1
        )

    def __call__(self, speaker: tf.Tensor, recording: tf.Tensor) -> tf.Tensor:
        """The embeddings of recordings.

        Args:
            speaker: string [N], as `pairs` names them; another name for another speed.
            recording: string [N].

        Returns:
            float32 [N, D], of length 1.

        Raises:
            tf.errors.InvalidArgumentError: the file lacks one (raised when the graph runs).
        """
        row = self._row.lookup(tf.strings.join([speaker, recording], _SEPARATOR))
        missing = row < 0
        unheard = tf.stack([tf.boolean_mask(each, missing) for each in (speaker, recording)])
        message = f"not in trainer.teacher {self._path}:"
        check = tf.debugging.Assert(tf.equal(tf.size(unheard), 0), [message, unheard])
        # An operation in a graph; outside one, None: it has raised already.
        with tf.control_dependencies([check] if check is not None else []):
            return tf.gather(self._embedding, row)


def write(
    path: Path, speakers: list[str], recordings: list[str], embedding: npt.NDArray[np.float32]
) -> None:
    """Writes a file that `Teacher` reads.

    Args:
        path: ends in `.npz`.
        speakers: [N], as `pairs` names them.
        recordings: [N], as `pairs` names them.
        embedding: float32 [N, D].
    """
    names = {SPEAKER: np.array(speakers), RECORDING: np.array(recordings)}
    np.savez(path, allow_pickle=False, **names, **{EMBEDDING: embedding.astype(np.float16)})
