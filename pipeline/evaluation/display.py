"""What an evaluation looks like on a terminal."""

import math
from collections.abc import Iterable, Iterator, Sequence

from rich.console import Group, RenderableType
from rich.text import Text

from components.conditions import CLEAN
from components.errors import count_reasons
from components.terminal import Table
from components.verification import error_rates
from components.verification.attacks import GENUINE, AcceptedClaims
from components.verification.bootstrap import Estimate
from components.verification.identification import ClosedSet
from components.verification.manifest_columns import column_heading
from components.verification.open_set import (
    DEFAULT,
    HELD_FPIRS,
    MAX_FALSE_ACCEPT,
    PER_QUERY,
    TOO_FEW_CALIBRATION_SPEAKERS,
    OpenSet,
    held_fpir_name,
)
from components.verification.results import Evaluation
from components.verification.robustness import ConditionMetrics, NonSpeechMetrics
from components.verification.searches import BEST_MATCH
from components.verification.slices import EVERYTHING, SliceMetrics
from components.verification.trials import Selection
from components.verification.utterances import Unused
from pipeline.failures import one_line

NAMES_SHOWN = 10
# Heading, metric, and whether it is shown in per cent.
ROWS = (
    ("EER %", error_rates.EER, True),
    *(
        (f"minDCF {p_target:g}", error_rates.min_dcf_name(p_target), False)
        for p_target in error_rates.MIN_DCF_P_TARGETS
    ),
    ("AUC", error_rates.AUC, False),
    ("Cllr", error_rates.CLLR, False),
    ("precision", error_rates.BALANCED_PRECISION, False),
    ("recall", error_rates.RECALL, False),
    ("F1", error_rates.F1, False),
    ("false accepts %", error_rates.FALSE_ACCEPT_RATE, True),
    ("false rejects %", error_rates.FALSE_REJECT_RATE, True),
)


def render(evaluation: Evaluation) -> RenderableType:
    """Tables for each set, and what was left out."""
    parts: list[RenderableType] = [_about(evaluation)]
    for name in evaluation.data:
        parts += _set(evaluation, name)
    if evaluation.attacks:
        parts.append(_attacks(evaluation.attacks))
    parts += _warnings(evaluation)
    parts += _left_out("recordings", evaluation.rejected_recordings)
    parts += _left_out("utterances", evaluation.unusable_utterances)
    return Group(*parts)


def _set(evaluation: Evaluation, name: str) -> Iterator[RenderableType]:
    """What was measured on one set."""
    slices = [each for each in evaluation.slices if each.set == name]
    if slices:
        yield _figures(name, slices)
        yield _by_slice(slices)
    yield from _notes(name, [each for each in evaluation.selections if each.set == name])
    conditions = [each for each in evaluation.conditions if each.set == name]
    if conditions:
        yield _conditions(conditions)
    elif evaluation.settings["conditions"]:
        seconds = evaluation.settings["condition_seconds"]
        yield Text(
            f"{name}: no conditions, since there are no trials of about {seconds:g} s: "
            "choose another --duration",
            "dim",
        )
    yield from (_nonspeech(each) for each in evaluation.nonspeech if each.set == name)
    identified = [each for each in evaluation.identification if each.set == name]
    if identified:
        yield _identification(identified)
    searched = [each for each in evaluation.open_set if each.set == name]
    if searched:
        yield _open_set(searched)
        yield _open_set_notes(searched, evaluation.settings["best_match_comparisons"])


def _warnings(evaluation: Evaluation) -> Iterator[RenderableType]:
    """Reasons why the metrics may mislead a user."""
    if evaluation.trained_on:
        yield Text(
            f"the model was trained on {', '.join(evaluation.trained_on)}: new speakers give "
            "higher error rates; without a list, --split unseen has some",
            "red",
        )
    if evaluation.calibrated_on:
        yield Text(
            f"the model was calibrated on {', '.join(evaluation.calibrated_on)}: its thresholds "
            "fit these, others may be accepted wrongly more often",
            "red",
        )
    if evaluation.synthetic_speakers:
        yield Text(
            f"{evaluation.synthetic_speakers:,} of the speakers are synthetic, as the data says: "
            "nothing here tells how well the model does on people",
            "red",
        )
    if evaluation.repeated_recordings:
        yield Text(
            f"{evaluation.repeated_recordings:,} recordings have less speech than the model's "
            "window and were repeated to it: single words tell less than their duration says",
            "yellow",
        )


def _about(evaluation: Evaluation) -> RenderableType:
    model = evaluation.model
    return Text(
        f"model {model['model_digest']}, threshold {model['threshold']:.3f}, in {model['folder']}\n"
        "95 % intervals by resampling speakers; precision and F1 at equal numbers of same- and "
        "different-speaker trials, at the stored threshold",
        overflow="fold",
    )


def _figures(name: str, slices: Sequence[SliceMetrics]) -> RenderableType:
    """A column for each duration."""
    whole = [each for each in slices if each.sliced_by == EVERYTHING]
    table = _table(name, "speech a side", map(_duration, whole))
    table.add_row("speakers", *(f"{each.speakers:,}" for each in whole))
    table.add_row("same / different", *(f"{s.similar:,} / {s.dissimilar:,}" for s in whole))
    for heading, name, in_percent in ROWS:
        table.add_row(heading, *(_shown(each.figures[name], in_percent) for each in whole))
    return table


def _by_slice(slices: Sequence[SliceMetrics]) -> RenderableType:
    """The EER of every slice, a column for each duration."""
    whole = [each for each in slices if each.sliced_by == EVERYTHING]
    table = _table("EER % by slice", "slice", map(_duration, whole))
    found = {(s.sliced_by, s.value, _duration(s)): s.figures[error_rates.EER] for s in slices}
    for by, value in sorted({(s.sliced_by, s.value) for s in slices if s.sliced_by != EVERYTHING}):
        figures = (found.get((by, value, _duration(each))) for each in whole)
        label = f"{column_heading(by.removesuffix('_pair'))} {value}".replace("_", " ")
        table.add_row(label, *(_shown(each, True) if each else "" for each in figures))
    return table


def _conditions(conditions: Sequence[ConditionMetrics]) -> RenderableType:
    """A row for each condition on one side, and on both."""
    shown = (
        error_rates.EER,
        error_rates.FALSE_ACCEPT_RATE,
        error_rates.FALSE_REJECT_RATE,
        error_rates.CLLR,
    )
    headings = {name: (heading, in_percent) for heading, name, in_percent in ROWS if name in shown}
    table = _table(
        f"The same trials of {conditions[0].duration_seconds:g} s under conditions",
        "condition",
        ("sides", *(headings[name][0] for name in shown), "refused"),
    )
    for each in conditions:
        table.add_row(
            each.condition,
            "" if each.condition == CLEAN else each.changed_sides,
            _shown(each.figures[error_rates.EER], True),
            *(_value(each.figures[name], headings[name][1]) for name in shown[1:]),
            f"{each.refused:,} of {each.utterances:,}",
        )
    return table


def _nonspeech(found: NonSpeechMetrics) -> RenderableType:
    table = _table(
        f"{found.duration_seconds:g} s without speech: noise, tones, clicks, hum",
        "",
        ("taken as speech", "called one speaker", "called one with speech"),
    )
    counts = (
        (found.taken, found.sounds),
        (found.same_speaker_pairs, found.pairs),
        (found.same_speaker_pairs_with_speech, found.pairs_with_speech),
    )
    table.add_row("non-speech", *(f"{part:,} of {whole:,}" for part, whole in counts))
    return table


def _identification(results: Sequence[ClosedSet]) -> RenderableType:
    table = _table(
        f"Identification of {results[0].query_seconds:g} s utterances",
        "enrolment",
        ("enrolled", "queries", "top-1 %", "top-5 %"),
    )
    for each in results:
        table.add_row(
            f"{each.enrolment_seconds:g} s",
            f"{each.speakers:,}",
            f"{each.queries:,}",
            *(_shown(estimate, True) for estimate in each.figures.values()),
        )
    return table


def _attacks(results: Sequence[AcceptedClaims]) -> RenderableType:
    """A row for each kind; genuine recordings last."""
    table = _table(
        "Attacks: recordings that claim to be of these speakers, at the stored threshold",
        "kind",
        ("claimed speakers", "recordings", "refused", "accepted", "accepted %"),
    )
    for each in results:
        table.add_row(
            "genuine, for comparison" if each.kind == GENUINE else each.kind,
            f"{each.speakers:,}",
            f"{each.recordings:,}",
            f"{each.refused:,}",
            f"{each.accepted:,}",
            _shown(each.rate, True),
        )
    return table


def _open_set(results: Sequence[OpenSet]) -> RenderableType:
    """A row for each amount of enrolment, kind of reference and size of the gallery."""
    table = _table(
        f"Open set: {results[0].query_seconds:g} s utterances in galleries of N speakers",
        "enrolment",
        (
            "N",
            "FPIR %",
            "FNIR %",
            f"FNIR % at FPIR {100.0 * HELD_FPIRS[0]:g} %",
            "both within %",
            f"FPIR / FNIR % by {100.0 * MAX_FALSE_ACCEPT:g} % a query",
        ),
    )
    for column in table.columns[2:4]:
        column.min_width = len("(10.9-17.5)")  # an interval on one line
    for each in results:
        default, per_query = each.rates[DEFAULT], each.rates[PER_QUERY]
        table.add_row(
            f"{each.enrolment_seconds:g} s, {each.reference.split('_')[0]}",
            f"{each.gallery_speakers:,}",
            _shown(default.fpir, True),
            _shown(default.fnir, True),
            _value(each.rates[held_fpir_name(HELD_FPIRS[0])].fnir, True),
            f"{100.0 * each.held_rate:.1f}",
            ""
            if per_query.threshold is None
            else f"{_value(per_query.fpir, True)} / {_value(per_query.fnir, True)}",
        )
    return table


def _open_set_notes(results: Sequence[OpenSet], best_match_comparisons: int) -> RenderableType:
    """What the columns mean, and why some cells or rows may be missing."""
    lines = [
        "FPIR: unknown speakers who get a name. FNIR: enrolled ones who do not get theirs. First "
        "as `swar identify` decides among N, then where an FPIR is held on these same searches, "
        "and the least share that both can be held within there"
    ]
    missing = {each.gallery_speakers: each for each in results if each.missing}
    for size, each in missing.items():
        why = (
            f"{each.speakers_needed:,} calibration speakers would do"
            if each.missing == TOO_FEW_CALIBRATION_SPEAKERS
            else "the model has no such operating point"
        )
        lines.append(
            f"{100.0 * MAX_FALSE_ACCEPT:g} % a query among {size:,} is "
            f"{100.0 * each.comparison_rate:.2g} % a comparison: {why}"
        )
    amounts = {each.enrolment_seconds for each in results}
    matched = {each.enrolment_seconds for each in results if each.reference == BEST_MATCH}
    lines += [
        f"{seconds:g} s, best match: not measured, takes more than {best_match_comparisons:,} "
        "comparisons"
        for seconds in sorted(amounts - matched)
    ]
    return Text("\n".join(lines), "dim")


def _notes(name: str, selections: Sequence[Selection]) -> list[RenderableType]:
    """Notes on possible trials that were left out, or that lie within one recording."""
    notes: list[RenderableType] = []
    for each in selections:
        parts = []
        if each.utterances < each.utterances_possible:
            parts.append(f"{each.utterances:,} of {each.utterances_possible:,} utterances")
        if each.similar < each.similar_possible:
            parts.append(f"{each.similar:,} of {each.similar_possible:,} same-speaker trials")
        if each.dissimilar < each.dissimilar_possible:
            parts.append(
                f"{each.dissimilar:,} of {each.dissimilar_possible:,} different-speaker trials"
            )
        if each.similar_within_recording:
            parts.append(
                f"same-speaker trials within one recording: {each.similar_within_recording:,}"
            )
        if not each.utterances:
            parts = ["no speaker has an utterance"]
        if parts:
            notes.append(Text(f"{name}, {_duration(each)}: {', '.join(parts)}", "dim"))
    return notes


def _left_out(what: str, unused: Sequence[Unused]) -> list[RenderableType]:
    if not unused:
        return []
    reasons = count_reasons(each.reason for each in unused)
    names = [
        f"  {one_line(f'{each.set}: {each.name}')} ({each.reason}"
        f"{'' if each.condition == CLEAN else f', {each.condition}'})"
        for each in unused[:NAMES_SHOWN]
    ]
    if len(unused) > NAMES_SHOWN:
        names.append(f"  and {len(unused) - NAMES_SHOWN:,} more: --json or --output has them all")
    return [Text("\n".join([f"{what} not used: {reasons}", *names]), "yellow", overflow="fold")]


def _table(title: str, first: str, others: Iterable[str]) -> Table:
    table = Table(title=Text(title, "bold"), title_justify="left", box=None, pad_edge=False)
    table.add_column(first, no_wrap=True)
    for heading in others:
        table.add_column(heading, justify="right")
    return table


def _duration(part: SliceMetrics | Selection) -> str:
    seconds = part.duration_seconds
    return "whole files" if math.isnan(seconds) else f"{seconds:g} s"


def _value(estimate: Estimate, in_percent: bool) -> str:
    """The value alone, where there is no room for its interval."""
    return _shown(Estimate(estimate.value, math.nan, math.nan), in_percent)


def _shown(estimate: Estimate, in_percent: bool) -> str:
    """Such as `3.2 (2.1-4.5)`; empty without a value."""
    if math.isnan(estimate.value):
        return ""
    scale, digits = (100.0, 1) if in_percent else (1.0, 3)
    value, low, high = (scale * each for each in (estimate.value, estimate.low, estimate.high))
    # Without a single error all resamples are equal, which is not certainty.
    if math.isnan(low) or low == high:
        return f"{value:.{digits}f}"
    return f"{value:.{digits}f} ({low:.{digits}f}-{high:.{digits}f})"
