"""Releases a published model as the base model: `pretrained/base.npz` and `pretrained/base.json`.

`python -m benchmarks.base.release MODEL [FOLDER]`: MODEL is a published version of `--config base`
(OUTPUT/published), FOLDER is by default `pretrained`. Weights become float16, except those of
normalisation's statistics and scales, which need float32's range. The card says what the model was
made from; its digest is the released model's own.
"""

import argparse
from pathlib import Path

import numpy as np

from components.errors import SwarError
from components.model.base import WEIGHTS_FILE, BaseModel
from components.model.files import version_folder
from components.model.published_parts import PublishedParts

MOST_BYTES = 15_000_000
# Rank of a matrix or a kernel; the statistics and scales of a normalisation have less.
LEAST_RANK = 2


def released(version: Path) -> BaseModel:
    """Makes the base model of a published one.

    Raises:
        SwarError: the model keeps embeddings of its speakers, or lacks what is released.
    """
    parts = PublishedParts.read(version)
    card, settings = parts.card, parts.trainer
    if settings.normalisation_made_speakers is None or parts.cohort is None:
        raise SwarError(
            f"{version} normalises by embeddings of its speakers, which are not to be released: "
            "set trainer.normalisation_made_speakers"
        )
    weights = [
        weight.astype(np.float16) if weight.ndim >= LEAST_RANK else weight
        for weight in parts.tower.get_weights()
    ]
    # The folder of the teacher's file means nothing to others.
    trainer = card["trainer"] | {"teacher": settings.teacher and Path(settings.teacher).name}
    return BaseModel(card | {"trainer": trainer}, weights, parts.cohort)


def main() -> None:
    """Runs the command."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.base.release")
    parser.add_argument("model", type=Path, metavar="MODEL")
    parser.add_argument("folder", type=Path, nargs="?", default=Path("pretrained"))
    arguments = parser.parse_args()
    try:
        released(version_folder(arguments.model)).write(arguments.folder)
    except SwarError as error:
        parser.exit(2, f"{parser.prog}: error: {error}\n")
    size = (arguments.folder / WEIGHTS_FILE).stat().st_size
    print(f"{arguments.folder / WEIGHTS_FILE}: {size:,} bytes")
    if size > MOST_BYTES:
        parser.exit(2, f"{parser.prog}: error: more than {MOST_BYTES:,}: use a smaller tower\n")


if __name__ == "__main__":
    main()
