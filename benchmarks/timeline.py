"""Who speaks when in made conversations: the timeline beside segments between pauses alone.

`python -m benchmarks.timeline DATA [CONVERSATIONS]`: turns of people of DATA (a folder of speakers or
a manifest) are joined to conversations of two minutes, always the same ones. Of the two to four people
of a conversation every other one is enrolled with 10 s of a recording that is in no conversation,
with eight who are in none. Then a conversation of ten minutes is timed.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

Samples = npt.NDArray[np.float32]

ENROLMENT_SECONDS: Final = 10.0
LEAST_SECONDS: Final = 20.0
"""Of a speaker's recordings that are not enrolled."""
SPEAKERS: Final = (2, 4)
BYSTANDERS: Final = 8
TURN_SECONDS: Final = (1.0, 12.0)
GAP_SECONDS: Final = (0.2, 1.5)
NO_GAP: Final = 0.5
"""Share of turns that begin as soon as the one before ends."""


@dataclass(frozen=True)
class Turn:
    """Who speaks, from when to when."""

    start_seconds: float
    end_seconds: float
    speaker: str


def conversation(
    speech: dict[str, Samples], seconds: float, sample_rate: int, generator: np.random.Generator
) -> tuple[Samples, list[Turn]]:
    """Turns of people, one after the other, never twice the same one; speech is used again when
    there is no more of it.

    Args:
        speech: float32 [samples] of each.
        seconds: at least so many.
        sample_rate: in Hz.
        generator: of what is drawn.
    """
    names = sorted(speech)
    at = dict.fromkeys(names, 0)
    parts: list[Samples] = []
    turns: list[Turn] = []
    length, speaker = 0, ""
    while length < seconds * sample_rate:
        others = [name for name in names if name != speaker]
        speaker = others[generator.integers(len(others))]
        # Short turns are more frequent than long ones.
        turn_seconds = np.exp(generator.uniform(*np.log(TURN_SECONDS)))
        taken = np.arange(round(turn_seconds * sample_rate)) + at[speaker]
        at[speaker] = int(taken[-1]) + 1
        turn = speech[speaker].take(taken, mode="wrap")
        turns.append(Turn(length / sample_rate, (length + len(turn)) / sample_rate, speaker))
        gap_seconds = 0.0 if generator.random() < NO_GAP else generator.uniform(*GAP_SECONDS)
        gap = 1e-3 * generator.standard_normal(round(gap_seconds * sample_rate))
        parts += [turn, gap.astype(np.float32)]
        length += len(turn) + len(gap)
    return np.concatenate(parts), turns
