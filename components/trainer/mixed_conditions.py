"""Windows degraded as in training, because a threshold must hold on a telephone too."""

from dataclasses import replace
from typing import Final

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from components.trainer.augmentation import BatchAugmentation
from components.trainer.data import Windows
from components.trainer.utterances import DEGRADED

_AT_ONCE: Final = 1_024  # windows, to bound memory


def degraded(windows: Windows, augmentation: BatchAugmentation, seed: int) -> Windows:
    """Degrades windows as another room, line or other speakers would have.

    All windows of a recording are degraded alike, except for a recording that the end of a batch
    of 1,024 windows divides.

    Args:
        windows: clean.
        augmentation: degrades them.
        seed: of the draws.
    """
    changed = windows.spectrogram.copy()
    order = np.argsort(windows.recording, kind="stable")
    for start in range(0, len(order), _AT_ONCE):
        rows = order[start : start + _AT_ONCE]
        _, group = np.unique(windows.recording[rows], return_inverse=True)
        changed[rows] = augmentation(
            tf.constant(windows.spectrogram[rows]),
            tf.constant(seed + start),
            tf.constant(group, tf.int32),
        ).numpy()
    return replace(windows, spectrogram=changed)


def half_degraded(windows: Windows, augmentation: BatchAugmentation, seed: int) -> Windows:
    """Degrades half of the windows as another room, line or other speakers would have.

    This half is every second recording of a speaker. Of a speaker's only recording it is the later
    half, which then counts as another recording. All windows of a recording are degraded alike.

    Args:
        windows: clean.
        augmentation: degrades them.
        seed: of the draws.
    """
    later = _later_half(windows)
    recording = np.where(later, np.char.add(windows.recording.astype(bytes), DEGRADED), b"")
    _, group = np.unique(recording, return_inverse=True)
    changed = augmentation(
        tf.constant(windows.spectrogram), tf.constant(seed), tf.constant(group, tf.int32)
    ).numpy()
    return replace(
        windows,
        spectrogram=np.where(later[:, np.newaxis, np.newaxis], changed, windows.spectrogram),
        recording=np.where(later, recording, windows.recording),
    )


def _later_half(windows: Windows) -> npt.NDArray[np.bool_]:
    """[windows]: whether a window is to be degraded."""
    later = np.zeros(len(windows.speaker), bool)
    for speaker in np.unique(windows.speaker):
        rows = np.flatnonzero(windows.speaker == speaker)
        names, recording = np.unique(windows.recording[rows], return_inverse=True)
        if len(names) > 1:
            later[rows] = recording % 2 == 1
        else:
            start = windows.start_seconds[rows]
            later[rows] = start > np.median(start)
    return later
