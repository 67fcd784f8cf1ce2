"""What the commands print: for people, or as JSON for programs."""

import dataclasses
import json
import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from serving.answers import Decision

if TYPE_CHECKING:  # their libraries take half a second to import
    from serving.gallery import Speaker
    from serving.recognition import Candidate, EnrolmentReport, Identification


def enrolment(report: "EnrolmentReport", *, as_json: bool) -> None:
    """What an enrolment did, with a warning for each recording that does not fit the others."""
    misfits = [part.source for part in report.parts if not part.matches]
    if as_json:
        _print_json(
            {
                **dataclasses.asdict(report),
                "mean_distance": _number(report.mean_distance),
                "largest_distance": _number(report.largest_distance),
                "consistent": not misfits if report.parts else None,
            }
        )
        return
    recordings = _count(report.added, "new recording")
    _say(f"{report.speaker}: {recordings}, {report.speech_seconds:.1f} s of speech in all")
    if report.parts:
        _say(
            f"distance of the parts from one another: {report.mean_distance:.3f} on average, "
            f"{report.largest_distance:.3f} at most"
        )
    elif report.added:
        _say("too short to tell how consistent it is: add another recording")
    for source in misfits:
        _say(f"warning: {source!r} does not sound like the same speaker as the rest", "yellow")


def decision(decided: Decision, *, as_json: bool) -> None:
    """Whether two voices are one."""
    if as_json:
        _print_json(dataclasses.asdict(decided))
    elif decided.same_speaker:
        _say(f"same speaker ({_figures(decided)})", "green")
    else:
        _say(f"different speakers ({_figures(decided)})", "red")


def identification(identified: "Identification", *, as_json: bool) -> None:
    """Who speaks, and the nearest speakers."""
    if as_json:
        _print_json(
            {
                "speaker": identified.speaker,
                "candidates": [
                    {"speaker": each.speaker, **dataclasses.asdict(each.decision)}
                    for each in identified.candidates
                ],
            }
        )
        return
    if identified.speaker is None:
        _say("unknown", "yellow")
    else:
        _say(identified.speaker, "green")
    if identified.candidates:
        _print_table(
            ("speaker", "probability", "distance", ""), map(_candidate, identified.candidates)
        )


def speakers(everybody: "Sequence[Speaker]", *, as_json: bool) -> None:
    """The enrolled speakers."""
    if as_json:
        _print_json(
            [
                {**dataclasses.asdict(each), "last_enrolled": each.last_enrolled.isoformat()}
                for each in everybody
            ]
        )
        return
    if not everybody:
        _say("nobody is enrolled")
        return
    _print_table(
        ("speaker", "recordings", "speech", "last enrolled", "audio"),
        (
            (
                each.name,
                str(each.recordings),
                f"{each.speech_seconds:.1f} s",
                f"{each.last_enrolled:%Y-%m-%d %H:%M} UTC",
                "kept" if each.audio_kept else "not kept",
            )
            for each in everybody
        ),
    )


def forgotten(name: str, recordings: int, *, as_json: bool) -> None:
    """That a speaker is gone."""
    if as_json:
        _print_json({"speaker": name, "recordings": recordings})
    else:
        _say(f"{name} is forgotten: {_count(recordings, 'recording')} removed")


def reenrolled(recordings: int, *, as_json: bool) -> None:
    """How much was made anew."""
    if as_json:
        _print_json({"recordings": recordings})
    elif recordings:
        _say(f"{_count(recordings, 'recording')} enrolled again: the gallery fits the model")
    else:
        _say("the gallery fits the model already")


def _candidate(candidate: "Candidate") -> tuple[str, ...]:
    decided = candidate.decision
    return (
        candidate.speaker,
        f"{decided.probability:.3f}",
        f"{decided.distance:.3f}",
        "same speaker" if decided.same_speaker else "different",
    )


def _figures(decided: Decision) -> str:
    return f"probability {decided.probability:.3f}, distance {decided.distance:.3f}"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _number(value: float) -> float | None:
    return None if math.isnan(value) else value


def _print_json(value: Any) -> None:
    print(json.dumps(value, ensure_ascii=False, indent=2, allow_nan=False))


def _say(text: str, style: str = "") -> None:
    # A Text, not a str: a name in square brackets is no markup.
    Console().print(Text(text, style), soft_wrap=True)


def _print_table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    table = Table(*headings, box=None, pad_edge=False)
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    Console().print(table)
