"""Which enrolments of one and of two people `swar enroll` refuses.

`python -m benchmarks.enrolment_gate MODEL DATA... [--clean N] [--mixed N]`: makes enrolments from
folders or manifests of speakers, each of a recording of 6 to 16 s (several of a speaker are joined
if none is so long) with 5 s of speech or more. They are of one person; of two people of the same
set, with half of each, a third of one, turns of 1.5 s, or a file of each; and of one person in up
to three files. Prints the refused share of two halves of each set's speakers: those by whom the
limits of `serving.enrolment_gate` may be chosen, and the others, who judge them. Differences are in
units of these limits.

It is assumed that the recordings of a folder are of one person. Where an account may have several
users, as in Common Voice, only single recordings count as clean, and refusing several files of an
account may be right.
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
from components.pcm16 import pack_wav, to_pcm16
from components.recordings.sources import list_recordings
from components.terminal import Console
from serving import enrolled
from serving.answers import OK
from serving.client import Client
from serving.enrolment_gate import check
from serving.recognition import MIN_ENROLMENT_SECONDS

SEED = 0
LONGEST_SECONDS = 16.0
LEAST_SECONDS = 6.0
TURN_SECONDS = 1.5
CLEAN = "one person, a file"
SEVERAL = "one person, several files"
MOST_FILES = 3
TWO = "two people"
ACCOUNTS = "common_voice"
"""In names of data whose speakers are accounts: two recordings may be of two people."""
MIXED = ("halves", "a third", "turns", "two files")
HALVES = ("chosen by", "judged by")


@dataclass(frozen=True)
class Enrolment:
    """Recordings to enrol."""

    set: str
    half: str
    """Half of the set's speakers: one of HALVES."""
    kind: str
    files: tuple[np.ndarray, ...]
    """int16 [samples] each."""


def sounds_of(data: str, rate: int) -> dict[str, list[np.ndarray]]:
    """The first recordings by speaker: int16 [samples] each."""
    paths: dict[str, list[str]] = defaultdict(list)
    for recording in list_recordings(data).recordings:
        paths[recording.speaker].append(recording.path)
    return {
        speaker: [
            to_pcm16(audio.decode(file, sample_rate=rate, end_seconds=LONGEST_SECONDS))
            for file in files[:4]
        ]
        for speaker, files in sorted(paths.items())
    }


def long_sounds(sounds: list[np.ndarray], rate: int, *, may_join: bool) -> list[np.ndarray]:
    """The sounds that are long enough, or else, if they may be joined, all as one."""
    long = [sound for sound in sounds if len(sound) >= LEAST_SECONDS * rate]
    if not long and may_join:
        long = [np.concatenate(sounds)[: round(LONGEST_SECONDS * rate)]]
    return [sound for sound in long if len(sound) >= LEAST_SECONDS * rate]


def mixed(kind: str, one: np.ndarray, other: np.ndarray, rate: int) -> tuple[np.ndarray, ...]:
    """Sounds of two people: as long as possible, half of each, or a third of the other one."""
    half = min(len(one), len(other), round(LONGEST_SECONDS / 2 * rate))
    if kind == "two files":
        return one[:half], other[:half]
    if kind == "a third":
        third = half * 2 // 3
        return (np.concatenate([one[: 2 * third], other[:third]]),)
    if kind == "halves":
        return (np.concatenate([one[:half], other[:half]]),)
    turns = max(2, round(half / (TURN_SECONDS * rate)))
    sides = (np.array_split(each[:half], turns) for each in (one, other))
    return (np.concatenate([turn for pair in zip(*sides, strict=True) for turn in pair]),)


def enrolments(data: Sequence[str], rate: int, clean: int, of_two: int) -> list[Enrolment]:
    """Equally many enrolments of each set, as far as there are so many, in random order."""
    made = []
    for source in data:
        name = Path(source).stem
        sounds = sounds_of(source, rate)
        long = {
            speaker: long_sounds(each, rate, may_join=ACCOUNTS not in source)
            for speaker, each in sounds.items()
        }
        generator = keyed_generator(SEED, "enrolment_gate", name)
        drawn = generator.permutation(sorted(sounds)).tolist()
        for half, speakers in zip(HALVES, (drawn[::2], drawn[1::2]), strict=True):
            share = 2 * len(data)
            single: list[tuple[np.ndarray, ...]] = [
                (sound,) for each in speakers for sound in long[each]
            ]
            several = [
                tuple(sounds[each][:MOST_FILES]) for each in speakers if len(sounds[each]) > 1
            ]
            for kind, files in ((CLEAN, single), (SEVERAL, several)):
                chosen = generator.permutation(len(files))[: clean // share]
                made += [Enrolment(name, half, kind, files[at]) for at in chosen]
            whole = [each for each in speakers if long[each]]
            for at in range(of_two // share):
                one, other = generator.choice(whole, 2, replace=False).tolist()
                kind = MIXED[at % len(MIXED)]
                of_both = mixed(kind, long[one][0], long[other][0], rate)
                made.append(Enrolment(name, half, kind, of_both))
    return made


def judge(client: Client, enrolment: Enrolment, rate: int) -> tuple[float, bool] | None:
    """The largest difference, and whether the enrolment is refused.

    None for an enrolment with too little speech for any rule.
    """
    wavs = [pack_wav(file, rate) for file in enrolment.files]
    embeddings = client.embed(wavs)
    if any(each.status != OK for each in embeddings):
        return None
    if sum(each.speech_seconds for each in embeddings) < MIN_ENROLMENT_SECONDS:
        return None
    report = check(
        client,
        [
            enrolled.Enrolment(each, str(at), wav)
            for at, (wav, each) in enumerate(zip(wavs, embeddings, strict=True))
        ],
    )
    differences = [group.difference for group in report.groups if group is not None]
    return max(differences, default=0.0), bool(report.faults)


def main() -> None:
    """Prints a table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.enrolment_gate")
    parser.add_argument("model", metavar="MODEL")
    parser.add_argument("data", metavar="DATA", nargs="+")
    parser.add_argument("--clean", type=int, default=600)
    parser.add_argument("--mixed", type=int, default=480)
    arguments = parser.parse_args()
    judged = defaultdict(list)
    try:
        with Client.in_process(arguments.model) as client:
            rate = client.sample_rate
            for each in enrolments(arguments.data, rate, arguments.clean, arguments.mixed):
                if (found := judge(client, each, rate)) is not None:
                    kinds = {each.kind} if each.kind in (CLEAN, SEVERAL) else {each.kind, TWO}
                    for kind in kinds:
                        judged[kind, each.set, each.half].append(found)
                        judged[kind, "all", each.half].append(found)
    except SwarError as error:
        parser.exit(2, f"{parser.prog}: error: {error}\n")
    console = Console()
    table = Table("of", "set", "speakers", "enrolments", "refused %", "median difference", box=None)
    for (kind, name, half), rows in sorted(judged.items()):
        difference, refused = np.transpose(rows)
        table.add_row(
            kind,
            name,
            half,
            str(len(rows)),
            f"{100 * np.mean(refused):.1f}",
            f"{np.median(difference):.2f}",
        )
    console.print(table)
    clean = [row[0] for half in HALVES for row in judged[CLEAN, "all", half]]
    for share in (0.01, 0.02, 0.05):
        console.print(
            f"difference that {100 * share:.0f} % of one person's files are beyond: "
            f"{np.quantile(clean, 1.0 - share):.3f}"
        )


if __name__ == "__main__":
    main()
