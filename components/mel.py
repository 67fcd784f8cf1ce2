"""Slaney's mel bands as in librosa, which the pipeline does not import.

librosa compiles functions at its import, and fails if no folder can be written to: under another
user, in a container or on a read-only disk.
"""

from typing import Final, Literal

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]

# Slaney's Auditory Toolbox (1998): straight below 1 kHz, logarithmic above it.
_HERTZ_PER_MEL: Final = 200.0 / 3.0
_BEND_HERTZ: Final = 1_000.0
_BEND_MEL: Final = _BEND_HERTZ / _HERTZ_PER_MEL
_LOG_STEP: Final = np.log(6.4) / 27.0


def mel_edges(n_mels: int, lowest_hertz: float, highest_hertz: float) -> Array:
    """Edges and peaks of bands: float64 [n_mels + 2] in Hz, equally spaced in mel.

    Band i begins at edge i, peaks at i + 1 and ends at i + 2.
    """
    mel = np.linspace(_to_mel(lowest_hertz), _to_mel(highest_hertz), n_mels + 2)
    hertz = _HERTZ_PER_MEL * mel
    above = mel >= _BEND_MEL
    hertz[above] = _BEND_HERTZ * np.exp(_LOG_STEP * (mel[above] - _BEND_MEL))
    return hertz


def mel_bands(
    sample_rate: int,
    n_fft: int,
    n_mels: int,
    *,
    lowest_hertz: float = 0.0,
    highest_hertz: float | None = None,
    norm: Literal["slaney"] | None = "slaney",
) -> Array:
    """Triangular weights for a power spectrum, bit-identical to `librosa.filters.mel`.

    Args:
        sample_rate: Hz.
        n_fft: samples of the Fourier transform.
        n_mels: number of bands.
        lowest_hertz: where the first band begins.
        highest_hertz: where the last band ends; None for half the rate.
        norm: "slaney" for triangles of the same area, None for peaks of 1.

    Returns:
        float64 [n_mels, n_fft // 2 + 1].
    """
    edges = mel_edges(n_mels, lowest_hertz, highest_hertz or sample_rate / 2)
    widths = np.diff(edges)[:, np.newaxis]
    ramps = edges[:, np.newaxis] - np.fft.rfftfreq(n_fft, 1.0 / sample_rate)
    weights: Array = np.maximum(0.0, np.minimum(-ramps[:-2] / widths[:-1], ramps[2:] / widths[1:]))
    if norm == "slaney":
        weights *= (2.0 / (edges[2:] - edges[:-2]))[:, np.newaxis]
    return weights


def hann(size: int) -> Array:
    """The periodic Hann window, float64 [size], bit-identical to `scipy.signal.get_window`."""
    return 0.5 + 0.5 * np.cos(np.linspace(-np.pi, np.pi, size + 1)[:-1])


def _to_mel(hertz: float) -> float:
    if hertz < _BEND_HERTZ:
        return hertz / _HERTZ_PER_MEL
    return float(_BEND_MEL + np.log(hertz / _BEND_HERTZ) / _LOG_STEP)
