"""The conditions that a model is evaluated under, such as noise, a room or a codec.

In a trial, speech under a condition is compared with unchanged speech, or both sides are under the
condition. Conditions are applied to the recordings themselves, with seeded random draws.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Final, Literal

import numpy as np

from components.degradation import (
    Samples,
    coded,
    coloured_noise,
    hum,
    mix,
    reverberate,
    telephone,
)
from components.errors import SwarError

Condition = Callable[[Samples, int, np.random.Generator], Samples]
"""Changes float32 [samples] of full scale 1, given their rate in Hz and a random generator."""

CLEAN: Final = "clean"
WHITE, PINK = 0.0, 1.0
ROOM_SECONDS: Final = 0.4
HUM_SNR_DB: Final = 10.0
LEVEL_DB: Final = -40.0


def _noise(
    samples: Samples, _: int, generator: np.random.Generator, *, colour: float, snr_db: float
) -> Samples:
    return mix(samples, coloured_noise(len(samples), colour, generator), snr_db)


def _telephone(samples: Samples, sample_rate: int, _: np.random.Generator) -> Samples:
    return telephone(samples, sample_rate)


def _coded(
    samples: Samples, sample_rate: int, _: np.random.Generator, *, codec: Literal["mp3", "opus"]
) -> Samples:
    return coded(samples, sample_rate, codec)


def _room(samples: Samples, sample_rate: int, generator: np.random.Generator) -> Samples:
    return reverberate(samples, sample_rate, ROOM_SECONDS, generator)


def _hum(samples: Samples, sample_rate: int, generator: np.random.Generator) -> Samples:
    return hum(samples, sample_rate, HUM_SNR_DB, generator)


def _quiet(samples: Samples, _: int, __: np.random.Generator) -> Samples:
    return samples * np.float32(10.0 ** (LEVEL_DB / 20.0))


CONDITIONS: Final[Mapping[str, Condition]] = {
    "white_noise_20_db": partial(_noise, colour=WHITE, snr_db=20.0),
    "white_noise_10_db": partial(_noise, colour=WHITE, snr_db=10.0),
    "pink_noise_10_db": partial(_noise, colour=PINK, snr_db=10.0),
    "telephone": _telephone,
    "mp3": partial(_coded, codec="mp3"),
    "opus": partial(_coded, codec="opus"),
    "room": _room,
    "hum": _hum,
    "quiet": _quiet,
}
"""Conditions by name, without `clean`, the unchanged recordings."""


def choose_conditions(names: Sequence[str]) -> tuple[str, ...]:
    """The named conditions without `clean`, in the order of CONDITIONS; all if none is named.

    Raises:
        SwarError: there is no such condition.
    """
    for name in names:
        if name != CLEAN and name not in CONDITIONS:
            known = ", ".join([CLEAN, *CONDITIONS])
            raise SwarError(f"no condition is called {name!r}: choose among {known}")
    return tuple(name for name in CONDITIONS if not names or name in names)
