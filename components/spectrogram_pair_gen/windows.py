"""Cuts placed windows out of `speech` files and turns them into quantised spectrograms."""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import soxr
import tensorflow as tf

from components import features, frontend, spectrogram_image
from components.settings import SpectrogramSettings
from components.spectrogram_pair_gen.sampling import NORMAL_SPEED, Placement, Stretch
from components.speech_examples import read_examples, text

# Every call of the front end has this many windows, the last one padded: one trace, and
# results that do not depend on how the windows were grouped.
WINDOWS_PER_CALL = 32
INT16_PEAK = 32767


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
    spectrogram: bytes


def stretches(file: str) -> Iterator[tuple[str, Stretch]]:
    """(speaker, stretch) of every example of a `speech` file."""
    for example in read_examples(file):
        pcm16 = example.features.feature[features.PCM16].bytes_list.value[0]
        yield (
            text(example, features.SPEAKER),
            Stretch(
                recording=text(example, features.RECORDING),
                piece=example.features.feature[features.PIECE].int64_list.value[0],
                samples=len(pcm16) // 2,
                file=file,
            ),
        )


def _played(pcm16: np.ndarray, speed: float) -> np.ndarray:
    """int16 samples at a speed, faster and higher above 1."""
    if speed == NORMAL_SPEED:
        return pcm16
    resampled = np.rint(soxr.resample(pcm16.astype(np.float32), speed, NORMAL_SPEED))
    played: np.ndarray = np.clip(resampled, -INT16_PEAK, INT16_PEAK).astype(np.int16)
    return played


class WindowCutter:
    """The front end from a piece's samples to the spectrograms of its windows."""

    def __init__(self, sample_rate: int, settings: SpectrogramSettings) -> None:
        self._sample_rate = sample_rate
        self._samples = settings.window_samples(sample_rate)
        log_mel = frontend.LogMelSpectrogram.of(sample_rate, settings)
        quantise = frontend.Quantise(settings.top_db)

        @tf.function(input_signature=[tf.TensorSpec([WINDOWS_PER_CALL, self._samples], tf.int16)])
        def spectrograms(pcm16: tf.Tensor) -> tf.Tensor:
            return quantise(log_mel(frontend.to_waveform(pcm16)))

        self._spectrograms = spectrograms

    def cut(self, file: str, placements: Iterable[Placement]) -> Iterator[Window]:
        """The windows placed in one `speech` file, one piece of it in memory at a time."""
        by_piece: dict[tuple[str, int], list[Placement]] = defaultdict(list)
        for placement in placements:
            by_piece[placement.recording, placement.piece].append(placement)
        for example in read_examples(file):
            piece = example.features.feature[features.PIECE].int64_list.value[0]
            wanted = by_piece.get((text(example, features.RECORDING), piece), [])
            yield from self._of_piece(
                example, sorted(wanted, key=lambda placed: (placed.pair_id, placed.side))
            )

    def _of_piece(self, example: tf.train.Example, placements: list[Placement]) -> Iterator[Window]:
        if not placements:
            return
        feature = example.features.feature
        pcm16 = np.frombuffer(feature[features.PCM16].bytes_list.value[0], "<i2")
        piece_start = feature[features.START_SECONDS].float_list.value[0]
        for first in range(0, len(placements), WINDOWS_PER_CALL):
            batch = placements[first : first + WINDOWS_PER_CALL]
            samples = np.zeros((WINDOWS_PER_CALL, self._samples), np.int16)
            for row, placed in zip(samples, batch, strict=False):
                end = placed.start + placed.voice.samples(self._samples)
                row[:] = _played(pcm16[placed.start : end], placed.voice.speed)[: self._samples]
            spectrograms = self._spectrograms(samples).numpy()
            for placed, row, spectrogram in zip(batch, samples, spectrograms, strict=False):
                yield Window(
                    pair_id=placed.pair_id,
                    label=placed.label,
                    side=placed.side,
                    speaker=placed.voice.name,
                    gender=text(example, features.GENDER),
                    recording=placed.recording,
                    start_seconds=piece_start + placed.start / self._sample_rate,
                    level_dbfs=frontend.rms_dbfs(row),
                    spectrogram=spectrogram_image.encode(spectrogram),
                )
