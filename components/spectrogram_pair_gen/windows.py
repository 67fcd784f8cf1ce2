"""Cuts placed windows out of `speech` files and turns them into quantised spectrograms."""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import soxr
import tensorflow as tf

from components import counters, features, frontend, spectrogram_codec
from components.conditions import CLEAN, CONDITIONS
from components.keyed_random import keyed_generator
from components.pcm16 import INT16_PEAK
from components.settings import AugmentationSettings, SpectrogramSettings
from components.spectrogram_pair_gen.augmentation import augment
from components.spectrogram_pair_gen.recorded_sounds import NONE_RECORDED, RecordedSounds
from components.spectrogram_pair_gen.sampling import (
    NORMAL_SPEED,
    TimelineSegment,
    WindowPosition,
)
from components.speech_examples import read_examples, samples_of, text

# Every call of the front end has this many windows, the last one padded, for one trace and
# results that do not depend on how the windows were grouped.
WINDOWS_PER_CALL = 32
MOST_BABBLING = 3


@dataclass(frozen=True)
class Window:
    """One side of a pair, ready to be written."""

    pair_id: str
    label: int
    side: str
    speaker: str
    gender: str
    recording: str
    start_seconds: float
    level_dbfs: float
    condition: str
    spectrogram: bytes


def segments(file: str) -> Iterator[tuple[str, TimelineSegment]]:
    """(speaker, segment) of every example of a `speech` file."""
    for example in read_examples(file):
        yield (
            text(example, features.SPEAKER),
            TimelineSegment(
                recording=text(example, features.RECORDING),
                piece=example.features.feature[features.PIECE].int64_list.value[0],
                samples=len(samples_of(example)),
                file=file,
            ),
        )


def _played(pcm16: np.ndarray, speed: float) -> np.ndarray:
    """int16 samples at a speed; above 1 they are faster and higher."""
    if speed == NORMAL_SPEED:
        return pcm16
    resampled = np.rint(soxr.resample(pcm16.astype(np.float32), speed, NORMAL_SPEED))
    played: np.ndarray = np.clip(resampled, -INT16_PEAK, INT16_PEAK).astype(np.int16)
    return played


class Babble:
    """Other speakers of a `speech` file, talking at the same time.

    Args:
        file: the file, whose speech is all held in memory.
    """

    def __init__(self, file: str) -> None:
        self._pieces: dict[str, list[npt.NDArray[np.int16]]] = defaultdict(list)
        for example in read_examples(file):
            self._pieces[text(example, features.SPEAKER)].append(samples_of(example))

    def draw(
        self, speaker: str, samples: int, generator: np.random.Generator
    ) -> npt.NDArray[np.float32] | None:
        """Adds up a segment of each of three other speakers, or as many as there are.

        Args:
            speaker: the speaker to leave out.
            samples: length of the segments; speakers without one as long are left out.
            generator: draws the speakers and their segments.

        Returns:
            float32 [samples], the sum; None if there are no others.
        """
        rooms = (
            [piece for piece in pieces if len(piece) >= samples]
            for name, pieces in self._pieces.items()
            if name != speaker
        )
        others = [room for room in rooms if room]
        if not others:
            return None
        babbling = min(MOST_BABBLING, len(others))
        together = np.zeros(samples, np.float32)
        for other in generator.choice(len(others), size=babbling, replace=False):
            piece = others[other][generator.integers(len(others[other]))]
            start = generator.integers(len(piece) - samples + 1)
            together += piece[start : start + samples]
        return together


class WindowCutter:
    """Cuts windows from a piece's samples and computes their spectrograms.

    Args:
        sample_rate: of the speech, Hz.
        settings: the window.
        augmentation: changes to windows before the front end; None for none.
        seed: seed of the augmentation and the conditions.
        recorded: rooms and noises of the augmentation, at the sample rate.
    """

    def __init__(
        self,
        sample_rate: int,
        settings: SpectrogramSettings,
        augmentation: AugmentationSettings | None = None,
        seed: int = 0,
        recorded: RecordedSounds = NONE_RECORDED,
    ) -> None:
        self._sample_rate = sample_rate
        self._augmentation = augmentation
        self._recorded = recorded
        self._seed = seed
        self._samples = settings.window_samples(sample_rate)
        log_mel = frontend.LogMelSpectrogram.of(sample_rate, settings)
        quantise = frontend.Quantise(settings.top_db)

        pcm16 = tf.TensorSpec([WINDOWS_PER_CALL, self._samples], tf.int16)

        @tf.function(input_signature=[pcm16], autograph=False)
        def spectrograms(pcm16: tf.Tensor) -> tf.Tensor:
            return quantise(log_mel(frontend.to_waveform(pcm16)))

        self._spectrograms = spectrograms

    def cut(self, file: str, positions: Iterable[WindowPosition]) -> Iterator[Window]:
        """Yields the windows placed in one `speech` file, piece by piece."""
        babble = Babble(file) if self._augmentation else None
        by_piece: dict[tuple[str, int], list[WindowPosition]] = defaultdict(list)
        for position in positions:
            by_piece[position.recording, position.piece].append(position)
        for example in read_examples(file):
            piece = example.features.feature[features.PIECE].int64_list.value[0]
            wanted = by_piece.get((text(example, features.RECORDING), piece), [])
            ordered = sorted(wanted, key=lambda placed: (placed.pair_id, placed.side))
            yield from self._of_piece(example, ordered, babble)

    def _of_piece(
        self, example: tf.train.Example, positions: list[WindowPosition], babble: Babble | None
    ) -> Iterator[Window]:
        if not positions:
            return
        pcm16 = samples_of(example)
        piece_start = example.features.feature[features.START_SECONDS].float_list.value[0]
        for first in range(0, len(positions), WINDOWS_PER_CALL):
            batch = positions[first : first + WINDOWS_PER_CALL]
            samples = np.zeros((WINDOWS_PER_CALL, self._samples), np.int16)
            for row, placed in zip(samples, batch, strict=False):
                needed = placed.train_speaker.samples(self._samples)
                # Speech shorter than a window is repeated, as in the served model.
                taken = np.resize(pcm16[placed.start : placed.start + needed], needed)
                played = _played(taken, placed.train_speaker.speed)[: self._samples]
                if placed.condition != CLEAN and placed.side == "b":
                    row[:] = self._under_condition(played, placed)
                else:
                    row[:] = self._augmented(played, placed, babble)
            spectrograms = self._spectrograms(samples).numpy()
            for placed, row, spectrogram in zip(batch, samples, spectrograms, strict=False):
                yield Window(
                    pair_id=placed.pair_id,
                    label=placed.label,
                    side=placed.side,
                    speaker=placed.train_speaker.name,
                    gender=text(example, features.GENDER),
                    recording=placed.recording,
                    start_seconds=piece_start + placed.start / self._sample_rate,
                    level_dbfs=frontend.rms_dbfs(row),
                    condition=placed.condition,
                    spectrogram=spectrogram_codec.encode(spectrogram),
                )

    def _under_condition(
        self, played: npt.NDArray[np.int16], placed: WindowPosition
    ) -> npt.NDArray[np.int16]:
        """Scales down what would be clipped: a spectrogram is relative to its peak."""
        generator = keyed_generator(self._seed, placed.pair_id, placed.condition)
        samples = played.astype(np.float32) / np.float32(frontend.INT16_FULL_SCALE)
        changed = CONDITIONS[placed.condition](samples, self._sample_rate, generator)
        loudest = float(np.max(np.abs(changed))) * frontend.INT16_FULL_SCALE
        scale = frontend.INT16_FULL_SCALE * min(1.0, INT16_PEAK / max(loudest, 1.0))
        quantised: npt.NDArray[np.int16] = np.rint(changed * scale).astype(np.int16)
        return quantised

    def _augmented(
        self, played: npt.NDArray[np.int16], placed: WindowPosition, babble: Babble | None
    ) -> npt.NDArray[np.int16]:
        if self._augmentation is None or babble is None:
            return played
        generator = keyed_generator(self._seed, placed.pair_id, placed.side, "augmentation")

        def others() -> npt.NDArray[np.float32] | None:
            drawn = babble.draw(placed.train_speaker.speaker, self._samples, generator)
            if drawn is None:
                counters.count(counters.PAIRS, f"{features.TRAIN}/windows_with_nobody_to_babble")
            return drawn

        changed = augment(
            played.astype(np.float32),
            self._sample_rate,
            self._augmentation,
            others,
            generator,
            self._recorded,
        )
        return np.rint(changed).astype(np.int16)
