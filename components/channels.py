"""What a voice came through, as far as its file tells."""

import os
from typing import Final

from components import audio

TELEPHONE: Final = "telephone"
WIDEBAND: Final = "wideband"
UNKNOWN: Final = "unknown"
CHANNELS: Final = (TELEPHONE, WIDEBAND, UNKNOWN)
TELEPHONE_RATE_HZ: Final = 8_000


def channel_of(path: str | os.PathLike[str]) -> str:
    """The channel of a file by its own rate: up to 8 kHz it is a telephone's.

    Returns:
        One of CHANNELS; "unknown" where only ffmpeg knows the file's format.
    """
    sample_rate = audio.own_sample_rate(path)
    if sample_rate is None:
        return UNKNOWN
    return TELEPHONE if sample_rate <= TELEPHONE_RATE_HZ else WIDEBAND
