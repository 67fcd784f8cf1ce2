"""Degrades windows to train on, drawn by keyed seeds.

Levels are not changed, since every spectrogram is relative to its window's own peak.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from components.degradation import (
    MAINS_HERTZ,
    NOISE_COLOURS,
    RIPPLE_DB,
    Samples,
    coded,
    coloured_noise,
    hum,
    in_room,
    low_pass,
    mix,
    reverberate,
    telephone,
    tilt,
)
from components.settings import AugmentationSettings
from components.spectrogram_pair_gen.recorded_sounds import NONE_RECORDED, RecordedSounds


@dataclass(frozen=True)
class _Draw:
    """What a change is drawn from."""

    sample_rate: int
    settings: AugmentationSettings
    babble: Callable[[], Samples | None]
    recorded: RecordedSounds
    generator: np.random.Generator


def _reverberation(samples: Samples, draw: _Draw) -> Samples:
    if draw.recorded.rooms:
        room = draw.recorded.draw_room(draw.generator)
        return in_room(samples, room.response, room.direct)
    seconds = draw.generator.uniform(*draw.settings.reverberation_seconds)
    return reverberate(samples, draw.sample_rate, seconds, draw.generator)


def _noise(samples: Samples, draw: _Draw) -> Samples:
    noise = draw.babble() if draw.generator.random() < 0.5 else None
    if noise is None:
        noise = _background(len(samples), draw)
    return mix(samples, noise, draw.generator.uniform(*draw.settings.noise_snr_db))


def _background(length: int, draw: _Draw) -> Samples:
    if draw.recorded.noises:
        return draw.recorded.draw_noise(length, draw.generator)
    colour = draw.generator.choice(NOISE_COLOURS)
    return coloured_noise(length, colour, draw.generator)


def _hum(samples: Samples, draw: _Draw) -> Samples:
    snr_db = draw.generator.uniform(*draw.settings.hum_snr_db)
    mains_hertz = draw.generator.choice(MAINS_HERTZ)
    return hum(samples, draw.sample_rate, snr_db, draw.generator, mains_hertz)


def _tilt(samples: Samples, draw: _Draw) -> Samples:
    slope = draw.generator.uniform(*draw.settings.tilt_db_per_octave)
    return tilt(samples, draw.sample_rate, slope, RIPPLE_DB, draw.generator)


def _narrow_band(samples: Samples, draw: _Draw) -> Samples:
    hertz = draw.generator.uniform(*draw.settings.narrow_band_hertz)
    return low_pass(samples, draw.sample_rate, hertz)


def _telephone(samples: Samples, draw: _Draw) -> Samples:
    return telephone(samples, draw.sample_rate)


def _codec(samples: Samples, draw: _Draw) -> Samples:
    codec: Final = "mp3" if draw.generator.random() < 0.5 else "opus"
    return coded(_with_peak(samples, 1.0), draw.sample_rate, codec)


_CHANGES: Final[Mapping[str, Callable[[Samples, _Draw], Samples]]] = {
    "reverberation": _reverberation,
    "noise": _noise,
    "hum": _hum,
    "tilt": _tilt,
    "narrow_band": _narrow_band,
    "telephone": _telephone,
    "codec": _codec,
}


def augment(
    samples: Samples,
    sample_rate: int,
    settings: AugmentationSettings,
    babble: Callable[[], Samples | None],
    generator: np.random.Generator,
    recorded: RecordedSounds = NONE_RECORDED,
) -> Samples:
    """Simulates another room, background, microphone or line for a window.

    Each change happens with its own probability, in the order in which sound meets them: the
    room, other sounds in it, the microphone, the line.

    Args:
        samples: [n], any scale.
        sample_rate: Hz.
        settings: probabilities and ranges.
        babble: returns [n] of other speakers' speech; None if there is none, to use noise.
        generator: draws everything.
        recorded: rooms and noises at the sample rate, which replace simulated rooms and coloured
            noise.

    Returns:
        [n], with the same peak, so that nothing is clipped.
    """
    draw = _Draw(sample_rate, settings, babble, recorded, generator)
    chances = generator.random(len(_CHANGES))
    changed = samples
    for (name, probability), chance in zip(settings.probabilities.items(), chances, strict=True):
        if chance < probability:
            changed = _CHANGES[name](changed, draw)
    if changed is samples:
        return samples
    return _with_peak(changed, float(np.max(np.abs(samples))))


def _with_peak(samples: Samples, peak: float) -> Samples:
    highest = float(np.max(np.abs(samples)))
    return samples if highest == 0.0 else (samples * (peak / highest)).astype(np.float32)
