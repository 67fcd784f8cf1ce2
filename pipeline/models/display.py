"""Lineage, drift and calibration as tables for the terminal."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Group, RenderableType
from rich.text import Text

from components.errors import count_reasons
from components.terminal import Table
from components.verification.error_rates import ALL_NONTARGETS, FALSE_ACCEPT_RATE, FALSE_REJECT_RATE
from pipeline.models.drift_settings import OUTCOME
from pipeline.output.summary import SHOWN_METRICS, facts_table

if TYPE_CHECKING:
    from pipeline.models.calibration import CalibratedModel
    from pipeline.models.drift import Drift
    from pipeline.models.lineage import ModelLineage, Sighting
    from pipeline.models.watched_drift import WatchedDrift


def lineage_table(found: "ModelLineage") -> RenderableType:
    """What a model was made from, and how it was judged."""
    data = found.data
    if found.spans:
        data += f" ({len(found.spans)} spans, {found.spans[0]} to {found.spans[-1]})"
    facts = {
        "model": found.model_digest,
        "trained": found.trained,
        "published": ", ".join(f"{version} ({at})" for version, at in found.published.items()),
        "served": "yes, it is the newest version" if found.is_served else "no",
        "rolled back": found.rolled_back or "no",
        "blessed": "yes" if found.blessed else f"no: {'; '.join(found.not_blessed_because)}",
        "calibrated on": _calibrated_on(found.calibrated_on),
        "started from": found.parent or "no other model",
        "data": data,
        "data digest": found.data_digest,
        "recordings": f"{found.recordings:,}",
        "config digest": found.config_digest,
        **{f"code of {name}": digest for name, digest in found.code.items()},
        "artifact": found.artifact,
    }
    return Group(facts_table(facts), _metrics_table(found))


def sightings_table(recording: str, seen: Sequence["Sighting"]) -> RenderableType:
    """Which models saw a recording, and how much of it in which split."""
    if not seen:
        return Text(f"no model saw {recording}")
    table = Table(title=Text(recording, "bold"))
    for column in ("model", "trained", "versions", "recordings", "seconds by split"):
        table.add_column(column)
    for each in seen:
        table.add_row(
            each.model_digest,
            each.trained,
            ", ".join(map(str, each.versions)) + (" (served)" if each.is_served else ""),
            f"{each.recordings:,}",
            ", ".join(f"{split} {value:.1f}" for split, value in sorted(each.seconds.items())),
        )
    return table


def drift_table(found: "Drift") -> RenderableType:
    """Each feature with both medians, the divergence and its bound."""
    table = Table(title=Text(f"{found.model} and {found.data}", "bold"))
    table.add_column("median of recordings")
    for column in (
        f"{found.training_recordings:,} of the training",
        f"{found.serving_recordings:,} served",
        "divergence",
        "allowed",
        "drift",
    ):
        table.add_column(column, justify="right")
    for each in found.compared:
        table.add_row(
            "share that is used" if each.feature == OUTCOME else each.feature.replace("_", " "),
            _number(each.training, 2),
            _number(each.serving, 2),
            _number(each.divergence, 3),
            f"{each.allowed:g}",
            Text("yes", "red") if each.has_drifted else Text("no", "green"),
        )
    return table


def watched_drift_table(found: "WatchedDrift") -> RenderableType:
    """Each series with its reference, its latest value, and when it changed."""
    table = Table(title=Text(f"{found.log}: {found.rows:,} rows of {found.model}", "bold"))
    for column in ("kind", "of"):
        table.add_column(column, no_wrap=True)
    for column in ("reference", "now", "changed (UTC)"):
        table.add_column(column, justify="right", no_wrap=True)
    for each in found.series:
        table.add_row(
            each.kind,
            each.name,
            _number(each.reference, 3),
            _number(each.latest, 3),
            Text("no", "green")
            if each.changed_at is None
            else Text(each.changed_at[:16].replace("T", " "), "red"),
        )
    notes = {
        "only the reference yet": ", ".join(found.too_short),
        "rows of other models": found.rows_of_other_models,
        "lines that are no rows": found.unreadable_lines,
    }
    return Group(table, *(Text(f"{name}: {value}") for name, value in notes.items() if value))


def calibration_table(done: "CalibratedModel") -> RenderableType:
    """The new threshold, the rates to expect with it, and what was not used."""
    report = done.calibration
    rates = Table()
    for column in ("distance up to", "of trials of", "false accepts", "false rejects"):
        rates.add_column(column, justify="right")
    for row in report[ALL_NONTARGETS]:
        rates.add_row(f"{done.threshold:.3f}", f"{row['seconds']:.3g} s", *_error_rates(row))
    for point in report["operating_points"]:
        share = f"{100 * point['max_false_accept_rate']:g} %"
        if point["threshold"] is None:
            rates.add_row("unknown", "all", f"{share}: takes {point['speakers_needed']} speakers")
        else:
            rates.add_row(f"{point['threshold']:.3f}", "all", *_error_rates(point))
    facts = {
        "published": done.path,
        "model": f"{done.model_digest}, whose embeddings and galleries stay as they are",
        "calibrated on": _calibrated_on(done.calibrated_on),
        "threshold": f"{done.threshold:.3f}, was {done.former_threshold:.3f}",
        "slope": f"{done.slope:.2f}, was {done.former_slope:.2f}",
        "not used": count_reasons(each.reason for each in done.unused) or "nothing",
        "not drawn": f"{done.speakers_left_out:,} speakers",
    }
    return Group(facts_table(facts), rates)


def _error_rates(row: Mapping[str, Any]) -> list[str]:
    """False accepts and false rejects with their 95 % intervals."""
    shown = []
    for name in (FALSE_ACCEPT_RATE, FALSE_REJECT_RATE):
        value, low, high = (row[name][key] for key in ("value", "low", "high"))
        if value is None:
            shown.append("")
        elif low is None:
            shown.append(f"{100 * value:.2f} %")
        else:
            shown.append(f"{100 * value:.2f} % ({100 * low:.2f} to {100 * high:.2f} %)")
    return shown


def _calibrated_on(data: Mapping[str, Any] | None) -> str:
    if data is None:
        return "the training's own calibration speakers"
    return (
        f"{data['data']} ({data['data_digest']}): {data['speakers']:,} speakers, "
        f"{data['recordings']:,} recordings"
    )


def _metrics_table(found: "ModelLineage") -> Table:
    table = Table()
    table.add_column("split", no_wrap=True)
    for name in SHOWN_METRICS:
        table.add_column(name.replace("_", " "), justify="right")
    for split, values in found.metrics.items():
        table.add_row(split, *(_number(values.get(name), 3) for name in SHOWN_METRICS))
    return table


def _number(value: float | None, digits: int) -> str:
    return "" if value is None else f"{value:.{digits}f}"
