"""Who speaks when in made conversations: the timeline beside each segment between pauses alone.

`python -m benchmarks.timeline DATA [CONVERSATIONS]`: the base model on conversations of two
minutes, always the same ones, made of turns of two to four people of DATA (a folder of speakers or
a manifest). Every second person is enrolled with 10 s of recordings that are in no conversation,
and so are eight people who are in none; both methods use the same decision rule. Then a
conversation of ten minutes is timed.
"""

import resource
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
import soundfile
from scipy.optimize import linear_sum_assignment

from components import audio
from components.pcm16 import pack_wav, to_pcm16
from components.recordings.cleaning import Cleaner
from components.recordings.sources import Recording, list_recordings
from components.settings import SpeechSettings
from serving.answers import OK
from serving.client import Client
from serving.decisions import DecisionRule
from serving.enrolled import Enrolment
from serving.gallery import Gallery
from serving.recognition import identification_rule, identify_embedding
from serving.timeline import timeline

ENROLMENT_SECONDS: Final = 10.0
LEAST_SECONDS: Final = 20.0
"""Speech that a speaker needs beside the enrolment."""
SPEAKERS: Final = (2, 4)
BYSTANDERS: Final = 8
SECONDS: Final = 120.0
TIMED_SECONDS: Final = 600.0
TURN_SECONDS: Final = (1.0, 12.0)
GAP_SECONDS: Final = (0.2, 1.5)
NO_GAP: Final = 0.5
"""Share of turns that begin as soon as the one before ends."""
LEVEL: Final = 0.1
"""Root mean square that each recording is scaled to."""
FRAME_SECONDS: Final = 0.01
NO_SPEECH: Final = ""

Samples = npt.NDArray[np.float32]
Frames = npt.NDArray[np.str_]
"""Who speaks in each frame; NO_SPEECH where no speaker does."""


class Turn(NamedTuple):
    """The speaker, the start and the end of a turn."""

    start_seconds: float
    end_seconds: float
    speaker: str


class Person(NamedTuple):
    """A speaker's enrolment, and the speech for conversations."""

    enrolment: Samples
    speech: Samples


class Errors(NamedTuple):
    """Shares, in [0, 1], of the frames where both the reference and the answer have speech."""

    confusion: float
    """Frames with a wrong speaker, after the one-to-one match by which the most frames agree: the
    confusion in the diarisation error rate (NIST RT), without collar."""
    naming: float
    """Frames with another's name, without the name of an enrolled speaker, or with a name though
    the speaker is not enrolled."""


def errors(reference: Frames, answer: Frames, enrolled: Sequence[str]) -> Errors:
    """How often an answer is wrong.

    Args:
        reference, answer: of equal length; the answer has the names of enrolled speakers, and any
            other names for others.
        enrolled: names of the enrolled speakers.
    """
    both = (reference != NO_SPEECH) & (answer != NO_SPEECH)
    speakers, row = np.unique(reference[both], return_inverse=True)
    names, column = np.unique(answer[both], return_inverse=True)
    frames = np.zeros((len(speakers), len(names)))
    np.add.at(frames, (row, column), 1)
    agreed = frames[linear_sum_assignment(-frames)].sum()
    known, named = np.isin(reference[both], enrolled), np.isin(answer[both], enrolled)
    is_right = np.where(known, reference[both] == answer[both], ~named)
    return Errors(float(1.0 - agreed / both.sum()), float(np.mean(~is_right)))


def frames_of(turns: Sequence[Turn], seconds: float) -> Frames:
    """The speaker of every frame in `seconds`."""
    frames = np.full(round(seconds / FRAME_SECONDS), NO_SPEECH, dtype="<U80")
    for turn in turns:
        first, last = (round(at / FRAME_SECONDS) for at in turn[:2])
        frames[first:last] = turn.speaker
    return frames


def people(data: str, sample_rate: int) -> dict[str, Person]:
    """Speakers of DATA with enough speech to be enrolled and to converse."""
    recordings: dict[str, list[Recording]] = defaultdict(list)
    for each in list_recordings(data).recordings:
        recordings[each.speaker].append(each)
    known = {}
    for name in sorted(recordings):
        clips = [_decoded(each, sample_rate) for each in recordings[name]]
        seconds = np.cumsum([len(clip) for clip in clips]) / sample_rate
        first = int(np.searchsorted(seconds, ENROLMENT_SECONDS)) + 1
        if seconds[-1] - seconds[min(first, len(clips)) - 1] >= LEAST_SECONDS:
            known[name] = Person(np.concatenate(clips[:first]), np.concatenate(clips[first:]))
    return known


def _decoded(recording: Recording, sample_rate: int) -> Samples:
    samples = audio.decode(
        recording.path,
        sample_rate=sample_rate,
        start_seconds=recording.start_seconds,
        end_seconds=recording.end_seconds,
    )
    level = np.sqrt(np.mean(np.square(samples)))
    return samples * np.float32(LEVEL / max(level, 1e-6))


def conversation(
    speech: Mapping[str, Samples], seconds: float, sample_rate: int, generator: np.random.Generator
) -> tuple[Samples, list[Turn]]:
    """Makes turns one after another; no speaker has two in succession.

    Args:
        speech: float32 [samples] of each speaker; used again when it ends.
        seconds: least duration.
        sample_rate: in Hz.
        generator: for all random draws.
    """
    at = dict.fromkeys(sorted(speech), 0)
    parts: list[Samples] = []
    turns: list[Turn] = []
    length, speaker = 0, ""
    while length < seconds * sample_rate:
        speaker = str(generator.choice([name for name in at if name != speaker]))
        # Short turns are more frequent than long ones.
        turn_seconds = np.exp(generator.uniform(*np.log(TURN_SECONDS)))
        taken = np.arange(round(turn_seconds * sample_rate)) + at[speaker]
        at[speaker] = int(taken[-1]) + 1
        end = length + len(taken)
        turns.append(Turn(length / sample_rate, end / sample_rate, speaker))
        gap_seconds = 0.0 if generator.random() < NO_GAP else generator.uniform(*GAP_SECONDS)
        gap = 1e-3 * generator.standard_normal(round(gap_seconds * sample_rate))
        parts += [speech[speaker].take(taken, mode="wrap"), gap.astype(np.float32)]
        length = end + len(gap)
    return np.concatenate(parts), turns


def between_pauses(
    client: Client, gallery: Gallery, file: Path, cleaner: Cleaner, rule: DecisionRule
) -> Iterator[Turn]:
    """Identifies each segment between two pauses alone; all unknown ones are one speaker."""
    rate = client.sample_rate
    pcm16 = to_pcm16(audio.decode(file, sample_rate=rate))
    with cleaner.clean(
        Recording(str(file), "", "unknown", file.name, None, None, 0, None)
    ) as cleaned:
        ranges = cleaned.ranges.tolist()
    for start, end in ranges:
        (embedding,) = client.embed_wavs([pack_wav(pcm16[start:end], rate)])
        name = None
        if embedding.status == OK:
            name = identify_embedding(client, gallery, embedding, top=1, rule=rule).speaker
        yield Turn(start / rate, end / rate, name or "unknown")


class Judge:
    """Conversations of the people of DATA, and the answers about them."""

    def __init__(self, client: Client, known: Mapping[str, Person], folder: Path) -> None:
        self._client, self._known, self._folder = client, known, folder
        speech = SpeechSettings.model_validate(client.describe().card["speech"])
        self._cleaner = Cleaner(speech)
        wavs = [
            pack_wav(to_pcm16(person.enrolment), client.sample_rate) for person in known.values()
        ]
        self._enrolments = {
            name: Enrolment(embedding, name, wav)
            for name, wav, embedding in zip(known, wavs, client.embed(wavs), strict=True)
        }

    def answers(self, number: int, seconds: float) -> tuple[Errors, Errors, str]:
        """Errors between pauses and of the timeline, and the time taken.

        Args:
            number: of the conversation.
            seconds: its length.
        """
        generator = np.random.default_rng([1, number])
        fewest, most = SPEAKERS
        names = [str(name) for name in generator.permutation(list(self._known))]
        count = fewest + number % (most - fewest + 1)
        talking, others = names[:count], names[count:]
        enrolled = [*talking[::2], *others[:BYSTANDERS]]
        gallery = Gallery(self._folder / f"gallery-{number}-{seconds:g}")
        for name in enrolled:
            gallery.enroll(name, [self._enrolments[name]], keep_audio=False)
        speech = {name: self._known[name].speech for name in talking}
        rate = self._client.sample_rate
        samples, turns = conversation(speech, seconds, rate, generator)
        file = self._folder / f"{number}-{seconds:g}.wav"
        soundfile.write(file, samples, rate)
        seconds = len(samples) / rate
        reference = frames_of(turns, seconds)
        rule = identification_rule(self._client, gallery)
        paused = list(between_pauses(self._client, gallery, file, self._cleaner, rule))
        wall, processor = time.monotonic(), time.process_time()
        recorded = timeline(self._client, gallery, file)
        took = (
            f"{seconds:.0f} s of audio in {time.monotonic() - wall:.1f} s, "
            f"{time.process_time() - processor:.1f} s of processors"
        )
        answer = [
            Turn(each.start_seconds, each.end_seconds, each.speaker) for each in recorded.turns
        ]
        return (
            errors(reference, frames_of(paused, seconds), enrolled),
            errors(reference, frames_of(answer, seconds), enrolled),
            took,
        )


def run(data: str, conversations: int) -> None:
    """Prints the errors of all conversations, and the time of a long one."""
    with Client.in_process() as client, tempfile.TemporaryDirectory() as folder:
        known = people(data, client.sample_rate)
        print(f"{len(known)} speakers")
        judge = Judge(client, known, Path(folder))
        results = [judge.answers(number, SECONDS) for number in range(conversations)]
        for at, name in enumerate(("between pauses", "timeline")):
            confusion, naming = (
                100.0 * np.array([result[at][of] for result in results]) for of in (0, 1)
            )
            print(
                f"{name}: wrong speaker {confusion.mean():.1f} % of the speech (median "
                f"{np.median(confusion):.1f} %), wrong name {naming.mean():.1f} %"
            )
        _, _, took = judge.answers(conversations, TIMED_SECONDS)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{took}; at most {peak:.0f} MiB of memory in all")


if __name__ == "__main__":
    run(sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 12)
