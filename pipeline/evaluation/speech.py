"""Utterances to evaluate with: a speaker's speech, cut to equal durations, or whole files.

Utterances are cut from the speech after silence removal, and not from the recording itself: the
model normalises each part to its own level, and then takes some pauses of the recording for
speech, so that a few parts would have twice as much speech as wanted.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from tempfile import TemporaryFile
from typing import IO

import numpy as np
import numpy.typing as npt

from components import audio
from components.block_detection import BLOCK_SECONDS
from components.errors import SwarError
from components.model.files import card_settings
from components.model.published import PublishedModel
from components.model.recordings import FrontEnd
from components.pcm16 import to_pcm16
from components.recordings.cleaning import Cleaner, UnusableRecording, channel_of
from components.recordings.files import open_locally
from components.recordings.sources import Recording
from components.settings import ServingSettings, SpeechSettings
from components.verification.utterances import Cut, SpeechSegment, Unused, Utterance, UtterancePlan

Pcm16 = npt.NDArray[np.int16]


class Cutter:
    """Cuts utterances of the speakers of one set.

    Args:
        plan: which utterances to cut.
        speech: the model's settings of silence removal; edges are not trimmed.
        window_samples: the model's window, if recordings may be repeated. Where the shortest
            utterances have that length and no recording of a speaker has so much speech, each
            of them is repeated to one window, as in training.

    Attributes:
        rejected: recordings without utterances.
        repeated: how many recordings were repeated.
    """

    def __init__(
        self, plan: UtterancePlan, speech: SpeechSettings, window_samples: int | None = None
    ) -> None:
        self.rejected: list[Unused] = []
        self.repeated = 0
        self._shortest = min(plan.durations)
        self._may_repeat = window_samples == self._shortest
        self._plan = plan
        self._cleaner = Cleaner(speech.untrimmed())
        self._known: dict[str, Recording] = {}  # by the digest of their speech

    def cut(self, recordings: Sequence[Recording]) -> list[Cut]:
        """One speaker's utterances of every duration; those of one duration do not overlap.

        Raises:
            SwarError: another speaker has the same recording.
        """
        with self._cleaned(recordings) as (pcm16, starts, segments):
            return [
                self._plan.cut(segments[each.segment], each, pcm16[starts[each.segment] :])
                for each in self._plan.positions(segments)
            ]

    @contextmanager
    def _cleaned(
        self, recordings: Sequence[Recording]
    ) -> Iterator[tuple[Pcm16, list[int], list[SpeechSegment]]]:
        """The speech of all recordings, mapped from a temporary file, and where each begins."""
        found: list[tuple[int, SpeechSegment]] = []
        repeated: list[tuple[int, SpeechSegment, Recording, UnusableRecording]] = []
        with TemporaryFile() as file:
            for recording in recordings:
                start = file.tell() // 2
                try:
                    segment, too_short = self._append(recording, file)
                except UnusableRecording as error:
                    self._reject(recording, error)
                    continue
                if too_short is None:
                    found.append((start, segment))
                else:
                    repeated.append((start, segment, recording, too_short))
            if found or not self._may_repeat:
                for *_, recording, too_short in repeated:
                    self._reject(recording, too_short)
            else:
                found = [(start, segment) for start, segment, *_ in repeated]
                self.repeated += len(found)
            file.flush()
            mapped = np.memmap(file, np.int16, "r") if file.tell() else np.zeros(0, np.int16)
            yield mapped, [start for start, _ in found], [segment for _, segment in found]

    def _append(
        self, recording: Recording, file: IO[bytes]
    ) -> tuple[SpeechSegment, UnusableRecording | None]:
        """Appends a recording's speech to the file; speech that is too short is repeated.

        Returns:
            The speech's segment, and an error if it is too short.

        Raises:
            UnusableRecording: there is no speech, or the speaker has the same in another one.
        """
        rate, too_short = self._plan.sample_rate, None
        with self._cleaner.clean(recording) as cleaned:
            self._check_new(recording, cleaned.digest(BLOCK_SECONDS * rate))
            samples = max(cleaned.speech_samples, self._shortest)
            if cleaned.speech_samples < self._shortest:
                too_short = UnusableRecording(
                    "too_short",
                    f"{cleaned.speech_samples / rate:.2f} s of speech, an utterance has "
                    f"{self._shortest / rate:g} s",
                )
                speech = cleaned.read(0, cleaned.speech_samples)
                file.write(np.resize(speech, self._shortest).tobytes())
            else:
                for start in range(0, samples, BLOCK_SECONDS * rate):
                    file.write(cleaned.read(start, start + BLOCK_SECONDS * rate).tobytes())
            segment = SpeechSegment(
                speaker=recording.speaker,
                recording=recording.recording,
                session=recording.session,
                gender=recording.gender,
                channel=cleaned.channel,
                start_seconds=0.0,
                samples=samples,
            )
            return segment, too_short

    def _check_new(self, recording: Recording, digest: str) -> None:
        known = self._known.setdefault(digest, recording)
        if known is recording:
            return
        if known.speaker != recording.speaker:
            raise SwarError(
                f"the same audio under two speakers: {known.recording!r} and "
                f"{recording.recording!r}: remove the wrong one"
            )
        raise UnusableRecording("duplicate", f"the same speech as {known.recording!r}")

    def _reject(self, recording: Recording, error: UnusableRecording) -> None:
        self.rejected.append(
            Unused(self._plan.set_name, recording.recording, error.reason, str(error))
        )


def window_cutter(set_name: str, front_end: FrontEnd, *, per_speaker: int, seed: int) -> Cutter:
    """A Cutter of adjacent windows of the tower, at most `per_speaker` of each, drawn by `seed`."""
    speech = front_end.speech
    window = front_end.spectrogram.window_samples(speech.sample_rate)
    plan = UtterancePlan(set_name, {window}, speech.sample_rate, per_speaker=per_speaker, seed=seed)
    return Cutter(plan, speech)


def whole_files(
    set_name: str, recordings: Iterable[Recording], served: PublishedModel, rejected: list[Unused]
) -> Iterator[tuple[Recording, Cut]]:
    """Recordings as they are, with their silence.

    Args:
        set_name: of their set.
        recordings: files, or cuts of them.
        served: the model, for its sample rate and the longest recording that it takes.
        rejected: recordings that cannot be decoded or are too long are added to it.
    """
    serving = card_settings(served.card, "serving", ServingSettings, served.folder)
    for recording in recordings:
        try:
            yield recording, _whole(set_name, recording, served.sample_rate, serving.max_seconds)
        except audio.AudioError as error:
            rejected.append(Unused(set_name, recording.recording, error.reason, str(error)))


def _whole(set_name: str, recording: Recording, sample_rate: int, max_seconds: float) -> Cut:
    with open_locally(recording.path) as path:
        samples = audio.decode(
            path,
            sample_rate=sample_rate,
            start_seconds=recording.start_seconds,
            end_seconds=recording.end_seconds,
            max_seconds=max_seconds,
        )
        channel = channel_of(path)
    utterance = Utterance(
        set=set_name,
        duration_seconds=float("nan"),
        utterance=recording.recording,
        speaker=recording.speaker,
        recording=recording.recording,
        session=recording.session,
        gender=recording.gender,
        channel=channel,
        start_seconds=0.0,
    )
    return Cut(utterance, to_pcm16(samples), sample_rate)
