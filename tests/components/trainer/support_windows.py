"""Windows whose spectrograms nobody looks at."""

import numpy as np

from components.trainer import data
from tests.support_pairs import FRAMES, MELS


def windows_of(*rows):
    """Windows of (speaker, recording, start)."""
    speaker, recording, start = zip(*rows, strict=True)
    return data.Windows(
        spectrogram=np.zeros((len(rows), MELS, FRAMES), np.uint8),
        speaker=np.array(speaker, object),
        recording=np.array(recording, object),
        start_seconds=np.array(start, np.float32),
    )
