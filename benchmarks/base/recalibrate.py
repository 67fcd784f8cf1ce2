"""Gives the released base model another cohort and calibration, without training.

`python -m benchmarks.base.recalibrate MANIFEST RECORDINGS [FOLDER]`: MANIFEST is what the model was
trained on, RECORDINGS the `recordings.jsonl` that its run's SpeechExampleGen wrote, which has each
speaker's split. FOLDER, by default `pretrained`, holds `base.npz` and `base.json`, which are
rewritten: the cohort from the speakers of `train`; threshold, slope and expected rates from those
of `calibration` and `unseen` together; all with the settings of `base.yaml`. A training that starts
from the base learns both by itself; this tool is for a release whose weights stay.
"""

import argparse
import json
from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import tensorflow as tf
from rich.progress import track

from components import features
from components.errors import SwarError
from components.model.base import BaseModel
from components.model.recordings import OK, FrontEnd, Recordings
from components.pcm16 import pack_wav
from components.recordings.sources import Recording, list_recordings
from components.trainer.augmentation import BatchAugmentation
from components.trainer.data import Windows
from components.trainer.decisions import learn_calibration, learn_normalisation
from components.trainer.monitor import WindowEmbedder
from components.verification.utterances import Cut
from pipeline.config import load_config
from pipeline.evaluation.scoring import by_speaker
from pipeline.evaluation.speech import window_cutter

COHORT_WINDOWS, CALIBRATION_WINDOWS = 3, 20  # of a speaker
DRAWS = 4  # of the conditions that the calibration speakers' windows are under
_AT_ONCE = 32
# Settings of the card that apply after the training.
_SETTINGS = ("normalisation_nearest", "normalisation_made_speakers", "calibration_nearest_fraction")


def speakers_of(recordings: Path) -> dict[str, set[str]]:
    """The speakers of each split."""
    splits = defaultdict(set)
    for line in recordings.read_text("utf-8").splitlines():
        row = json.loads(line)
        for split in row["splits"]:
            splits[split].add(row["speaker"])
    return splits


class WindowMaker:
    """Cuts speakers' speech end to end into windows, as the served model does."""

    def __init__(self, front_end: FrontEnd) -> None:
        self._front_end = front_end
        spec = tf.TensorSpec([None], tf.string)
        self._extract = tf.function(Recordings(front_end).extract_windows, input_signature=[spec])

    def windows(self, speakers: Collection[list[Recording]], per_speaker: int) -> Windows:
        """The windows that the model takes, at most `per_speaker` of each speaker."""
        cutter = window_cutter(
            features.CALIBRATION,
            self._front_end,
            per_speaker=per_speaker,
            seed=self._front_end.speech.seed,
        )
        found = [
            found for each in track(speakers, "speakers") for found in self.taken(cutter.cut(each))
        ]
        cuts, spectrograms = zip(*found, strict=True)
        said = [cut.utterance for cut in cuts]
        return Windows(
            spectrogram=np.stack(spectrograms),
            speaker=np.char.encode(np.array([each.speaker for each in said]), "utf-8"),
            recording=np.char.encode(np.array([each.recording for each in said]), "utf-8"),
            start_seconds=np.array([each.start_seconds for each in said], np.float32),
        )

    def taken(self, cuts: Sequence[Cut]) -> Iterator[tuple[Cut, np.ndarray]]:
        """The cuts that the model takes, each with its window, uint8 [n_mels, frames]."""
        for first in range(0, len(cuts), _AT_ONCE):
            part = cuts[first : first + _AT_ONCE]
            output = self._extract(
                tf.constant([pack_wav(cut.pcm16, cut.sample_rate) for cut in part])
            )
            statuses = output.status.numpy()
            for cut, status, windows in zip(part, statuses, output.windows, strict=True):
                if status.decode() == OK:
                    yield cut, windows[0].numpy()


def recalibrated(base: BaseModel, manifest: str, recordings: Path) -> BaseModel:
    """The same weights with another cohort, threshold, slope and expected rates.

    Raises:
        SwarError: the manifest cannot be read, or its speakers are too few.
    """
    card = base.card
    front_end = base.front_end()
    newest = load_config("base").trainer
    learnt = {name: getattr(newest, name) for name in _SETTINGS}
    settings = base.trainer_settings().model_copy(update=learnt)
    augmentation = BatchAugmentation(
        settings.augmentation, front_end.spectrogram, front_end.speech.sample_rate
    )
    splits = speakers_of(recordings)
    held_out = splits[features.CALIBRATION] | splits[features.UNSEEN]
    listed = by_speaker(list_recordings(manifest))
    maker, embedder = WindowMaker(front_end), WindowEmbedder(base.tower())
    trained_on = [listed[name] for name in sorted(splits[features.TRAIN] - held_out)]
    normalisation = learn_normalisation(
        maker.windows(trained_on, COHORT_WINDOWS), embedder, settings, augmentation
    )
    calibration, expected = learn_calibration(
        maker.windows([listed[name] for name in sorted(held_out)], CALIBRATION_WINDOWS),
        embedder,
        normalisation,
        settings,
        augmentation,
        front_end.spectrogram.window_seconds,
        draws=DRAWS,
    )
    return replace(
        base,
        card=card
        | {
            "trainer": card["trainer"] | learnt,
            "threshold": calibration.threshold,
            "slope": calibration.slope,
            "calibration": expected,
        },
        cohort=normalisation.cohort.numpy(),
    )


def release_parser(module: str) -> argparse.ArgumentParser:
    """The parser of tools that change a base model by its training's data."""
    parser = argparse.ArgumentParser(prog=f"python -m benchmarks.base.{module}")
    parser.add_argument("manifest", metavar="MANIFEST")
    parser.add_argument("recordings", type=Path, metavar="RECORDINGS")
    parser.add_argument("folder", type=Path, nargs="?", default=Path("pretrained"))
    return parser


def main() -> None:
    """Runs the command."""
    parser = release_parser("recalibrate")
    arguments = parser.parse_args()
    try:
        base = recalibrated(
            BaseModel.read(arguments.folder), arguments.manifest, arguments.recordings
        )
        base.write(arguments.folder)
    except SwarError as error:
        parser.exit(2, f"{parser.prog}: error: {error}\n")
    print(f"{arguments.folder}: threshold {base.card['threshold']:.3f}")


if __name__ == "__main__":
    main()
