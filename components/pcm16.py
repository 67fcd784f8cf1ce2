"""16-bit samples and WAV files of them, without TensorFlow."""

import io
import wave
from typing import Final

import numpy as np
import numpy.typing as npt

INT16_PEAK: Final = 32767


def at_peak(samples: npt.NDArray[np.float32]) -> npt.NDArray[np.int16]:
    """int16 [samples] whose largest is full scale; silence stays silence."""
    peak = np.max(np.abs(samples), initial=np.float32(0.0))
    scaled = samples / peak * np.float32(INT16_PEAK) if peak > 0.0 else samples
    return scaled.astype(np.int16)


def to_pcm16(samples: npt.NDArray[np.float32]) -> npt.NDArray[np.int16]:
    """int16 [samples] of float32 with full scale 1; what exceeds it is clipped."""
    return np.round(np.clip(samples, -1.0, 1.0) * INT16_PEAK).astype(np.int16)


def pack_wav(pcm16: npt.NDArray[np.int16], sample_rate: int) -> bytes:
    """A mono WAV file of int16 samples."""
    file = io.BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setparams((1, 2, sample_rate, 0, "NONE", "not compressed"))
        writer.writeframes(pcm16.astype("<i2").tobytes())
    return file.getvalue()
