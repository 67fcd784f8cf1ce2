"""What speakers say, degraded as in training: a threshold must hold on a telephone too."""

from dataclasses import replace
from typing import Final

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from components.trainer.augmentation import BatchAugmentation
from components.trainer.data import Windows
from components.trainer.utterances import DEGRADED

_AT_ONCE: Final = 1_024  # windows: memory


def degraded(windows: Windows, augmentation: BatchAugmentation, seed: int) -> Windows:
    """The same windows, as another room, line or company would have left them.

    All windows of a recording are degraded alike, but for the one recording in a thousand windows
    where a batch ends.

    Args:
        windows: clean.
        augmentation: what may happen to them.
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
    """The same windows, half of them as another room, line or company would have left them.

    Every second recording of a speaker, and of who has only one its later half, which counts as
    a recording of its own from there on. All windows of a recording are degraded alike.

    Args:
        windows: clean.
        augmentation: what may happen to them.
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
