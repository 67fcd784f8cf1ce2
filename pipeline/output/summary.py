"""The results of a run, for the terminal and for `summary.json`."""

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from rich.console import Group, RenderableType
from rich.text import Text

from components.atomic_write import new_file
from components.errors import count_reasons
from components.json_text import to_json
from components.terminal import Table

SHOWN_METRICS = ("eer", "balanced_precision", "recall", "auc", "min_dcf_0.01")


@dataclass(frozen=True)
class RunSummary:
    """The results of one finished run, as they are in `summary.json`."""

    pipeline: str
    config_digest: str
    data: str
    data_digest: str
    spans: list[str]
    """Spans used where `data` is a pattern, the newest last."""
    recordings: int
    rejects: dict[str, int]
    """Number of rejects by reason."""
    examples: dict[str, int]
    """Number of pairs by split."""
    metrics: dict[str, dict[str, float | None]]
    """By split and name; None where the split has no such number."""
    blessed: bool
    not_blessed_because: list[str]
    published_model: str | None
    """The version's folder; None if nothing was published."""
    seconds: dict[str, float]
    """Duration by component."""
    states: dict[str, str]
    """State by component: done or cached."""
    artifacts: str
    log: str
    report: str | None = None
    """Path of the page about the model."""
    eer_by_condition: dict[str, dict[str, float | None]] = field(default_factory=dict)
    """Rates by split and condition; None where there is none."""

    def write(self, path: Path) -> None:
        """Writes JSON; on an error an old file stays as it was."""
        with new_file(path) as file:
            file.write(f"{to_json(asdict(self))}\n".encode())

    def render(self) -> RenderableType:
        """The tables for the terminal."""
        return Group(_split_table(self), _fact_table(self))


def _split_table(summary: RunSummary) -> Table:
    title = Text(f"{summary.pipeline}: {os.path.basename(summary.data)}", "bold")
    table = Table(title=title)
    table.add_column("split", no_wrap=True)
    for column in ("pairs", *SHOWN_METRICS):
        table.add_column(column.replace("_", " "), justify="right")
    for split, count in summary.examples.items():
        values = summary.metrics.get(split, {})
        shown = (values.get(name) for name in SHOWN_METRICS)
        cells = ("" if value is None else f"{value:.3f}" for value in shown)
        table.add_row(split, f"{count:,}", *cells)
    return table


def _eer_of_conditions(values: Mapping[str, float | None]) -> str:
    """`0.120 under mp3, 0.310 under telephone`, the worst last."""
    known = sorted((value, name) for name, value in values.items() if value is not None)
    unknown = [f"none under {name}" for name, value in values.items() if value is None]
    return ", ".join([*(f"{value:.3f} under {name}" for value, name in known), *unknown])


def _fact_table(summary: RunSummary) -> Table:
    rejects = count_reasons(summary.rejects) or "none"
    verdict = (
        Text("yes", "green")
        if summary.blessed
        else Text("\n".join(["no", *summary.not_blessed_because]), "red")
    )
    facts: dict[str, str | Text] = {}
    if summary.spans:
        facts["spans"] = f"{len(summary.spans):,}, {summary.spans[0]} to {summary.spans[-1]}"
    facts |= {"recordings": f"{summary.recordings:,}", "rejected": rejects}
    for split, values in summary.eer_by_condition.items():
        facts[f"eer of {split}"] = _eer_of_conditions(values)
    return facts_table(
        {
            **facts,
            "blessed": verdict,
            "model": summary.published_model or "not published",
            "report": summary.report or "none",
            "artifacts": summary.artifacts,
            "log": summary.log,
        }
    )


def facts_table(facts: Mapping[str, str | Text]) -> Table:
    """A row for each fact: its name and value."""
    table = Table(box=None, show_header=False)
    for name, value in facts.items():
        table.add_row(name, Text(value, overflow="fold") if isinstance(value, str) else value)
    return table
