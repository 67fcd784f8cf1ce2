"""A picture of a recording, for people to look at; nothing is computed from it."""

import io
from typing import Final

import numpy as np
import numpy.typing as npt
from PIL import Image

Samples = npt.NDArray[np.float32]

_N_FFT: Final = 512
_HOP_SAMPLES: Final = 128
_RANGE_DB: Final = 70.0
_MAX_COLUMNS: Final = 900
_HEIGHT: Final = 160
# From dark to light, so that the picture is clear in grey too.
_COLOURS: Final = ((9, 7, 32), (66, 15, 117), (158, 47, 127), (239, 93, 94), (253, 190, 133))


def spectrogram_png(samples: Samples) -> bytes:
    """Draws the power of a recording over time (left to right) and frequency (upwards).

    Args:
        samples: float32 [samples], at least one.

    Returns:
        A PNG file, at most 900 pixels wide and 160 high, of the 70 dB below the loudest point.
        Frequency is linear, from 0 to half the sample rate.
    """
    level_db = _level_db(samples)
    shades = np.clip(1.0 + level_db / _RANGE_DB, 0.0, 1.0) * 255.0
    image = Image.fromarray(np.flipud(shades.T).astype(np.uint8))
    image.putpalette(_palette())
    file = io.BytesIO()
    image.resize((image.width, _HEIGHT), Image.Resampling.NEAREST).save(file, "PNG")
    return file.getvalue()


def _level_db(samples: Samples) -> npt.NDArray[np.float32]:
    """dB relative to the loudest point, float32 [columns, 1 + n_fft / 2]."""
    padded = np.pad(samples, _N_FFT // 2)
    frames = np.lib.stride_tricks.sliding_window_view(padded, _N_FFT)[::_HOP_SAMPLES]
    # A column shows the loudest of its frames, so that no short sound is lost.
    columns = min(_MAX_COLUMNS, len(frames))
    edges = np.linspace(0, len(frames), columns + 1).astype(int)
    parts = np.split(frames, edges[1:-1])
    window = np.hanning(_N_FFT).astype(np.float32)
    power = np.stack(
        [(np.abs(np.fft.rfft(part * window)) ** 2).max(axis=0) for part in parts]
    ).astype(np.float32)
    loudest = power.max()
    if loudest == 0.0:
        return np.full(power.shape, -np.inf, np.float32)
    level_db: npt.NDArray[np.float32] = np.maximum(power / loudest, np.finfo(np.float32).tiny)
    np.log10(level_db, out=level_db)
    level_db *= 10.0
    return level_db


def _palette() -> bytes:
    anchors = np.array(_COLOURS, np.float64)
    at = np.linspace(0, len(anchors) - 1, 256)
    channels = [np.interp(at, np.arange(len(anchors)), anchors[:, rgb]) for rgb in range(3)]
    return np.stack(channels, axis=1).round().astype(np.uint8).tobytes()
