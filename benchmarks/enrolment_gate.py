"""What enrolments of one and of two people `swar enroll` refuses.

`python -m benchmarks.enrolment_gate MODEL DATA... [--clean N] [--mixed N]`: of folders of speakers,
or manifests of them, makes enrolments of a recording of 6 to 16 s (several of a speaker are joined
where there is none so long) with 5 s of speech or more: of one person, and of two people
of the same set, half of each, a third of one, in turns of 1.5 s, and two files of one person each.
Prints the share that is refused, beside that of the rule before: both halves of a file must be
of one speaker at the model's threshold.

That recordings of a folder are of one person is taken for granted: where an account may have
several users, as in Common Voice, single recordings are the clean ones.
"""

import argparse
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.table import Table

from components import audio
from components.errors import SwarError
from components.keyed_random import keyed_generator
from components.pcm16 import pack_wav, read_wav, to_pcm16
from components.recordings.sources import list_recordings
from components.terminal import Console
from serving.answers import OK
from serving.client import Client
from serving.enrolment_gate import LARGEST_CONTRAST, is_clipped, speaker_groups
from serving.recognition import MIN_ENROLMENT_SECONDS

SEED = 0
LONGEST_SECONDS = 16.0
LEAST_SECONDS = 6.0
TURN_SECONDS = 1.5
CLEAN = "one person"
ACCOUNTS = "common_voice"
"""In the name of data whose speakers are accounts: two recordings may be of two people."""
MIXED = ("halves", "a third", "turns", "two files")


@dataclass(frozen=True)
class Enrolment:
    """Recordings to enrol."""

    set: str
    kind: str
    files: tuple[np.ndarray, ...]
    """int16 [samples] each."""


def speech_of(data: str, rate: int) -> dict[str, list[np.ndarray]]:
    """By speaker, recordings that are long enough, or else all joined: int16 [samples] each."""
    paths: dict[str, list[str]] = defaultdict(list)
    for recording in list_recordings(data).recordings:
        paths[recording.speaker].append(recording.path)
    speech = {}
    for speaker, files in sorted(paths.items()):
        sounds = [
            audio.decode(file, sample_rate=rate, end_seconds=LONGEST_SECONDS) for file in files[:4]
        ]
        long = [sound for sound in sounds if len(sound) >= LEAST_SECONDS * rate]
        if not long and ACCOUNTS not in data:
            long = [np.concatenate(sounds)[: round(LONGEST_SECONDS * rate)]]
        if long and len(long[0]) >= LEAST_SECONDS * rate:
            speech[speaker] = [to_pcm16(sound) for sound in long]
    return speech


def mixed(name: str, kind: str, one: np.ndarray, other: np.ndarray, rate: int) -> Enrolment:
    """Of two people, half of the longest that is possible of each, or a third of the other one."""
    half = min(len(one), len(other), round(LONGEST_SECONDS / 2 * rate))
    if kind == "two files":
        return Enrolment(name, kind, (one[:half], other[:half]))
    if kind == "a third":
        third = half * 2 // 3
        return Enrolment(name, kind, (np.concatenate([one[: 2 * third], other[:third]]),))
    if kind == "halves":
        return Enrolment(name, kind, (np.concatenate([one[:half], other[:half]]),))
    turns = max(2, round(half / (TURN_SECONDS * rate)))
    sides = (np.array_split(each[:half], turns) for each in (one, other))
    return Enrolment(
        name, kind, (np.concatenate([turn for pair in zip(*sides, strict=True) for turn in pair]),)
    )


def enrolments(data: Sequence[str], rate: int, clean: int, of_two: int) -> list[Enrolment]:
    """Equally many of each set, as far as there are so many, in a drawn order."""
    made = []
    for source in data:
        name = Path(source).stem
        speech = speech_of(source, rate)
        generator = keyed_generator(SEED, "enrolment_gate", name)
        drawn = generator.permutation(sorted(speech)).tolist()
        single = [Enrolment(name, CLEAN, (sound,)) for each in drawn for sound in speech[each]]
        made += [single[at] for at in generator.permutation(len(single))[: clean // len(data)]]
        for at in range(of_two // len(data)):
            one, other = generator.choice(drawn, 2, replace=False).tolist()
            kind = MIXED[at % len(MIXED)]
            made.append(mixed(name, kind, speech[one][0], speech[other][0], rate))
    return made


def judge(client: Client, enrolment: Enrolment, rate: int) -> tuple[float, bool, bool] | None:
    """The largest contrast, and whether today's rules and the rule of halves refuse it.

    None of an enrolment that has too little speech for any rule.
    """
    wavs = [pack_wav(file, rate) for file in enrolment.files]
    embeddings = client.embed(wavs)
    if any(each.status != OK for each in embeddings):
        return None
    if sum(each.speech_seconds for each in embeddings) < MIN_ENROLMENT_SECONDS:
        return None
    groups = [found for wav in wavs if (found := speaker_groups(client, wav)) is not None]
    compared = embeddings
    if len(wavs) == 1:
        samples, _ = read_wav(wavs[0]) or (np.zeros(0, np.int16), 0)
        compared = client.embed([pack_wav(half, rate) for half in np.array_split(samples, 2)])
    is_same = all(each.status == OK for each in compared) and bool(
        client.score([compared[0].vector], [compared[1].vector])[0].same_speaker
    )
    refused = not all(group.is_one_speaker for group in groups) or any(
        is_clipped(each.quality) for each in embeddings
    )
    contrast = max((group.contrast for group in groups), default=0.0)
    return contrast, refused or (len(wavs) > 1 and not is_same), not is_same


def main() -> None:
    """Reads the arguments, prints a table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.enrolment_gate")
    parser.add_argument("model", metavar="MODEL")
    parser.add_argument("data", metavar="DATA", nargs="+")
    parser.add_argument("--clean", type=int, default=600)
    parser.add_argument("--mixed", type=int, default=200)
    arguments = parser.parse_args()
    judged = defaultdict(list)
    try:
        with Client.in_process(arguments.model) as client:
            rate = client.sample_rate
            for each in enrolments(arguments.data, rate, arguments.clean, arguments.mixed):
                if (found := judge(client, each, rate)) is not None:
                    kinds = {each.kind, CLEAN if each.kind == CLEAN else "two people"}
                    for kind in kinds:
                        judged[kind, each.set].append(found)
                        judged[kind, "all"].append(found)
    except SwarError as error:
        parser.exit(2, f"{parser.prog}: error: {error}\n")
    console = Console()
    table = Table()
    for column in ("of", "set", "enrolments", "refused %", "by halves %", "median contrast"):
        table.add_column(column)
    for (kind, name), rows in sorted(judged.items()):
        contrast, refused, by_halves = np.transpose(rows)
        table.add_row(
            kind,
            name,
            str(len(rows)),
            f"{100 * np.mean(refused):.1f}",
            f"{100 * np.mean(by_halves):.1f}",
            f"{np.median(contrast):.2f}",
        )
    console.print(table)
    for share in (0.02, 0.05, 0.1):
        limit = np.quantile([row[0] for row in judged[CLEAN, "all"]], 1.0 - share)
        caught = np.mean([row[0] > limit for row in judged["two people", "all"]])
        console.print(
            f"beyond a contrast of {limit:.2f} (in use: {LARGEST_CONTRAST}): {100 * share:.0f} % "
            f"of one person, {100 * caught:.0f} % of two people"
        )


if __name__ == "__main__":
    main()
