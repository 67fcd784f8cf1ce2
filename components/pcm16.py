"""16-bit samples and WAV files of them, without TensorFlow."""

import io
import wave
from typing import Final

import numpy as np
import numpy.typing as npt

INT16_PEAK: Final = 32767


def to_pcm16(samples: npt.NDArray[np.float32]) -> npt.NDArray[np.int16]:
    """Converts to 16-bit samples of the same level, or of full scale if they exceed it.

    They are never made louder, since a recording's level tells a model what is silence.

    Args:
        samples: float32 [samples], full scale 1.

    Returns:
        int16 [samples], rounded.
    """
    full_scale = np.max(np.abs(samples), initial=np.float32(1.0))
    scaled: npt.NDArray[np.float32] = np.rint(samples / full_scale * np.float32(INT16_PEAK))
    return scaled.astype(np.int16)


def read_wav(wav: bytes) -> tuple[npt.NDArray[np.int16], int] | None:
    """The samples, int16 [samples], and the rate in Hz; None if it is no mono 16-bit WAV file."""
    try:
        with wave.open(io.BytesIO(wav)) as reader:
            if (reader.getnchannels(), reader.getsampwidth()) != (1, 2):
                return None
            frames = reader.readframes(reader.getnframes())
            return np.frombuffer(frames, "<i2").astype(np.int16), reader.getframerate()
    except (wave.Error, EOFError, RuntimeError, ValueError):
        return None


def pack_wav(pcm16: npt.NDArray[np.int16], sample_rate: int) -> bytes:
    """A mono WAV file of int16 samples."""
    file = io.BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setparams((1, 2, sample_rate, 0, "NONE", "not compressed"))
        writer.writeframes(pcm16.astype("<i2").tobytes())
    return file.getvalue()
