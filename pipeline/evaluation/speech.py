"""Utterances to evaluate with: a speaker's speech, cut to equal durations, or whole files.

Pieces are cut from the speech that is left without the silence. Stretches of the recording that
hold the wanted speech would not do: the model normalises each to its own peak, and then hears
pauses as speech that were none in the recording, in a few stretches twice as much as wanted.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from tempfile import TemporaryFile
from typing import IO

import numpy as np
import numpy.typing as npt

from components import audio
from components.errors import SwarError
from components.pcm16 import to_pcm16
from components.recordings.cleaning import BLOCK_SECONDS, Cleaner, UnusableRecording, channel_of
from components.recordings.files import open_locally
from components.recordings.sources import Recording
from components.settings import SpeechSettings
from components.verification.utterances import Cut, Unused, Utterance, choose_positions

Pcm16 = npt.NDArray[np.int16]


@dataclass(frozen=True)
class _Speech:
    """Where a recording's speech lies in the file of the speaker's."""

    recording: Recording
    channel: str
    start: int
    samples: int


class Cutter:
    """Cuts utterances of the speakers of one set.

    Args:
        set_name: what the set is called.
        speech: the model's own removal of silence; edges are not trimmed.
        durations: samples of an utterance.
        per_speaker: utterances of each duration at most.
        seed: chooses among more.

    Attributes:
        possible: utterances by their samples, without the bound.
        rejected: recordings without utterances.
    """

    def __init__(
        self,
        set_name: str,
        speech: SpeechSettings,
        durations: Sequence[int],
        *,
        per_speaker: int,
        seed: int,
    ) -> None:
        self.possible: Counter[int] = Counter()
        self.rejected: list[Unused] = []
        self._set = set_name
        self._rate = speech.sample_rate
        untrimmed = {"trim_head_seconds": 0.0, "trim_tail_seconds": 0.0}
        self._cleaner = Cleaner(speech.model_copy(update=untrimmed))
        self._durations = durations
        self._per_speaker = per_speaker
        self._seed = seed
        self._heard: dict[str, Recording] = {}  # by the digest of their speech

    def cut(self, recordings: Sequence[Recording]) -> list[Cut]:
        """Utterances of every duration, of one speaker's recordings; none overlaps another.

        Raises:
            SwarError: another speaker has the same recording.
        """
        with self._cleaned(recordings) as (pcm16, speeches):
            return [
                self._utterance(pcm16, speech, offset, samples)
                for samples in self._durations
                for speech, offset in self._chosen(speeches, samples)
            ]

    @contextmanager
    def _cleaned(self, recordings: Sequence[Recording]) -> Iterator[tuple[Pcm16, list[_Speech]]]:
        """The speech of all recordings, mapped from a temporary file, and whose is where."""
        speeches: list[_Speech] = []
        with TemporaryFile() as file:
            for recording in recordings:
                start = file.tell() // 2
                try:
                    channel, samples = self._append(recording, file)
                except UnusableRecording as error:
                    self._reject(recording, error.reason, str(error))
                    continue
                speeches.append(_Speech(recording, channel, start, samples))
            file.flush()
            mapped = np.memmap(file, np.int16, "r") if file.tell() else np.zeros(0, np.int16)
            yield mapped, speeches

    def _append(self, recording: Recording, file: IO[bytes]) -> tuple[str, int]:
        """Writes a recording's speech; gives its channel and its samples.

        Raises:
            UnusableRecording: it has none, or is the same as another one of the speaker.
        """
        block = BLOCK_SECONDS * self._rate
        with self._cleaner.clean(recording) as cleaned:
            self._check_new(recording, cleaned.digest(block))
            if cleaned.speech_samples < min(self._durations):
                shortest = min(self._durations) / self._rate
                seconds = cleaned.speech_samples / self._rate
                raise UnusableRecording(
                    "too_short", f"{seconds:.2f} s of speech, an utterance has {shortest:g} s"
                )
            for start in range(0, cleaned.speech_samples, block):
                file.write(cleaned.read(start, start + block).tobytes())
            return cleaned.channel, cleaned.speech_samples

    def _check_new(self, recording: Recording, digest: str) -> None:
        known = self._heard.setdefault(digest, recording)
        if known is recording:
            return
        if known.speaker != recording.speaker:
            raise SwarError(
                f"the same audio under two speakers: {known.recording!r} and "
                f"{recording.recording!r}: remove the wrong one"
            )
        raise UnusableRecording("duplicate", f"the same speech as {known.recording!r}")

    def _reject(self, recording: Recording, reason: str, detail: str) -> None:
        self.rejected.append(Unused(self._set, recording.recording, reason, detail))

    def _chosen(self, speeches: Sequence[_Speech], samples: int) -> list[tuple[_Speech, int]]:
        """Recordings and offsets of utterances, end to end; a seeded sample of too many."""
        found = choose_positions(
            [speech.samples for speech in speeches],
            samples,
            self._per_speaker,
            speaker=speeches[0].recording.speaker if speeches else "",
            seed=self._seed,
        )
        self.possible[samples] += found.possible
        return [(speeches[index], offset) for index, offset in found.chosen]

    def _utterance(self, pcm16: Pcm16, speech: _Speech, offset: int, samples: int) -> Cut:
        recording, first = speech.recording, speech.start + offset
        start, seconds = offset / self._rate, samples / self._rate
        return Cut(
            Utterance(
                set=self._set,
                duration_seconds=seconds,
                utterance=f"{recording.recording}#{start:g}-{start + seconds:g}",
                speaker=recording.speaker,
                recording=recording.recording,
                session=recording.session,
                gender=recording.gender,
                channel=speech.channel,
                start_seconds=start,
            ),
            np.array(pcm16[first : first + samples]),
            self._rate,
        )


def whole_file(set_name: str, recording: Recording, sample_rate: int, max_seconds: float) -> Cut:
    """A recording as it is, its silence with it.

    Args:
        set_name: of the set that it is of.
        recording: the file, or a cut of it.
        sample_rate: of the samples, in Hz.
        max_seconds: the longest one that the model takes.

    Raises:
        AudioError: it cannot be decoded, or is longer.
    """
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
