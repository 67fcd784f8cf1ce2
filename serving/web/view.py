"""What the page shows, as HTML. All text from outside is escaped."""

import base64
import html
from collections.abc import Iterable, Sequence
from typing import Final

from components import audio
from serving.answers import DIFFERENT, INCONCLUSIVE, OK, SAME, Decision, Embedding
from serving.client import fault
from serving.conditions import describe_quality
from serving.decisions import DecisionRule, expectation, percent
from serving.enrolled import Speaker
from serving.recognition import MIN_ENROLMENT_SECONDS, Candidate, EnrolmentReport, Identification
from serving.web.spectrogram import spectrogram_png

_MORE_SPEECH: Final = (
    "Not near enough for this risk, and not far enough to exclude: ask for more speech."
)
_LISTED_SPEAKERS: Final = 100
_SHOWN_SECONDS: Final = 60.0
_SHOWN_RATE_HZ: Final = 16_000


def card(tone: str, title: str, *paragraphs: str, inner: str = "") -> str:
    """A framed answer.

    Args:
        tone: the frame's colour: "same", "different", "inconclusive", "error" or "plain".
        title: plain text.
        paragraphs: plain text.
        inner: HTML below them.
    """
    texts = "".join(f"<p>{html.escape(text)}</p>" for text in paragraphs)
    role = "alert" if tone == "error" else "status"
    return (
        f'<section class="swar-card swar-{tone}" role="{role}">'
        f"<h2>{html.escape(title)}</h2>{texts}{inner}</section>"
    )


def error(message: str) -> str:
    """What went wrong, in one sentence."""
    return card("error", "That did not work", message[:1].upper() + message[1:])


_VERDICTS: Final = {
    SAME: "✓ The same speaker",
    DIFFERENT: "✗ Different speakers",
    INCONCLUSIVE: "? Inconclusive",
}


def quality(embedding: Embedding) -> str:
    """A recording's usable speech, signal-to-noise ratio, band and clipping.

    Raises:
        SwarError: the model cannot use the recording.
    """
    if embedding.status != OK:
        raise fault("the recording", embedding.status)
    if embedding.quality is None:
        return ""
    text = describe_quality(embedding.quality)
    more = f" For an enrolment give {MIN_ENROLMENT_SECONDS:g} s or more."
    short = embedding.speech_seconds < MIN_ENROLMENT_SECONDS
    return f'<p class="swar-quality" role="status">{html.escape(text)}.{more if short else ""}</p>'


def verdict(decision: Decision, rule: DecisionRule) -> str:
    """Same, different or inconclusive, with the probability and the expected error rates."""
    # Other rules' thresholds may lie elsewhere.
    middle = "50 %<br>threshold" if rule.is_of_model else "50 %"
    scale = (
        '<div class="swar-scale"><span>0 %<br>different</span>'
        f"<span>{middle}</span><span>100 %<br>same</span></div>"
    )
    return card(
        decision.verdict,
        _VERDICTS[decision.verdict],
        f"Probability that one person speaks in both: {percent(decision.probability)}. "
        f"Distance: {decision.distance:.3f}.",
        *([_MORE_SPEECH] if decision.verdict == INCONCLUSIVE else []),
        _sentence(expectation(rule)),
        inner=f'<div class="swar-gauge">{_track(decision)}{scale}</div>'
        + _warnings(decision.warnings),
    )


def identified(identification: Identification, rule: DecisionRule) -> str:
    """The nearest enrolled speakers, and whether one of them speaks."""
    warnings = _warnings(
        [
            *identification.warnings,
            *(
                f"{name} was enrolled with another model and was not compared"
                for name in identification.not_compared
            ),
        ]
    )
    if not identification.candidates:
        if warnings:
            return card("plain", "No enrolled speaker could be compared", inner=warnings)
        return nobody_enrolled()
    expected = _sentence(expectation(rule))
    table = _candidates(identification.candidates, rule) + warnings
    if identification.verdict == INCONCLUSIVE:
        nearest = f"{_MORE_SPEECH} The nearest are:"
        return card(INCONCLUSIVE, "? Inconclusive", expected, nearest, inner=table)
    if identification.speaker is None:
        nearest = "No enrolled speaker is close enough. The nearest are:"
        return card(DIFFERENT, "? Unknown speaker", expected, nearest, inner=table)
    return card(SAME, f"✓ {identification.speaker}", expected, inner=table)


def _candidates(candidates: Sequence[Candidate], rule: DecisionRule) -> str:
    rows = (
        f'<tr class="swar-{each.decision.verdict}">'
        f"<td>{html.escape(each.speaker)}</td><td>{percent(each.decision.probability)}</td>"
        f"<td>{each.decision.distance:.3f}</td>"
        f'<td class="swar-bar">{_track(each.decision)}</td></tr>'
        for each in candidates
    )
    middle = "Threshold" if rule.is_of_model else "50 %"
    return _table(("Speaker", "Probability", "Distance", f"{middle} at the middle"), rows)


def enrolled(report: EnrolmentReport) -> str:
    """How much speech the speaker has, and how well the recordings fit together."""
    paragraphs = [f"{report.speech_seconds:.1f} s of usable speech in all."]
    if not report.added:
        paragraphs.append("These recordings were enrolled before: nothing was added.")
    if report.parts:
        paragraphs.append(
            f"Consistency: {report.mean_distance:.3f} mean and {report.largest_distance:.3f} "
            "largest distance of a recording (of a single one's passages) from the others."
        )
    title = f"✓ {report.speaker} is enrolled"
    return card("same", title, *paragraphs, inner=_warnings(report.warnings))


def speakers(enrolled_speakers: Sequence[Speaker]) -> str:
    """The enrolled speakers, the first hundred of them."""
    if not enrolled_speakers:
        return nobody_enrolled()
    listed = enrolled_speakers[:_LISTED_SPEAKERS]
    rows = (
        _row(
            each.name,
            str(each.recordings),
            f"{each.speech_seconds:.0f} s",
            f"{each.last_enrolled:%-d %b %Y}",
            "kept" if each.audio_kept else "not kept",
        )
        for each in listed
    )
    count = len(enrolled_speakers)
    return card(
        "plain",
        "1 speaker" if count == 1 else f"{count:,} speakers",
        *([f"The first {len(listed)} by name:"] if len(listed) < count else []),
        inner=_table(("Name", "Recordings", "Speech", "Last enrolled", "Audio"), rows),
    )


def forgotten(name: str, recordings: int) -> str:
    """That a speaker is gone."""
    what = "1 recording" if recordings == 1 else f"{recordings} recordings"
    return card("plain", f"{name.strip()} is forgotten", f"{what} removed, also from the disk.")


def nobody_enrolled() -> str:
    """That the gallery is empty."""
    return card("plain", "Nobody is enrolled yet")


def _warnings(warnings: Sequence[str]) -> str:
    items = "".join(f"<li>{html.escape(_sentence(each))}</li>" for each in warnings)
    return f'<ul class="swar-warnings">{items}</ul>' if items else ""


def _table(headings: Iterable[str], rows: Iterable[str]) -> str:
    cells = "".join(f"<th>{html.escape(heading)}</th>" for heading in headings)
    return f"<table><thead><tr>{cells}</tr></thead><tbody>{''.join(rows)}</tbody></table>"


def _row(*cells: str) -> str:
    return f"<tr>{''.join(f'<td>{html.escape(cell)}</td>' for cell in cells)}</tr>"


def spectrogram(path: str | None) -> str:
    """A picture of the first minute of the recording at `path`; empty for None."""
    if path is None:
        return ""
    try:
        samples = audio.decode(path, sample_rate=_SHOWN_RATE_HZ, end_seconds=_SHOWN_SECONDS)
    except audio.AudioError as fault:
        return error(f"the recording {fault.message}: give another one.")
    seconds = len(samples) / _SHOWN_RATE_HZ
    shown = f"first {seconds:.0f} s" if seconds >= _SHOWN_SECONDS else f"{seconds:.1f} s"
    picture = base64.b64encode(spectrogram_png(samples)).decode("ascii")
    return (
        '<figure class="swar-spectrogram">'
        f'<img src="data:image/png;base64,{picture}" alt="Spectrogram of the recording, {shown}">'
        f"<figcaption><span>Spectrogram, 0-{_SHOWN_RATE_HZ // 2000} kHz</span>"
        f"<span>{shown}</span></figcaption></figure>"
    )


def _track(decision: Decision) -> str:
    left = f"{100.0 * decision.probability:.1f}%"
    label = f"{percent(decision.probability)} on a scale from 0 to 100 %"
    return (
        f'<div class="swar-track" role="img" aria-label="{label}">'
        f'<i></i><b style="left: clamp(9px, {left}, calc(100% - 9px))"></b></div>'
    )


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}."
