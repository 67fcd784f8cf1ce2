"""Detects speech in audio tracks by NumPy alone, as clients have no TensorFlow."""

import enum
from collections import deque
from collections.abc import Iterable
from typing import Final

import numpy as np
import numpy.typing as npt

_LEAST_DBFS: Final = -70.0
"""Sound below it is inaudible, as in `speech_detection`."""
_VOICE_HZ: Final = (150.0, 3_800.0)
"""Above mains hum and rumble, and roughly what a telephone passes."""
# Long enough for the power of any steady noise to be steady, short enough for syllables.
_FRAME_SECONDS: Final = 0.1
_FLOOR_PERCENT: Final = 10
_LOUDEST_PERCENT: Final = 95
_ABOVE_FLOOR_DB: Final = 6.0
_BELOW_LOUDEST_DB: Final = 30.0
_LEAST_SPEECH_SECONDS: Final = 0.5
_WINDOW_SECONDS: Final = 30

Frames = npt.NDArray[np.float32]
Power = npt.NDArray[np.float64]


class TrackSound(enum.IntEnum):
    """What a track holds; higher values are more useful."""

    SILENCE = 0
    NO_SPEECH = 1
    """Sound that is as steady as noise or hum."""
    SPEECH = 2


def track_sound(seconds: Iterable[Frames], rate: int) -> TrackSound:
    """Classifies a track; no more of it is read than it takes to find speech.

    Speech changes as syllables do: in any channel, half a second within 30 s is 6 dB above the
    background, which is the power that a tenth of the frames do not exceed. Music does so too.

    Args:
        seconds: float32 [rate, channels], full scale 1; the last one may be shorter.
        rate: Hz.
    """
    is_heard = False
    window: deque[Power] = deque(maxlen=_WINDOW_SECONDS)
    for number, second in enumerate(seconds, 1):
        is_heard |= bool(np.max(np.abs(second), initial=0.0) > 10.0 ** (_LEAST_DBFS / 20.0))
        window.append(_voice_power(second, rate))
        if number % _WINDOW_SECONDS == 0 and _is_speech(window):
            return TrackSound.SPEECH
    if window and _is_speech(window):
        return TrackSound.SPEECH
    return TrackSound.NO_SPEECH if is_heard else TrackSound.SILENCE


def _voice_power(second: Frames, rate: int) -> Power:
    """Mean square in the band of voices, [frames, channels]."""
    size = round(_FRAME_SECONDS * rate)
    taper = np.hanning(size)
    hertz = np.fft.rfftfreq(size, 1.0 / rate)
    in_band = (hertz >= _VOICE_HZ[0]) & (hertz <= _VOICE_HZ[1])
    whole = second[: len(second) // size * size]
    spectra = (np.fft.rfft(samples.reshape(-1, size) * taper)[:, in_band] for samples in whole.T)
    sums = [np.sum(np.square(np.abs(spectrum)), axis=1) for spectrum in spectra]
    power: Power = np.stack(sums, axis=1) / (size * np.sum(np.square(taper)) / 2.0)
    return power


def _is_speech(window: Iterable[Power]) -> bool:
    """Whether a channel of [frames, channels] of each second is speech."""
    return any(map(_varies_as_speech, np.concatenate([*window]).T))


def _varies_as_speech(power: Power) -> bool:
    """Whether one channel, [frames], is speech."""
    heard = power[power > 10.0 ** (_LEAST_DBFS / 10.0)]
    if not len(heard):
        return False
    floor, loudest = np.percentile(heard, [_FLOOR_PERCENT, _LOUDEST_PERCENT])
    least = max(
        floor * 10.0 ** (_ABOVE_FLOOR_DB / 10.0), loudest * 10.0 ** (-_BELOW_LOUDEST_DB / 10.0)
    )
    return bool(np.sum(heard > least) * _FRAME_SECONDS >= _LEAST_SPEECH_SECONDS)
