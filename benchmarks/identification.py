"""How well a served model identifies speakers new to it, who are enrolled with 10 s.

`python -m benchmarks.identification URL DATA [OUTPUT]`: asks the endpoint (`swar serve`) about the
speakers of a folder, or with OUTPUT, of a finished run, about those that it held out as `unseen`.
A speaker is enrolled with the first utterances of the recordings, until they have 10 s of speech;
every later utterance is a query. Then the same is done with half of the speakers not enrolled.
"""

import sys
import tempfile
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from components import audio, features
from components.pcm16 import pack_wav, to_pcm16
from components.recordings.sources import list_recordings
from pipeline.models.lineage import recordings_of
from pipeline.output.records import Records
from serving import recognition
from serving.client import Client
from serving.gallery import Gallery

ENROLMENT_SECONDS, UTTERANCE_SECONDS = 10.0, 10.0


@dataclass(frozen=True)
class SpeakerSpeech:
    """A speaker's enrolment and queries, as WAVs."""

    enrolment: list[bytes]
    queries: list[bytes]


def unseen_speakers(output: Path) -> set[str]:
    """The speakers that a finished run never trained on."""
    rows = recordings_of(Records(output).latest_outputs())
    return {row["speaker"] for row in rows if features.UNSEEN in row["splits"]}


def utterances(path: str, sample_rate: int) -> list[bytes]:
    """A recording cut every ten seconds; a shorter rest is joined to the last utterance."""
    pcm16 = to_pcm16(audio.decode(path, sample_rate=sample_rate))
    parts = max(1, int(len(pcm16) / sample_rate / UTTERANCE_SECONDS))
    size = int(UTTERANCE_SECONDS * sample_rate)
    ends = [size * (part + 1) for part in range(parts - 1)] + [len(pcm16)]
    return [pack_wav(pcm16[size * part : end], sample_rate) for part, end in enumerate(ends)]


def speech_of(client: Client, paths: list[str]) -> SpeakerSpeech:
    """Usable utterances of one speaker, in the order of the files."""
    enrolment: list[bytes] = []
    queries: list[bytes] = []
    seconds = 0.0
    for path in paths:
        wavs = utterances(path, client.sample_rate)
        for wav, embedding in zip(wavs, client.embed(wavs), strict=True):
            if embedding.status != "ok":
                continue
            if seconds < ENROLMENT_SECONDS:
                enrolment.append(wav)
                seconds += embedding.speech_seconds
            else:
                queries.append(wav)
    return SpeakerSpeech(enrolment, queries)


def ask(client: Client, people: dict[str, SpeakerSpeech], enrolled: list[str]) -> dict[str, float]:
    """Enrols some of the speakers and identifies the queries of all."""
    with tempfile.TemporaryDirectory() as folder:
        gallery = Gallery(Path(folder, "gallery"))
        for name in enrolled:
            recognition.enroll(client, gallery, name, people[name].enrolment)
        right, refused, accepted = [], [], []
        for name, speech in people.items():
            for query in speech.queries:
                found = recognition.identify(client, gallery, query)
                if name in enrolled:
                    right.append(found.candidates[0].speaker == name)
                    refused.append(found.speaker is None)
                else:
                    accepted.append(found.speaker is not None)
    return {
        "queries": len(right) + len(accepted),
        "top-1": float(np.mean(right)),
        "false rejects": float(np.mean(refused)),
        "false accepts": float(np.mean(accepted)) if accepted else float("nan"),
    }


def run(url: str, data: str, output: Path | None) -> None:
    """Prints the results of both tries."""
    paths = defaultdict(list)
    for recording in list_recordings(data).recordings:
        paths[recording.speaker].append(recording.path)
    wanted = unseen_speakers(output) if output else set(paths)
    with Client(url) as client:
        people = {name: speech_of(client, paths[name]) for name in sorted(wanted)}
        usable = {name: speech for name, speech in people.items() if speech.queries}
        print(f"{len(people)} speakers, {len(people) - len(usable)} of them with too little speech")
        names = list(usable)
        for enrolled in (names, names[::2]):
            told = ask(client, usable, enrolled)
            print(
                f"{len(enrolled)} enrolled: {told['queries']} queries, "
                + ", ".join(f"{key} {told[key]:.1%}" for key in list(told)[1:])
            )


if __name__ == "__main__":
    run(sys.argv[1], sys.argv[2], Path(sys.argv[3]) if len(sys.argv) > 3 else None)
