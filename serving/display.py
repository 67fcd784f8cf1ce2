"""What the commands print: for people, or as JSON for programs."""

import dataclasses
from collections.abc import Iterable, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from rich.text import Text

from components.errors import count_reasons
from components.json_text import to_json
from components.recording_quality import RecordingQuality
from components.terminal import Console, Table, say
from serving.answers import DIFFERENT, INCONCLUSIVE, OK, SAME, Decision
from serving.conditions import describe_quality
from serving.decisions import expectation, percent

if TYPE_CHECKING:  # their libraries take half a second to import
    from serving.bulk import Answer, Comparison
    from serving.decisions import DecisionRule
    from serving.embedding_file import EmbeddedData
    from serving.enrolled import EnrolledRecording, Speaker
    from serving.gallery_ledger import Event
    from serving.recognition import Candidate, EnrolmentReport, Identification
    from serving.timeline import Timeline, TimelineSpeaker

_ID_CHARACTERS: Final = 12
# Of a candidate, and of two recordings.
_VERDICTS: Final = {
    SAME: ("same speaker", "same speaker"),
    DIFFERENT: ("different", "different speakers"),
    INCONCLUSIVE: ("inconclusive", "inconclusive"),
}
_NOBODY: Final = {DIFFERENT: "unknown", INCONCLUSIVE: "inconclusive"}


def enrolment(report: "EnrolmentReport", *, as_json: bool) -> None:
    """What an enrolment did, and what is doubtful about it."""
    if as_json:
        _print_json(
            {
                **dataclasses.asdict(report),
                "mean_distance": report.mean_distance,
                "largest_distance": report.largest_distance,
                "consistent": all(part.matches for part in report.parts) if report.parts else None,
            }
        )
        return
    recordings = _count(report.added, "new recording")
    if report.recordings_before:
        recordings += f" beside {report.recordings_before} enrolled before"
    _say(f"{report.speaker}: {recordings}, {report.speech_seconds:.1f} s of speech in all")
    if report.parts:
        _say(
            f"distance of the parts from one another: {report.mean_distance:.3f} on average, "
            f"{report.largest_distance:.3f} at most"
        )
    elif report.added:
        _say("too short to tell how consistent it is: add another recording")
    _warn((*report.faults, *report.warnings))


def decision(decided: Decision, rule: "DecisionRule", *, as_json: bool) -> None:
    """Whether one person speaks in two recordings, and what to expect of such answers."""
    if as_json:
        _print_json({**dataclasses.asdict(decided), "rule": dataclasses.asdict(rule)})
        return
    _say(_verdict(decided), _style(decided))
    _say(expectation(rule), "dim")
    if decided.quality_b is None:
        _say_quality("recording", decided.quality_a)
    else:
        _say_quality("recording A", decided.quality_a)
        _say_quality("recording B", decided.quality_b)
    _warn(decided.warnings)


def identification(identified: "Identification", rule: "DecisionRule", *, as_json: bool) -> None:
    """Who speaks, the nearest speakers, and what to expect of such answers."""
    if as_json:
        _print_json(
            {
                **_identification_json(identified),
                "rule": dataclasses.asdict(rule),
            }
        )
        return
    if identified.speaker is None:
        _say(_NOBODY[identified.verdict], "yellow")
    else:
        _say(identified.speaker, "green")
    if identified.candidates:
        _print_table(
            ("speaker", "probability", "distance", ""), map(_candidate, identified.candidates)
        )
        _say(expectation(rule), "dim")
    _say_quality("recording", identified.quality)
    _warn((*identified.warnings, *_not_compared(identified.not_compared)))


def timeline(recorded: "Timeline", rule: "DecisionRule", *, as_json: bool) -> None:
    """Who speaks when, how much everyone speaks, and what to expect of such answers."""
    if as_json:
        _print_json(
            {
                "turns": [dataclasses.asdict(turn) for turn in recorded.turns],
                "speakers": [_timeline_speaker_json(each) for each in recorded.speakers],
                "recording_seconds": recorded.recording_seconds,
                "not_compared": _not_compared_by_timeline(recorded),
                "model_digest": recorded.model_digest,
                "rule": dataclasses.asdict(rule),
            }
        )
        return
    _print_table(
        ("from", "to", "speaker"),
        (
            (_clock(turn.start_seconds), _clock(turn.end_seconds), turn.speaker)
            for turn in recorded.turns
        ),
    )
    _say("")
    _print_table(
        ("speaker", "speech", "", "nearest", "probability", "distance"),
        map(_timeline_speaker, recorded.speakers),
    )
    _say(expectation(rule), "dim")
    for each in recorded.speakers:
        _warn(f"{each.speaker}: {warning}" for warning in each.identification.warnings)
    _warn(_not_compared(_not_compared_by_timeline(recorded)))


def rttm(recorded: "Timeline", name: str, channel: int) -> None:
    """A timeline for the tools of diarisation, see `serving.timeline.rttm`."""
    from serving.timeline import rttm as rttm_of

    say(rttm_of(recorded, name, channel).removesuffix("\n"))


def expected(rule: "DecisionRule", *, as_json: bool) -> None:
    """What to expect of many answers, on stderr after them; in JSON each row has it."""
    if not as_json:
        say(expectation(rule), error=True)


def comparison(compared: "Comparison", rule: "DecisionRule", *, as_json: bool) -> None:
    """One of many pairs, in a line."""
    a, b = str(compared.pair.a), str(compared.pair.b)
    decided = compared.decision
    if as_json:
        nothing = dict.fromkeys(field.name for field in dataclasses.fields(Decision))
        _print_json_line(
            {
                "recording_a": a,
                "recording_b": b,
                "status_a": compared.status_a,
                "status_b": compared.status_b,
                **(nothing if decided is None else dataclasses.asdict(decided)),
                "model_digest": compared.model_digest,
                "rule": dataclasses.asdict(rule),
            }
        )
    elif decided is None:
        statuses = ((a, compared.status_a), (b, compared.status_b))
        faults = ", ".join(f"{name} is {status}" for name, status in statuses if status != OK)
        _say(f"{a} {b}: not compared: {faults}", "yellow")
    else:
        _say(f"{a} {b}: {_verdict(decided)}{_warned(decided.warnings)}", _style(decided))


def answer(answered: "Answer", rule: "DecisionRule", *, as_json: bool) -> None:
    """Who speaks in one of many recordings, in a line."""
    name, identified = answered.recording, answered.identification
    if as_json:
        _print_json_line(
            {
                "recording": name,
                "status": answered.status,
                **_identification_json(identified),
                "model_digest": answered.model_digest,
                "rule": dataclasses.asdict(rule),
            }
        )
    elif identified is None:
        _say(f"{name}: not usable: {answered.status}", "yellow")
    elif identified.speaker is None:
        _say(f"{name}: {_NOBODY[identified.verdict]}{_warned(identified.warnings)}", "yellow")
    else:
        figures = _figures(identified.candidates[0].decision)
        _say(f"{name}: {identified.speaker} ({figures}){_warned(identified.warnings)}", "green")


def embedded(data: "EmbeddedData", *, as_json: bool) -> None:
    """What was embedded, and what was not."""
    if as_json:
        _print_json(dataclasses.asdict(data))
        return
    _say(f"{_count(data.statuses.get(OK, 0), 'recording')} embedded: {data.file}")
    unusable = {status: count for status, count in data.statuses.items() if status != OK}
    if unusable:
        _say(f"not usable, without an embedding: {count_reasons(unusable)}", "yellow")
    if data.left_out:
        _say(f"no recordings, left out: {count_reasons(data.left_out)}")


def speakers(enrolled: "Sequence[Speaker]", *, as_json: bool) -> None:
    """The enrolled speakers."""
    if as_json:
        _print_json([dataclasses.asdict(each) for each in enrolled])
    elif not enrolled:
        _say("nobody is enrolled")
    else:
        _print_table(
            ("speaker", "recordings", "speech", "last enrolled", "audio", "expires", "consent"),
            (
                (each.name, str(each.recordings), *_enrolled(each, each.last_enrolled))
                for each in enrolled
            ),
        )


def recordings(enrolled: "Sequence[EnrolledRecording]", *, as_json: bool) -> None:
    """The recordings of one speaker."""
    if as_json:
        _print_json([dataclasses.asdict(each) for each in enrolled])
        return
    _print_table(
        ("recording", "file", "speech", "enrolled", "audio", "expires", "consent"),
        (
            (each.id[:_ID_CHARACTERS], each.source, *_enrolled(each, each.enrolled_at))
            for each in enrolled
        ),
    )


def forgotten(name: str, recordings: int, *, one_recording: bool, as_json: bool) -> None:
    """That a speaker or a recording is removed, and where else data of the person may be."""
    if as_json:
        _print_json({"speaker": name, "recordings": recordings})
        return
    if one_recording:
        _say(f"{_count(recordings, 'recording')} of {name} is removed")
    else:
        _say(f"{name} is forgotten: {_count(recordings, 'recording')} removed")
    _say(
        "not touched: the files that were enrolled, backups, `swar embed` files, and what was "
        "trained on the person (docs/security.md)"
    )


def expired(recordings: int, *, as_json: bool) -> None:
    """How many expired recordings were removed."""
    _print_or_say(
        {"recordings": recordings},
        f"{_count(recordings, 'recording')} had expired: removed",
        as_json=as_json,
    )


def opted_out(name: str, forgotten: "Sequence[str]", *, as_json: bool) -> None:
    """That a speaker cannot be enrolled from now on, and who was forgotten."""
    if as_json:
        _print_json({"speaker": name, "opted_out": True, "forgotten": list(forgotten)})
        return
    _say(f"{name} is not enrolled from now on")
    for each in forgotten:
        _say(f"{each} is forgotten")


def opted_in(name: str, *, as_json: bool) -> None:
    """That a speaker who had opted out may be enrolled again."""
    _print_or_say(
        {"speaker": name, "opted_out": False}, f"{name} may be enrolled again", as_json=as_json
    )


def sealed(recordings: int, *, as_json: bool) -> None:
    """How many recordings were sealed."""
    _print_or_say(
        {"recordings": recordings},
        f"{_count(recordings, 'recording')} sealed with the first key",
        as_json=as_json,
    )


def new_key(file: Path, keys: int) -> None:
    """What to do with a new key."""
    _say(f"{file}: a new key is the first of {_count(keys, 'key')}")
    _say("keep a copy elsewhere: without it nothing opens what it has sealed")
    _say("`swar seal` seals the gallery with it; after that the other keys can be deleted")


def events(happened: "Sequence[Event]", *, as_json: bool) -> None:
    """What was done to the gallery."""
    if as_json:
        for each in happened:
            _print_json_line(dataclasses.asdict(each))
        return
    _print_table(
        ("at", "action", "recordings", "by"),
        (
            (f"{each.at:%Y-%m-%d %H:%M:%S} UTC", each.action, str(each.recordings), each.actor)
            for each in happened
        ),
    )


def reenrolled(recordings: int, *, as_json: bool) -> None:
    """How many were enrolled again."""
    text = "the gallery fits the model already"
    if recordings:
        text = f"{_count(recordings, 'recording')} enrolled again: the gallery fits the model"
    _print_or_say({"recordings": recordings}, text, as_json=as_json)


def _enrolled(each: "Speaker | EnrolledRecording", at: datetime) -> tuple[str, ...]:
    """The columns that both tables of enrolled speech share."""
    return (
        f"{each.speech_seconds:.1f} s",
        f"{at:%Y-%m-%d %H:%M} UTC",
        "kept" if each.audio_kept else "not kept",
        "never" if each.expires_at is None else f"{each.expires_at:%Y-%m-%d}",
        each.consent,
    )


def _candidate(candidate: "Candidate") -> tuple[str, ...]:
    decided = candidate.decision
    return (
        candidate.speaker,
        percent(decided.probability),
        f"{decided.distance:.3f}",
        _VERDICTS[decided.verdict][0],
    )


def _candidate_json(candidate: "Candidate") -> dict[str, Any]:
    decided = candidate.decision
    return {
        "speaker": candidate.speaker,
        "distance": decided.distance,
        "probability": decided.probability,
        "same_speaker": decided.same_speaker,
        "verdict": decided.verdict,
    }


def _identification_json(identified: "Identification | None") -> dict[str, Any]:
    """The same keys with an identification and without."""
    quality = identified and identified.quality
    return {
        "speaker": identified and identified.speaker,
        "verdict": identified and identified.verdict,
        "candidates": [_candidate_json(each) for each in identified.candidates]
        if identified
        else [],
        "quality": quality and dataclasses.asdict(quality),
        "warnings": identified.warnings if identified else (),
        "not_compared": identified.not_compared if identified else (),
    }


def _not_compared(names: Iterable[str]) -> list[str]:
    listed = ", ".join(names)
    return [f"not compared: {listed}: another model embedded their recordings"] if listed else []


def _not_compared_by_timeline(recorded: "Timeline") -> list[str]:
    """Enrolled speakers whom none of the recording's speakers was compared with."""
    every = (name for each in recorded.speakers for name in each.identification.not_compared)
    return list(dict.fromkeys(every))


def _say_quality(name: str, quality: RecordingQuality | None) -> None:
    if quality is not None:
        _say(f"{name}: {describe_quality(quality)}", "dim")


def _warned(warnings: Sequence[str]) -> str:
    """Warnings, to be appended to a line."""
    return "".join(f"; warning: {each}" for each in warnings)


def _warn(warnings: Iterable[str]) -> None:
    for each in warnings:
        _say(f"warning: {each}", "yellow")


def _timeline_speaker(each: "TimelineSpeaker") -> tuple[str, ...]:
    nearest = each.identification.candidates[:1]
    cells = _candidate(nearest[0])[:3] if nearest else ("", "", "")
    known = "enrolled" if each.is_enrolled else _NOBODY[each.identification.verdict]
    return (each.speaker, f"{each.speech_seconds:.1f} s", known, *cells)


def _timeline_speaker_json(each: "TimelineSpeaker") -> dict[str, Any]:
    quality = each.identification.quality
    return {
        "speaker": each.speaker,
        "is_enrolled": each.is_enrolled,
        "speech_seconds": each.speech_seconds,
        "verdict": each.identification.verdict,
        "candidates": [_candidate_json(one) for one in each.identification.candidates],
        "quality": quality and dataclasses.asdict(quality),
        "warnings": each.identification.warnings,
    }


def _clock(seconds: float) -> str:
    """Hours, if there are any, minutes, and seconds to a tenth."""
    tenths = round(10 * seconds)
    minutes, tenths = divmod(tenths, 600)
    hours, minutes = divmod(minutes, 60)
    ahead = f"{hours}:{minutes:02d}" if hours else str(minutes)
    return f"{ahead}:{tenths // 10:02d}.{tenths % 10}"


def _verdict(decided: Decision) -> str:
    return f"{_VERDICTS[decided.verdict][1]} ({_figures(decided)})"


def _style(decided: Decision) -> str:
    return {SAME: "green", INCONCLUSIVE: "yellow", DIFFERENT: "red"}[decided.verdict]


def _figures(decided: Decision) -> str:
    return f"probability {percent(decided.probability)}, distance {decided.distance:.3f}"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _print_json(value: Any) -> None:
    say(to_json(value))


def _print_json_line(value: Any) -> None:
    say(to_json(value, indent=None))


def _print_or_say(value: Any, text: str, *, as_json: bool) -> None:
    if as_json:
        _print_json(value)
    else:
        _say(text)


def _say(text: str, style: str = "") -> None:
    # A Text, not a str: a name in square brackets is not markup.
    Console().print(Text(text, style), soft_wrap=True)


def _print_table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    table = Table(*headings, box=None, pad_edge=False)
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    Console().print(table)
