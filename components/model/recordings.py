"""From WAVs to the tower's windows: does in the served model what Beam does for training."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, Self

import tensorflow as tf

from components import frontend, wav
from components.settings import ServingSettings, SpectrogramSettings, SpeechSettings
from components.speech_detection import detector_of
from components.speech_gate import SpeechGate

OK: Final = "ok"
NOT_WAV: Final = "not_wav"
WRONG_SAMPLE_RATE: Final = "wrong_sample_rate"
TOO_LONG: Final = "too_long"
TOO_SHORT: Final = "too_short"
SILENT: Final = "silent"
NO_SPEECH: Final = "no_speech"

# Recordings that are in memory at once, as samples, sums and indices.
RECORDINGS_AT_ONCE: Final = 4


@dataclass(frozen=True)
class FrontEnd:
    """How recordings become windows."""

    speech: SpeechSettings
    spectrogram: SpectrogramSettings
    serving: ServingSettings

    @classmethod
    def of_card(cls, card: Mapping[str, Any]) -> Self:
        """Reads a model's card; raises KeyError or ValueError where it lacks a part."""
        return cls(
            SpeechSettings.model_validate(card["speech"]),
            SpectrogramSettings.model_validate(card["spectrogram"]),
            ServingSettings.model_validate(card["serving"]),
        )


class FrontEndOutput(NamedTuple):
    """Windows and status of N recordings."""

    windows: tf.RaggedTensor
    """uint8 [N, windows of each, n_mels, frames]; none unless the status is "ok"."""
    speech_seconds: tf.Tensor
    """float32 [N], after the removal of silence; 0 where nothing was decoded."""
    status: tf.Tensor
    """string [N]:

    ok
    not_wav: no 16-bit PCM WAV.
    wrong_sample_rate: the model takes another one.
    too_long: more than `max_seconds`.
    too_short: less than `min_speech_seconds`.
    silent: it holds not even noise.
    no_speech: without silence, less than `min_speech_seconds` is left, or no voice.
    """


class Recordings:
    """Decodes recordings, finds the speech and cuts windows, in each recording separately.

    Speech shorter than a window is repeated to fill it. Edges are not trimmed: a client sends the
    speech that is to be compared.

    Attributes:
        shape: of a window, mels and frames.
    """

    def __init__(self, front_end: FrontEnd) -> None:
        speech, spectrogram, serving = front_end.speech, front_end.spectrogram, front_end.serving
        self._rate = speech.sample_rate
        self._window = spectrogram.window_samples(speech.sample_rate)
        self.shape = (spectrogram.n_mels, spectrogram.frames(speech.sample_rate))
        self._max_samples = round(serving.max_seconds * speech.sample_rate)
        self._max_windows = serving.max_windows
        self._least = round(speech.min_speech_seconds * speech.sample_rate)
        self._detector = detector_of(speech)
        self._gate = SpeechGate(self._rate) if speech.require_voice else None
        self._log_mel = frontend.LogMelSpectrogram.of(speech.sample_rate, spectrogram)
        self._quantise = frontend.Quantise(spectrogram.top_db)

    def extract_windows(self, audio: tf.Tensor) -> FrontEndOutput:
        """The windows and the status of every recording.

        Args:
            audio: string [N], WAVs.
        """
        output: FrontEndOutput = tf.map_fn(
            self._extract_one,
            audio,
            parallel_iterations=RECORDINGS_AT_ONCE,
            fn_output_signature=FrontEndOutput(
                windows=tf.RaggedTensorSpec([None, *self.shape], tf.uint8, ragged_rank=0),
                speech_seconds=tf.TensorSpec([], tf.float32),
                status=tf.TensorSpec([], tf.string),
            ),
        )
        # Without recordings, the windows lack their shape.
        flat = tf.reshape(output.windows.values, [-1, *self.shape])
        return output._replace(windows=output.windows.with_values(flat))

    def _extract_one(self, audio: tf.Tensor) -> FrontEndOutput:
        header = wav.read_header(audio)
        refusals = {
            NOT_WAV: ~header.is_pcm16,
            WRONG_SAMPLE_RATE: header.sample_rate != self._rate,
            TOO_LONG: header.frames > self._max_samples,
            TOO_SHORT: header.frames < self._least,
        }
        refused = tf.reduce_any(tf.stack(list(refusals.values())))
        # Refused recordings go the same way, without samples.
        frames = tf.where(refused, tf.zeros_like(header.frames), header.frames)
        speech, is_silent = self._detector(wav.read_mono(audio, header._replace(frames=frames)))
        samples = tf.size(speech, out_type=tf.int64)
        status = _first_true(
            refusals | {SILENT: is_silent, NO_SPEECH: ~self._is_spoken(speech, samples)}
        )
        used = tf.where(status == OK, samples, tf.zeros_like(samples))
        return FrontEndOutput(
            windows=self._windows(speech[:used]),
            speech_seconds=tf.cast(samples / self._rate, tf.float32),
            status=status,
        )

    def _is_spoken(self, speech: tf.Tensor, samples: tf.Tensor) -> tf.Tensor:
        """bool: whether int16 [samples] are enough speech, and a voice where required."""
        enough = samples >= self._least
        if self._gate is None:
            return enough
        gate = self._gate
        return tf.cond(enough, lambda: gate(speech), lambda: tf.constant(False))

    def _windows(self, speech: tf.Tensor) -> tf.Tensor:
        """uint8 [windows, n_mels, frames] of int16 [samples]; none without samples."""
        samples = tf.size(speech, out_type=tf.int64)
        times = tf.where(samples > 0, -(-self._window // tf.maximum(samples, 1)), 1)
        repeated = tf.tile(speech, [times])
        repeated = tf.cond(times > 1, lambda: repeated[: self._window], lambda: repeated)
        starts = window_starts(
            tf.size(repeated, out_type=tf.int64), self._window, self._max_windows
        )
        # Slices: an index for each sample would cost more than the mel bands.
        pcm16 = tf.map_fn(
            lambda start: repeated[start : start + self._window],
            starts,
            fn_output_signature=tf.TensorSpec([self._window], tf.int16),
        )
        decibels = self._log_mel(frontend.to_waveform(pcm16))
        return tf.ensure_shape(self._quantise(decibels), [None, *self.shape])


def window_starts(samples: tf.Tensor, window: int, max_windows: int) -> tf.Tensor:
    """Where a recording's windows begin: evenly spaced, from its very start to its very end.

    They are as few as cover every sample, at most `max_windows`; none if not even one fits.

    Args:
        samples: int64 scalar, length of the speech.
        window: samples of a window.
        max_windows: of one recording.

    Returns:
        int64 [windows], in samples.
    """
    covering = (samples + window - 1) // window
    count = tf.where(samples < window, tf.zeros_like(samples), tf.minimum(covering, max_windows))
    return tf.range(count) * (samples - window) // tf.maximum(count - 1, 1)


def _first_true(statuses: dict[str, tf.Tensor]) -> tf.Tensor:
    """The first name whose condition holds, or "ok"."""
    status = tf.constant(OK)
    for name, holds in reversed(statuses.items()):
        status = tf.where(holds, name, status)
    return status
