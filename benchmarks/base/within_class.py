"""Makes the base model's embeddings differ less by what is not the speaker, without training.

`python -m benchmarks.base.within_class MANIFEST RECORDINGS [FOLDER]`: MANIFEST is what the model
was trained on, RECORDINGS the `recordings.jsonl` of its run's SpeechExampleGen. Windows of a
thousand speakers of `train` are embedded, as they are and under conditions. The covariance within
speakers shows the directions in which noise, rooms and lines move embeddings, telephones above all.
The last layer of the weights in FOLDER, by default `pretrained`, is replaced by one whose outputs
are shorter in these directions. Then remake cohort and calibration (`benchmarks.base.recalibrate`).

Source: Hatch et al., "Within-class covariance normalization for SVM-based speaker recognition",
Interspeech 2006, with a covariance that is smoothed by SMOOTHING times its mean variance.
"""

from dataclasses import replace
from typing import Final

import numpy as np
import numpy.typing as npt

from benchmarks.base.recalibrate import release_parser, speakers_of
from benchmarks.base.sittings import BATCH, CONDITIONS, sounds_of
from components import features
from components.errors import SwarError
from components.model.base import BaseModel
from components.model.export import model_digest
from components.model.normalisation import speaker_means
from components.recordings.sources import list_recordings
from pipeline.evaluation.scoring import by_speaker

SPEAKERS, PER_SPEAKER, SEED = 1000, 4, 0
SMOOTHING: Final = 3.0
"""Chosen by the run's held-out speakers. Less would help these further, but not people recorded on
two days, which a covariance of mostly single days does not cover."""

Floats = npt.NDArray[np.float64]


def within_class_covariance(
    embedding: npt.NDArray[np.float32], speaker: npt.NDArray[np.str_]
) -> Floats:
    """The covariance of embeddings around their speaker's mean: [D, D].

    Args:
        embedding: [N, D].
        speaker: [N].
    """
    names, index = np.unique(speaker, return_inverse=True)
    mean = speaker_means(embedding, np.char.encode(speaker, "utf-8"), unit_norm=False)
    residual = (embedding - mean[index]).astype(np.float64)
    covariance: Floats = residual.T @ residual / (len(speaker) - len(names))
    return covariance


def normalising_map(covariance: Floats) -> Floats:
    """The symmetric inverse square root of the smoothed covariance, scaled to mean variance 1."""
    variance, direction = np.linalg.eigh(covariance)
    smoothed = variance + SMOOTHING * variance.mean()
    scale = np.sqrt(smoothed.mean() / smoothed)
    normalising: Floats = direction @ np.diag(scale) @ direction.T
    return normalising


def mapped(base: BaseModel, linear_map: Floats) -> BaseModel:
    """The model with its embeddings mapped by [D, D] before they are scaled to length 1."""
    *backbone, kernel, bias = base.weights
    head = [(layer @ linear_map).astype(layer.dtype) for layer in (kernel, bias)]
    changed = replace(base, weights=[*backbone, *head])
    digest = model_digest(changed.tower(), base.card)
    return replace(changed, card=base.card | {"model_digest": digest})


def main() -> None:
    """Runs the command."""
    parser = release_parser("within_class")
    arguments = parser.parse_args()
    try:
        base = BaseModel.read(arguments.folder)
        listed = by_speaker(list_recordings(arguments.manifest))
    except SwarError as error:
        parser.exit(2, f"{parser.prog}: error: {error}\n")
    trained_on = sorted(speakers_of(arguments.recordings)[features.TRAIN] & set(listed))
    drawn = np.random.default_rng(SEED).permutation(trained_on)[:SPEAKERS]
    speakers = {name: listed[name] for name in drawn}
    sounds = sounds_of(base.front_end(), speakers, CONDITIONS, PER_SPEAKER)
    embedding = base.tower().predict(sounds.spectrogram, batch_size=BATCH, verbose=0)
    covariance = within_class_covariance(embedding, sounds.speaker)
    mapped(base, normalising_map(covariance)).write(arguments.folder)
    largest, mean = np.linalg.eigvalsh(covariance)[-1], np.trace(covariance) / len(covariance)
    print(
        f"{arguments.folder}: by {len(sounds.speaker)} windows of {len(drawn)} speakers, whose "
        f"variance is {largest / mean:.0f} times the mean one in one direction"
    )


if __name__ == "__main__":
    main()
