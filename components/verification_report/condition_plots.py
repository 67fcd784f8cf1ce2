"""The plot of error rates under conditions, as PNG, of `figures.json`'s numbers."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import PercentFormatter

from components.conditions import CLEAN
from components.verification.trials import BOTH_SIDES, ONE_SIDE
from components.verification_report.plot_style import (
    BLUE,
    GREY,
    QUIET,
    SET_NAMES,
    VERMILLION,
    new_figure,
    png,
    styled,
)

Values = Mapping[str, Any]
# Changed sides: their name, colour, marker and place beside the condition's middle.
_SIDES: Final = (
    (ONE_SIDE, "one side changed", BLUE, "o", -0.16),
    (BOTH_SIDES, "both sides changed", VERMILLION, "s", 0.16),
)
_INCHES_OF_A_CONDITION: Final = 0.34


def error_rates(rows: Sequence[Values]) -> bytes:
    """Equal error rate with its interval, a line for each condition, a panel for each split.

    Args:
        rows: ConditionMetrics as dicts, `clean` first in each set.
    """
    sets = [name for name in SET_NAMES if any(row["set"] == name for row in rows)]
    names = list(dict.fromkeys(row["condition"] for row in rows if row["condition"] != CLEAN))
    with styled():
        height = 1.1 + len(sets) * (0.4 + _INCHES_OF_A_CONDITION * len(names))
        figure = new_figure(height)
        panels = figure.subplots(len(sets), sharex=True, squeeze=False)[:, 0]
        for axes, name in zip(panels, sets, strict=True):
            _panel(axes, [row for row in rows if row["set"] == name], names)
            axes.set_title(SET_NAMES[name], loc="left", fontsize=9.5, color=QUIET)
        panels[-1].set_xlabel("equal error rate")
        panels[-1].set_xlim(left=-0.01)
        panels[-1].xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
        figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
        return png(figure)


def _panel(axes: Axes, rows: Sequence[Values], names: Sequence[str]) -> None:
    eer = {(row["condition"], row["changed_sides"]): row["figures"]["eer"] for row in rows}
    clean = eer[CLEAN, CLEAN]["value"]
    if clean is not None:
        axes.axvline(clean, color=GREY, linewidth=1.4, linestyle=(0, (4, 2)), zorder=1)
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
