"""What each change of `pairs.augmentation` and each condition costs for one window.

`python -m benchmarks.augmentation`: milliseconds of processor time, as the mean of many windows of
the default length.
"""

import time
from functools import partial

import numpy as np

from components.conditions import CONDITIONS, Condition
from components.degradation import Samples, coloured_noise
from components.settings import AugmentationSettings, SpectrogramSettings
from components.spectrogram_pair_gen.augmentation import augment
from components.spectrogram_pair_gen.recorded_sounds import (
    NONE_RECORDED,
    RESPONSE_SECONDS,
    RecordedSounds,
    Room,
)

RATE = 16_000
WINDOWS = 200


def augmented(
    settings: AugmentationSettings,
    samples: Samples,
    sample_rate: int,
    generator: np.random.Generator,
    recorded: RecordedSounds = NONE_RECORDED,
) -> Samples:
    """A window as another room or line would change it, without babble."""
    return augment(samples, sample_rate, settings, lambda: None, generator, recorded)


def milliseconds(change: Condition) -> float:
    """Mean processor time of a change to one window of noise."""
    generator = np.random.default_rng(0)
    samples = coloured_noise(SpectrogramSettings().window_samples(RATE), 1.0, generator)
    started = time.process_time()
    for _ in range(WINDOWS):
        change(samples, RATE, generator)
    return 1_000.0 * (time.process_time() - started) / WINDOWS


def main() -> None:
    """Prints a row for each change, each folder and each condition."""
    sound = coloured_noise(round(RESPONSE_SECONDS * RATE), 1.0, np.random.default_rng(0))
    recorded = RecordedSounds(rooms=(Room(sound, 0),), noises=(sound,))
    for name in AugmentationSettings().probabilities:
        always = AugmentationSettings.model_validate({f"{name}_probability": 1.0})
        print(f"augmentation {name:20} {milliseconds(partial(augmented, always)):6.2f} ms")
        if name in ("reverberation", "noise"):
            change = partial(augmented, always, recorded=recorded)
            print(f"augmentation {name:13} folder {milliseconds(change):6.2f} ms")
    for name, condition in CONDITIONS.items():
        print(f"condition    {name:20} {milliseconds(condition):6.2f} ms")


if __name__ == "__main__":
    main()
