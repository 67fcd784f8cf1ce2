"""Learns the normalisation and the calibration of a trained tower's distances."""

from collections.abc import Callable
from typing import Any

import numpy as np

from components.errors import SwarError
from components.model.calibration import Calibration
from components.model.normalisation import CohortNormalisation, made_speakers, speaker_means
from components.settings import TrainerSettings
from components.trainer.augmentation import BatchAugmentation
from components.trainer.calibration import CalibrationTrials, calibrate, calibration_trials
from components.trainer.calibration_report import calibration_report
from components.trainer.data import Windows
from components.trainer.mixed_conditions import degraded, half_degraded
from components.trainer.utterances import EmbeddedWindows

Embedder = Callable[[np.ndarray], np.ndarray]
"""Maps uint8 windows [N, n_mels, frames] to embeddings, float32 [N, D]."""


def learn_normalisation(
    windows: Windows,
    embedder: Embedder,
    settings: TrainerSettings,
    augmentation: BatchAugmentation | None,
) -> CohortNormalisation:
    """Makes the normalisation from the speakers of `train`, or from made speakers instead.

    With augmentation, half of the made speakers come from degraded windows, so that an utterance
    over a telephone is compared with others over a telephone.

    Args:
        windows: of `train`, clean.
        embedder: the trained tower.
        settings: how many speakers count, and how many are made.
        augmentation: degrades windows; None for none.

    Raises:
        SwarError: there are too few speakers.
    """
    unit_norm = settings.unit_norm
    cohort = speaker_means(embedder(windows.spectrogram), windows.speaker, unit_norm=unit_norm)
    if len(cohort) <= 2:
        raise SwarError(
            f"{len(cohort)} training speakers are too few to normalise by: set "
            "trainer.normalisation_nearest to 0"
        )
    if (count := settings.normalisation_made_speakers) is not None:
        cohorts = [cohort]
        if augmentation is not None:
            changed = degraded(windows, augmentation, settings.seed)
            embedding = embedder(changed.spectrogram)
            cohorts.append(speaker_means(embedding, changed.speaker, unit_norm=unit_norm))
        counts = [len(part) for part in np.array_split(np.arange(count), len(cohorts))]
        cohort = np.concatenate(
            [
                made_speakers(each, made, unit_norm=unit_norm)
                for each, made in zip(cohorts, counts, strict=True)
            ]
        )
    return CohortNormalisation(cohort, settings.normalisation_nearest)


def learn_calibration(
    windows: Windows,
    embedder: Embedder,
    normalisation: CohortNormalisation | None,
    settings: TrainerSettings,
    augmentation: BatchAugmentation | None,
    window_seconds: float,
    *,
    draws: int = 1,
) -> tuple[Calibration, dict[str, Any]]:
    """Threshold and slope, and the error rates to expect, see `calibration_report`.

    Args:
        windows: of `calibration`, clean.
        embedder: the trained tower.
        normalisation: of distances; None for Euclidean ones.
        settings: which speakers count as near.
        augmentation: degrades half of the windows; None for none.
        window_seconds: length of a window.
        draws: how often the windows are degraded anew: with more draws the threshold depends less
            on chance. The report is of the first.
    """
    given = [
        half_degraded(windows, augmentation, settings.seed + draw) if augmentation else windows
        for draw in range(draws)
    ]
    drawn = [
        EmbeddedWindows(
            embedder(each.spectrogram), each, window_seconds, settings.unit_norm, normalisation
        )
        for each in given
    ]
    nearest_fraction = settings.calibration_nearest_fraction
    trials = [calibration_trials(each, nearest_fraction) for each in drawn]
    calibration = calibrate(CalibrationTrials(*map(np.concatenate, zip(*trials, strict=True))))
    counts = sorted(set(trials[0].windows.tolist()))
    report = calibration_report(drawn[0], calibration, nearest_fraction, counts, settings.seed)
    return calibration, report
