"""Plots of training, distances, errors and probabilities, as PNG, of `figures.json`'s numbers."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator, PercentFormatter
from scipy.special import ndtri

from components.verification_report.plot_style import (
    GREEN,
    INK,
    NONTARGET_COLOUR,
    QUIET,
    SET_COLOURS,
    SET_LINES,
    SET_NAMES,
    TARGET_COLOUR,
    mark_threshold,
    new_figure,
    png,
    styled,
)

Values = Mapping[str, Any]
DET_RATES: Final = (0.001, 0.005, 0.02, 0.05, 0.1, 0.2, 0.4, 0.6)
# A curve below this is drawn on the axis: a probit of 0 lies infinitely far away.
DET_LOWEST, DET_HIGHEST = 0.0008, 0.7


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
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        figure.legend(loc="outside lower center", ncols=2)
        return png(figure)


def error_by_epoch(history: Sequence[Values], best_epoch: int | None) -> bytes:
    """Equal error rates after each epoch: of the split that chose the epoch, and of `eval`."""
    with styled():
        figure = new_figure(3.2)
        axes = figure.subplots()
        epoch = [row["epoch"] for row in history]
        for part, colour, line in (("calibration", GREEN, "solid"), ("eval", INK, (0, (4, 2)))):
            axes.plot(
                epoch, _column(history, f"{part}_eer"), color=colour, linestyle=line,
                marker="o", markersize=3.5, label=part,
            )  # fmt: skip
        if best_epoch is not None:
            axes.axvline(best_epoch, color=QUIET, linewidth=0.8, zorder=0)
        axes.set(xlabel="epoch", ylabel="equal error rate")
        axes.set_ylim(bottom=0.0)
        axes.yaxis.set_major_formatter(PercentFormatter(1.0))
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.legend()
        return png(figure)


def _column(rows: Sequence[Values], name: str) -> list[float]:
    """NaN where a row lacks it: matplotlib leaves a gap there."""
    return [np.nan if (value := row.get(name)) is None else value for row in rows]


def distances(histograms: Mapping[str, Values], threshold: float) -> bytes:
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
            axes.set_title(SET_NAMES[name], loc="left", fontsize=9.5, color=QUIET)
        panels[-1].set_xlabel("distance between two utterances")
        panels[0].legend(loc="upper right")
        return png(figure)


def det(curves: Mapping[str, Values]) -> bytes:
    """Detection error trade-off: both error rates on axes of the normal deviate."""
    with styled():
        figure = new_figure(4.8)
        axes = figure.subplots()
        for name, curve in curves.items():
            x = _probits(curve["false_accept"])
            _band(axes, x, _probits(curve["low"]), _probits(curve["high"]), name)
            axes.plot(x, _probits(curve["false_reject"]), **_line(name))
            at = curve["operating_point"]
            axes.plot(
                *_probits([at["false_accept"], at["false_reject"]]), "o", markersize=7,
                markerfacecolor="white", markeredgecolor=SET_COLOURS[name], markeredgewidth=1.8,
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
        axes.legend(loc="upper right")
        return png(figure)


def _probits(rates: Sequence[float | None]) -> np.ndarray:
    """float64 [N], NaN for None."""
    values: np.ndarray = ndtri(np.clip(np.array(rates, np.float64), DET_LOWEST, DET_HIGHEST))
    return values


def roc(curves: Mapping[str, Values]) -> bytes:
    """Receiver operating characteristic."""
    with styled():
        figure = new_figure(4.8)
        axes = figure.subplots()
        for name, curve in curves.items():
            x = np.array(curve["false_accept"])
            low, high, middle = (
                1.0 - np.array(curve[key], np.float64) for key in ("high", "low", "false_reject")
            )
            _band(axes, x, low, high, name)
            axes.plot(x, middle, **_line(name))
        axes.plot([0.0, 1.0], [0.0, 1.0], color=QUIET, linewidth=0.7, linestyle=(0, (1, 2)))
        axes.set(
            xlim=(-0.01, 1.01), ylim=(-0.01, 1.01), aspect="equal",
            xlabel="false acceptances", ylabel="right acceptances",
        )  # fmt: skip
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_formatter(PercentFormatter(1.0, decimals=0))
        axes.legend(loc="lower right")
        return png(figure)


def _band(axes: Axes, x: np.ndarray, low: np.ndarray, high: np.ndarray, name: str) -> None:
    axes.fill_between(x, low, high, color=SET_COLOURS[name], alpha=0.18, linewidth=0.0)


def _line(name: str) -> dict[str, Any]:
    return {"color": SET_COLOURS[name], "linestyle": SET_LINES[name], "label": SET_NAMES[name]}


def reliability(bins: Mapping[str, Sequence[Values]]) -> bytes:
    """The share of same-speaker trials against the probability that the model gave."""
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
                **_line(name) | {"linewidth": 0.9},
            )  # fmt: skip
            centre = np.array([(row["low_edge"] + row["high_edge"]) / 2.0 for row in rows])
            count = np.array([row["trials"] for row in rows], np.float64)
            offset = (place - (len(bins) - 1) / 2.0) * width
            below.bar(centre + offset, count / count.sum(), width, color=SET_COLOURS[name])
        axes.set(xlim=(0.0, 1.0), ylim=(-0.02, 1.02), ylabel="share that is of one person")
        below.set(xlabel="probability that the model gives", ylabel="trials")
        for axis in (axes.xaxis, axes.yaxis, below.yaxis):
            axis.set_major_formatter(PercentFormatter(1.0, decimals=0))
        figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=2)
        return png(figure)
