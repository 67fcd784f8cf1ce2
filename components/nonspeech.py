"""Synthetic sounds without a voice that a model must not take for a speaker."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from components.degradation import Samples, coloured_noise
from components.keyed_random import keyed_generator

Wave = npt.NDArray[np.floating]
Sound = Callable[[int, int, np.random.Generator], Wave]
"""Makes samples of any level from their number, their rate in Hz and a generator."""

PEAK: Final = 0.5
TAKES: Final = 2
_DTMF_HZ: Final = ((697.0, 770.0, 852.0, 941.0), (1_209.0, 1_336.0, 1_477.0))
_CHORD_SEMITONES: Final = ((0, 4, 7), (0, 3, 7), (0, 5, 9))
_SEMITONE: Final = 2.0 ** (1.0 / 12.0)
_LEAST_SIGNIFICANT_BIT: Final = 2.0**-15


def _noise(length: int, _: int, generator: np.random.Generator, *, colour: float) -> Wave:
    return coloured_noise(length, colour, generator)


def _sine(length: int, rate: int, hertz: float) -> Wave:
    wave: Wave = np.sin(2.0 * np.pi * hertz * np.arange(length) / rate)
    return wave


def _total(waves: Sequence[Wave]) -> Wave:
    total: Wave = np.sum(waves, axis=0)
    return total


def _tone(length: int, rate: int, generator: np.random.Generator) -> Wave:
    return _sine(length, rate, generator.uniform(200.0, 1_000.0))


def _hum(length: int, rate: int, generator: np.random.Generator) -> Wave:
    mains = generator.choice([50.0, 60.0]) + generator.uniform(-0.2, 0.2)
    return _total([_sine(length, rate, mains * k) / k for k in (1, 2, 3, 5, 7)])


def _modulated_tone(length: int, rate: int, generator: np.random.Generator) -> Wave:
    """A harmonic tone with a vibrato, whose level changes as in syllables."""
    seconds = np.arange(length) / rate
    pitch = generator.uniform(100.0, 250.0) * (1.0 + 0.03 * np.sin(2.0 * np.pi * 5.0 * seconds))
    phase = 2.0 * np.pi * np.cumsum(pitch) / rate
    loudness = 1.0 + np.sin(2.0 * np.pi * generator.uniform(3.0, 5.0) * seconds)
    return loudness * _total([np.sin(k * phase) / k for k in range(1, 12)])


def _dtmf(length: int, rate: int, generator: np.random.Generator) -> Wave:
    """A telephone's keys, 150 ms each, 100 ms apart."""
    sound = np.zeros(length)
    pressed = round(0.15 * rate)
    for start in range(0, length, round(0.25 * rate)):
        part = sound[start : start + pressed]
        part += sum(_sine(len(part), rate, generator.choice(group)) for group in _DTMF_HZ)
    return sound


def _chords(length: int, rate: int, generator: np.random.Generator) -> Wave:
    """Three strings plucked together every half second."""
    sound = np.zeros(length)
    beat = rate // 2
    for start in range(0, length, beat):
        part = sound[start : start + beat]
        root = generator.uniform(110.0, 330.0)
        decay = np.exp(-3.0 * np.arange(len(part)) / rate)
        for semitones in _CHORD_SEMITONES[generator.integers(len(_CHORD_SEMITONES))]:
            hertz = root * _SEMITONE**semitones
            part += decay * sum(_sine(len(part), rate, hertz * k) / k for k in (1, 2, 3))
    return sound


def _clicks(length: int, rate: int, generator: np.random.Generator) -> Wave:
    """About eight clicks a second, each of 2 ms of noise."""
    sound = np.zeros(length)
    for start in generator.integers(length, size=max(1, 8 * length // rate)):
        part = sound[start : start + rate // 500]
        part += generator.standard_normal(len(part))
    return sound


def _dither(length: int, _: int, generator: np.random.Generator) -> Wave:
    """Silence as a converter records it: at most one bit up or down."""
    return _LEAST_SIGNIFICANT_BIT * generator.integers(-1, 2, length)


NONSPEECH: Final[Mapping[str, Sound]] = {
    "white_noise": partial(_noise, colour=0.0),
    "pink_noise": partial(_noise, colour=1.0),
    "brown_noise": partial(_noise, colour=2.0),
    "tone": _tone,
    "modulated_tone": _modulated_tone,
    "dtmf": _dtmf,
    "chords": _chords,
    "clicks": _clicks,
    "hum": _hum,
    "dither": _dither,
}
"""Sounds by name."""


class NonSpeech(NamedTuple):
    """A sound without speech."""

    kind: str
    """A name in NONSPEECH."""
    take: int
    samples: Samples
    """float32 [samples] with the peak PEAK, or one bit of 16 for dither."""


def nonspeech(sample_rate: int, seconds: float, seed: int) -> Iterator[NonSpeech]:
    """Yields TAKES sounds of every kind, which differ as two recordings do.

    Args:
        sample_rate: Hz.
        seconds: duration of each.
        seed: decides, with kind and take, what is drawn.
    """
    length = round(seconds * sample_rate)
    for kind, sound in NONSPEECH.items():
        for take in range(TAKES):
            drawn = sound(length, sample_rate, keyed_generator(seed, "nonspeech", kind, take))
            gain = 1.0 if kind == "dither" else PEAK / np.max(np.abs(drawn))
            yield NonSpeech(kind, take, (gain * drawn).astype(np.float32))
