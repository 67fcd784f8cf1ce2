"""Plots of speakers and of slices.

Speakers are numbered, because their names would not fit.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import matplotlib
import numpy as np
from matplotlib.axes import Axes

from components.verification_report.plots import (
    CYCLE,
    INK,
    LIGHT,
    MARKERS,
    NONTARGET_COLOUR,
    PURPLE,
    RULE,
    SKY,
    WIDTH_INCHES,
    Looks,
    add_legend,
    encoded,
    new_figure,
    styled,
)

Values = Mapping[str, Any]
GENDER_COLOURS: Final = {"female": PURPLE, "male": SKY, "unknown": LIGHT}
GENDER_MARKERS: Final = {"female": "o", "male": "s", "unknown": "^"}
DENSE_SPEAKERS: Final = 24
_LEAST_PERCENT_SHOWN: Final = 1.0  # range of the axis where all rates are 0


def highest(distances: Values) -> float:
    """The highest mean distance of a heatmap's cells."""
    return float(np.nanmax(np.array(distances["mean_distance"], np.float64)))


def heatmap(distances: Values, threshold: float, lightest: float) -> bytes:
    """Mean distance between each two speakers; a dot where it is within the threshold.

    Args:
        distances: from `maps.speaker_distances`.
        threshold: the model's.
        lightest: the distance that has the lightest colour.
    """
    with styled():
        figure = new_figure(0.92 * WIDTH_INCHES)
        axes = figure.subplots()
        mean = np.array(distances["mean_distance"], np.float64)
        colours = matplotlib.colormaps["Blues_r"].with_extremes(bad=RULE)
        image = axes.imshow(mean, cmap=colours, vmin=0.0, vmax=lightest)
        size = len(mean)
        confused = (mean < threshold) & ~np.eye(size, dtype=bool)
        rows, columns = np.nonzero(confused)
        dot = min(12.0, max(2.0, 90.0 / size))
        axes.plot(columns, rows, "o", markersize=dot, color=NONTARGET_COLOUR, linestyle="none")
        font = 9.0 if size <= DENSE_SPEAKERS else 6.5
        labels = [str(number) for number in distances["numbers"]]
        axes.set_xticks(range(size), labels, fontsize=font, rotation=90 if size > 12 else 0)
        axes.set_yticks(range(size), labels, fontsize=font)
        axes.grid(False)
        axes.tick_params(length=0)
        for spine in axes.spines.values():
            spine.set_visible(False)
        axes.set(xlabel="speaker", ylabel="speaker")
        bar = figure.colorbar(image, ax=axes, shrink=0.75, pad=0.02)
        bar.outline.set_visible(False)
        bar.set_label("mean distance")
        bar.ax.axhline(threshold, color=NONTARGET_COLOUR, linewidth=2.0)
        return encoded(figure)


def map_by_speaker(points: Sequence[Values]) -> bytes:
    """The map of embeddings; each speaker has a colour, a marker, and a number in the middle."""
    with styled():
        figure = new_figure(WIDTH_INCHES)
        axes = figure.subplots()
        numbers = sorted({point["number"] for point in points})
        for place, number in enumerate(numbers):
            own = [point for point in points if point["number"] == number]
            x, y = (np.array([point[axis] for point in own]) for axis in "xy")
            colour = CYCLE[place % len(CYCLE)]
            marker = MARKERS[(place // len(CYCLE)) % len(MARKERS)]
            axes.plot(
                x, y, marker, markersize=5, color=colour, alpha=0.65, markeredgewidth=0.0,
                linestyle="none",
            )  # fmt: skip
            axes.annotate(
                str(number), (float(np.median(x)), float(np.median(y))), ha="center", va="center",
                fontsize=9.0 if len(numbers) <= DENSE_SPEAKERS else 7.5, fontweight="bold",
                bbox={"boxstyle": "round,pad=0.18", "facecolor": "white", "alpha": 0.8,
                      "edgecolor": colour, "linewidth": 1.0},
            )  # fmt: skip
        _without_scale(axes)
        return encoded(figure)


def map_by_gender(points: Sequence[Values], looks: Looks) -> bytes:
    """The same map, coloured by gender; the first set has filled markers."""
    with styled():
        figure = new_figure(WIDTH_INCHES)
        axes = figure.subplots()
        for gender, colour in GENDER_COLOURS.items():
            for name, look in looks.items():
                own = [each for each in points if (each["gender"], each["set"]) == (gender, name)]
                if not own:
                    continue
                axes.plot(
                    [point["x"] for point in own], [point["y"] for point in own],
                    GENDER_MARKERS[gender], markersize=5.5, color=colour, linestyle="none",
                    markerfacecolor=colour if look.is_filled else "none", alpha=0.8,
                    label=f"{gender}, {look.title}",
                )  # fmt: skip
        _without_scale(axes)
        add_legend(figure, axes)
        return encoded(figure)


def _without_scale(axes: Axes) -> None:
    """Removes the scale of a map's axes, which have no unit."""
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(True)
        spine.set_color(RULE)


def error_rates(rows: Sequence[Values], places: Sequence[str], looks: Looks) -> bytes:
    """Equal error rates with intervals, a line for each place, a marker for each set.

    Args:
        rows: `place`, `set`, `value`, `low` and `high`, rates in [0, 1].
        places: from top to bottom.
        looks: of the sets.
    """
    with styled():
        figure = new_figure(1.0 + 0.55 * len(places))
        axes = figure.subplots()
        sets = [name for name in looks if any(row["set"] == name for row in rows)]
        for index, name in enumerate(sets):
            shift = 0.16 * (index - (len(sets) - 1) / 2.0) * 2.0
            own = [row for row in rows if row["set"] == name and row["value"] is not None]
            y = np.array([places.index(row["place"]) for row in own]) + shift
            for row, at in zip(own, y, strict=True):
                if row["low"] is not None:
                    axes.plot(
                        [100.0 * row["low"], 100.0 * row["high"]], [at, at],
                        color=looks[name].colour, linewidth=2.2, alpha=0.45,
                    )  # fmt: skip
            axes.plot(
                [100.0 * row["value"] for row in own], y, looks[name].marker,
                markersize=7, color=looks[name].colour, label=looks[name].title, linestyle="none",
            )  # fmt: skip
        axes.set_yticks(range(len(places)), places, fontsize=9.5, color=INK)
        axes.set_ylim(len(places) - 0.5, -0.5)
        axes.set_xlim(0.0, max(_LEAST_PERCENT_SHOWN, axes.get_xlim()[1]))
        axes.grid(axis="y", visible=False)
        axes.set_xlabel("equal error rate (%)")
        add_legend(figure, axes)
        return encoded(figure)
