"""Plots of training, distances, errors, probabilities and conditions, and their common style.

They are drawn from `figures.json`: Okabe and Ito's colours, quiet axes, one font that comes with
matplotlib. They are PNGs, or SVGs where that font lacks the script of a name.
"""

import io
import textwrap
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final, NamedTuple

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import findfont, get_font
from matplotlib.text import Text
from matplotlib.ticker import MaxNLocator, PercentFormatter
from scipy.special import ndtri

from components.conditions import CLEAN
from components.verification.trials import BOTH_SIDES, ONE_SIDE

Values = Mapping[str, Any]
DET_RATES: Final = (0.001, 0.005, 0.02, 0.05, 0.1, 0.2, 0.4, 0.6)
# A curve below this is drawn on the axis: a probit of 0 lies infinitely far away.
DET_LOWEST, DET_HIGHEST = 0.0008, 0.7
INK: Final = "#1c2530"
QUIET: Final = "#5a6572"
RULE: Final = "#d9dee4"
# Distinct with any colour vision (Okabe and Ito, "Color universal design", 2008); wine, olive and
# light grey are added.
BLUE, VERMILLION, GREEN, ORANGE = "#0072b2", "#d55e00", "#009e73", "#e69f00"
SKY, PURPLE, GREY = "#56b4e9", "#cc79a7", "#8a94a0"
WINE, OLIVE, LIGHT = "#882255", "#8a8a22", "#b4bcc5"
CYCLE: Final = (BLUE, VERMILLION, GREEN, ORANGE, SKY, PURPLE, GREY, INK)
MARKERS: Final = ("o", "s", "^", "D", "v", "P", "X")
# A colour means one thing on the whole page: a class of trials, a changed side, a gender, or a
# set. Only the map of speakers uses all of them, for speakers.
TARGET_COLOUR, NONTARGET_COLOUR = BLUE, VERMILLION
CALIBRATION_COLOUR: Final = WINE
# Narrow, so that letters stay legible on a phone.
WIDTH_INCHES: Final = 5.0
DOTS_PER_INCH: Final = 220
_FONT: Final = "DejaVu Sans"
_STYLE: Final[Mapping[str, Any]] = {
    "font.family": [_FONT, "sans-serif"],  # sans-serif in a browser without that font
    "font.size": 10.0,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.labelsize": 10.0,
    "axes.edgecolor": QUIET,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": RULE,
    "grid.linewidth": 0.7,
    "xtick.color": QUIET,
    "ytick.color": QUIET,
    "xtick.labelsize": 9.0,
    "ytick.labelsize": 9.0,
    "legend.frameon": False,
    "legend.fontsize": 9.0,
    "legend.handlelength": 4.0,  # room for dashes beside the marker
    "lines.linewidth": 1.8,
    "svg.fonttype": "none",  # letters, not outlines
    "svg.hashsalt": "swar",
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
}
# Changed sides: their name, colour, marker and place beside the condition's middle.
_SIDES: Final = (
    (ONE_SIDE, "one side changed", GREEN, "o", -0.16),
    (BOTH_SIDES, "both sides changed", ORANGE, "s", 0.16),
)
_INCHES_OF_A_CONDITION: Final = 0.34
_LEGEND_WIDTH: Final = 54  # characters


class SetLook(NamedTuple):
    """How a set of utterances is drawn."""

    title: str
    colour: str
    line: Any
    marker: str
    is_filled: bool
    """Whether its markers are filled, where their shape and colour have other meanings."""


Looks = Mapping[str, SetLook]
_LOOKS: Final = ((INK, "solid", "o"), (GREY, (0, (5, 2)), "s"), (OLIVE, "solid", "^"),
                 (WINE, (0, (5, 2)), "D"))  # fmt: skip


def set_looks(sets: Sequence[Values]) -> dict[str, SetLook]:
    """The look of each set by its name, in the order of legends and panels.

    Args:
        sets: `set` and `title`, most informative first; more than four repeat the looks.
    """
    looks = {}
    for place, row in enumerate(sets):
        colour, line, marker = _LOOKS[place % len(_LOOKS)]
        looks[row["set"]] = SetLook(row["title"], colour, line, marker, is_filled=place == 0)
    return looks


@contextmanager
def styled() -> Iterator[None]:
    """Context in which figures are made and drawn in the style."""
    # Keys of this dict are not the literals that the type of rc_context lists.
    with matplotlib.rc_context(dict(_STYLE)):  # type: ignore[arg-type]
        yield


def new_figure(height_inches: float) -> Figure:
    """An empty figure of the common width."""
    figure = Figure(figsize=(WIDTH_INCHES, height_inches), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def encoded(figure: Figure) -> bytes:
    """The figure as PNG, or as SVG where the font lacks letters that a browser can show.

    It holds no time or version, so that the same figure gives the same bytes.
    """
    file = io.BytesIO()
    if _lacks_letters(figure):
        with _without_glyph_warnings():
            figure.savefig(file, format="svg", metadata={"Date": None, "Creator": None})
    else:
        figure.savefig(file, format="png", dpi=DOTS_PER_INCH, metadata={"Software": None})
    return file.getvalue()


def image_format(content: bytes) -> str:
    """`png` or `svg`."""
    return "png" if content.startswith(b"\x89PNG") else "svg"


def _lacks_letters(figure: Figure) -> bool:
    with _without_glyph_warnings():
        figure.draw_without_rendering()  # creates the ticks' texts
    letters = {ord(letter) for text in figure.findobj(Text) for letter in text.get_text()}
    return not letters - {ord("\n")} <= get_font(findfont(_FONT)).get_charmap().keys()


@contextmanager
def _without_glyph_warnings() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        yield


def add_legend(figure: Figure, axes: Axes) -> None:
    """Adds a legend below the axes; long names are wrapped, in one column."""
    handles, labels = axes.get_legend_handles_labels()
    wrapped = [textwrap.fill(label, _LEGEND_WIDTH) for label in labels]
    columns = 2 if all(len(label) <= _LEGEND_WIDTH // 2 for label in labels) else 1
    figure.legend(handles, wrapped, loc="outside lower center", ncols=columns)


def _head(axes: Axes, title: str) -> None:
    """Sets a panel's title, wrapped: a wider one than the figure would squeeze the axes."""
    lines = textwrap.fill(title, _LEGEND_WIDTH)
    axes.set_title(lines, loc="left", fontsize=9.5, color=QUIET)


def mark_threshold(axes: Axes, threshold: float, *, vertical: bool) -> None:
    """Draws a thin, labelled line at the model's threshold."""
    line = axes.axvline if vertical else axes.axhline
    line(threshold, color=INK, linewidth=1.0, linestyle=(0, (1, 1.5)))
    text = f"threshold {threshold:.2f}"
    if vertical:
        axes.annotate(
            text, (threshold, 1.0), (4, -3), xycoords=("data", "axes fraction"),
            textcoords="offset points", va="top", fontsize=8.5, color=INK,
        )  # fmt: skip
    else:
        axes.annotate(
            text, (1.0, threshold), (-2, 3), xycoords=("axes fraction", "data"),
            textcoords="offset points", ha="right", fontsize=8.5, color=INK,
        )  # fmt: skip


def epochs(history: Sequence[Values], best_epoch: int | None, threshold: float) -> bytes:
    """The article's own plot: mean distances of similar and dissimilar pairs, epoch by epoch."""
    with styled():
        figure = new_figure(3.7)
        axes = figure.subplots()
        epoch = [row["epoch"] for row in history]
        for part, line in (("train", "solid"), ("eval", (0, (4, 2)))):
            for kind, colour in (("dissimilar", NONTARGET_COLOUR), ("similar", TARGET_COLOUR)):
                values = _column(history, f"{part}_mean_{kind}_distance")
                who = "two people" if kind == "dissimilar" else "one person"
                axes.plot(
                    epoch, values, color=colour, linestyle=line, marker="o", markersize=3.5,
                    label=f"{who}, {'training' if part == 'train' else 'later'} speech",
                )  # fmt: skip
        if best_epoch is not None:
            axes.axvline(best_epoch, color=QUIET, linewidth=0.8, zorder=0)
            axes.annotate(
                "kept", (best_epoch, 0.0), (-3, 3), xycoords=("data", "axes fraction"),
                textcoords="offset points", fontsize=8.5, color=QUIET, horizontalalignment="right",
            )  # fmt: skip
        mark_threshold(axes, threshold, vertical=False)
        axes.set(xlabel="epoch", ylabel="mean distance")
        axes.set_ylim(bottom=0.0)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        add_legend(figure, axes)
        return encoded(figure)


def error_by_epoch(history: Sequence[Values], best_epoch: int | None) -> bytes:
    """Equal error rates after each epoch, on `calibration`, which selects it, and on `eval`."""
    with styled():
        figure = new_figure(3.2)
        axes = figure.subplots()
        epoch = [row["epoch"] for row in history]
        parts = (("calibration", CALIBRATION_COLOUR, "solid"), ("eval", GREY, (0, (5, 2))))
        for part, colour, line in parts:
            axes.plot(
                epoch, _column(history, f"{part}_eer"), color=colour, linestyle=line,
                marker="o", markersize=3.5, label=part,
            )  # fmt: skip
        if best_epoch is not None:
            axes.axvline(best_epoch, color=QUIET, linewidth=0.8, zorder=0)
        axes.set(xlabel="epoch", ylabel="equal error rate")
        axes.set_ylim(bottom=0.0)
        axes.yaxis.set_major_formatter(PercentFormatter(1.0))
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        add_legend(figure, axes)
        return encoded(figure)


def _column(rows: Sequence[Values], name: str) -> list[float]:
    """A column; NaN where a row lacks it, for which matplotlib leaves a gap."""
    return [np.nan if (value := row.get(name)) is None else value for row in rows]


def distances(histograms: Mapping[str, Values], threshold: float, looks: Looks) -> bytes:
    """Histograms of both classes, a panel for each split."""
    with styled():
        figure = new_figure(0.5 + 2.1 * len(histograms))
        panels = figure.subplots(len(histograms), sharex=True, squeeze=False)[:, 0]
        for axes, (name, bins) in zip(panels, histograms.items(), strict=True):
            edges = np.array(bins["edges"])
            for kind, colour, label in (
                ("dissimilar", NONTARGET_COLOUR, "two people"),
                ("similar", TARGET_COLOUR, "one person"),
            ):
                share = np.array(bins[kind], np.float64) / sum(bins[kind])
                axes.stairs(share, edges, fill=True, color=colour, alpha=0.3)
                axes.stairs(share, edges, color=colour, label=label, linewidth=1.4)
            mark_threshold(axes, threshold, vertical=True)
            axes.set_ylabel("share of trials")
            axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
            _head(axes, looks[name].title)
        panels[-1].set_xlabel("distance between two utterances")
        add_legend(figure, panels[0])
        return encoded(figure)


def det(curves: Mapping[str, Values], looks: Looks) -> bytes:
    """Detection error trade-off: both error rates on axes of the normal deviate."""
    with styled():
        figure = new_figure(4.8)
        axes = figure.subplots()
        for name, curve in curves.items():
            x = _probits(curve["false_accept"])
            _band(axes, x, _probits(curve["low"]), _probits(curve["high"]), looks[name])
            axes.plot(x, _probits(curve["false_reject"]), **_line(looks[name]))
            at = curve["operating_point"]
            axes.plot(
                *_probits([at["false_accept"], at["false_reject"]]), "o", markersize=7,
                markerfacecolor="white", markeredgecolor=looks[name].colour, markeredgewidth=1.8,
            )  # fmt: skip
        limits = _probits([DET_LOWEST, DET_HIGHEST])
        axes.plot(limits, limits, color=QUIET, linewidth=0.7, linestyle=(0, (1, 2)))
        ticks = ndtri(DET_RATES)
        labels = [f"{100.0 * rate:g}" for rate in DET_RATES]
        axes.set_xticks(ticks, labels)
        axes.set_yticks(ticks, labels)
        axes.set(
            xlim=limits, ylim=limits, aspect="equal",
            xlabel="false acceptances (%)", ylabel="false rejections (%)",
        )  # fmt: skip
        if all(_is_on_the_axes(curve) for curve in curves.values()):
            axes.annotate(
                "no threshold errs in both ways:\nthe curve lies on the axes", (0.5, 0.5),
                xycoords="axes fraction", ha="center", va="center", color=QUIET,
            )  # fmt: skip
        add_legend(figure, axes)
        return encoded(figure)


def _is_on_the_axes(curve: Values) -> bool:
    pairs = zip(curve["false_accept"], curve["false_reject"], strict=True)
    return not any(min(one, other) > DET_LOWEST for one, other in pairs)


def _probits(rates: Sequence[float | None]) -> np.ndarray:
    """Probits, float64 [N], NaN for None."""
    values: np.ndarray = ndtri(np.clip(np.array(rates, np.float64), DET_LOWEST, DET_HIGHEST))
    return values


def roc(curves: Mapping[str, Values], looks: Looks) -> bytes:
    """Receiver operating characteristic."""
    with styled():
        figure = new_figure(4.8)
        axes = figure.subplots()
        for name, curve in curves.items():
            x = np.array(curve["false_accept"])
            low, high, middle = (
                1.0 - np.array(curve[key], np.float64) for key in ("high", "low", "false_reject")
            )
            _band(axes, x, low, high, looks[name])
            axes.plot(x, middle, **_line(looks[name]))
        axes.plot([0.0, 1.0], [0.0, 1.0], color=QUIET, linewidth=0.7, linestyle=(0, (1, 2)))
        axes.set(
            xlim=(-0.01, 1.01), ylim=(-0.01, 1.01), aspect="equal",
            xlabel="false acceptances", ylabel="right acceptances",
        )  # fmt: skip
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_formatter(PercentFormatter(1.0, decimals=0))
        add_legend(figure, axes)
        return encoded(figure)


def _band(axes: Axes, x: np.ndarray, low: np.ndarray, high: np.ndarray, look: SetLook) -> None:
    axes.fill_between(x, low, high, color=look.colour, alpha=0.18, linewidth=0.0)


def _line(look: SetLook) -> dict[str, Any]:
    return {"color": look.colour, "linestyle": look.line, "label": look.title}


def reliability(bins: Mapping[str, Sequence[Values]], looks: Looks) -> bytes:
    """The share of same-speaker trials against the model's probability."""
    with styled():
        figure = new_figure(4.6)
        axes, below = figure.subplots(2, sharex=True, height_ratios=(4, 1))
        axes.plot([0.0, 1.0], [0.0, 1.0], color=QUIET, linewidth=0.7, linestyle=(0, (1, 2)))
        width = 0.8 / (10 * len(bins))
        for place, (name, rows) in enumerate(bins.items()):
            x = _column(rows, "probability")
            same, low, high = (np.array(_column(rows, key)) for key in ("same", "low", "high"))
            has_interval = np.isfinite(low)
            # A percentile interval can miss the value itself by a hair.
            errors = np.maximum(0.0, np.where(has_interval, [same - low, high - same], np.nan))
            axes.errorbar(
                x, same, errors, marker="o", markersize=5, elinewidth=1.2, capsize=2.5,
                **_line(looks[name]) | {"linewidth": 0.9},
            )  # fmt: skip
            centre = np.array([(row["low_edge"] + row["high_edge"]) / 2.0 for row in rows])
            count = np.array([row["trials"] for row in rows], np.float64)
            offset = (place - (len(bins) - 1) / 2.0) * width
            below.bar(centre + offset, count / count.sum(), width, color=looks[name].colour)
        axes.set(xlim=(0.0, 1.0), ylim=(-0.02, 1.02), ylabel="share that is of one person")
        below.set(xlabel="probability that the model gives", ylabel="trials")
        for axis in (axes.xaxis, axes.yaxis, below.yaxis):
            axis.set_major_formatter(PercentFormatter(1.0, decimals=0))
        add_legend(figure, axes)
        return encoded(figure)


def conditions(rows: Sequence[Values], looks: Looks) -> bytes:
    """Equal error rate with its interval, a line for each condition, a panel for each split.

    Args:
        rows: ConditionMetrics as dicts, `clean` first in each set.
    """
    sets = [name for name in looks if any(row["set"] == name for row in rows)]
    names = list(dict.fromkeys(row["condition"] for row in rows if row["condition"] != CLEAN))
    with styled():
        height = 1.1 + len(sets) * (0.4 + _INCHES_OF_A_CONDITION * len(names))
        figure = new_figure(height)
        panels = figure.subplots(len(sets), sharex=True, squeeze=False)[:, 0]
        for axes, name in zip(panels, sets, strict=True):
            _panel(axes, [row for row in rows if row["set"] == name], names)
            _head(axes, looks[name].title)
        panels[-1].set_xlabel("equal error rate")
        panels[-1].set_xlim(left=-0.01)
        panels[-1].xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
        add_legend(figure, panels[0])
        return encoded(figure)


def _panel(axes: Axes, rows: Sequence[Values], names: Sequence[str]) -> None:
    eer = {(row["condition"], row["changed_sides"]): row["figures"]["eer"] for row in rows}
    clean = eer[CLEAN, CLEAN]["value"]
    if clean is not None:
        axes.axvline(
            clean, color=QUIET, linewidth=1.2, linestyle=(0, (1, 1.5)), zorder=1, label="clean"
        )
    for sides, label, colour, marker, offset in _SIDES:
        found = [eer[name, sides] for name in names]
        value, low, high = (
            np.array([each[key] for each in found], np.float64) for key in ("value", "low", "high")
        )
        # A percentile interval can miss the value itself by a hair.
        errors = np.maximum(0.0, np.where(np.isfinite(low), [value - low, high - value], np.nan))
        axes.errorbar(
            value, np.arange(len(names)) + offset, xerr=errors, color=colour, marker=marker,
            markersize=5, linestyle="none", elinewidth=1.3, capsize=2.5, label=label,
        )  # fmt: skip
    axes.set_yticks(
        range(len(names)), [name.replace("_", " ").replace(" db", " dB") for name in names]
    )
    axes.set_ylim(len(names) - 0.5, -0.5)
