"""Which degradations a window to train on gets, drawn by keyed seeds.

A change of level is none of them: every spectrogram is relative to its window's own peak.
"""

from collections.abc import Callable
from typing import Final

import numpy as np

from components.degradation import Samples, coloured_noise, mix, reverberate, telephone
from components.settings import AugmentationSettings

_NOISE_COLOURS: Final = (0.0, 1.0, 2.0)  # white, pink, brown: power falls with frequency ** colour


def augment(
    samples: Samples,
    sample_rate: int,
    settings: AugmentationSettings,
    babble: Callable[[], Samples | None],
    generator: np.random.Generator,
) -> Samples:
    """A window as another room, line or company would have left it.

    Each change happens with its own probability, in the order in which sound meets them: the
    room, other sounds in it, the line.

    Args:
        samples: [n], any scale.
        sample_rate: Hz.
        settings: probabilities and ranges.
        babble: gives [n] of other people's speech; None where there is none: then it is noise.
        generator: draws everything.

    Returns:
        [n], the peak as before, so that nothing is clipped.
    """
    chances = generator.random(3)
    changed = samples
    if chances[0] < settings.reverberation_probability:
        seconds = generator.uniform(*settings.reverberation_seconds)
        changed = reverberate(changed, sample_rate, seconds, generator)
    if chances[1] < settings.noise_probability:
        noise = babble() if generator.random() < 0.5 else None
        if noise is None:
            noise = coloured_noise(len(samples), generator.choice(_NOISE_COLOURS), generator)
        changed = mix(changed, noise, generator.uniform(*settings.noise_snr_db))
    if chances[2] < settings.telephone_probability:
        changed = telephone(changed, sample_rate)
    if changed is samples:
        return samples
    return _with_peak(changed, float(np.max(np.abs(samples))))


def _with_peak(samples: Samples, peak: float) -> Samples:
    found = float(np.max(np.abs(samples)))
    return samples if found == 0.0 else (samples * (peak / found)).astype(np.float32)
