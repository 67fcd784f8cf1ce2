"""How every plot looks: Okabe and Ito's colours, quiet axes, one font that matplotlib brings."""

import io
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

import matplotlib
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from components import features

INK: Final = "#1c2530"
QUIET: Final = "#5a6572"
RULE: Final = "#d9dee4"
# Told apart with any colour vision (Okabe and Ito, "Color universal design", 2008).
BLUE, VERMILLION, GREEN, ORANGE = "#0072b2", "#d55e00", "#009e73", "#e69f00"
SKY, PURPLE, GREY = "#56b4e9", "#cc79a7", "#8a94a0"
CYCLE: Final = (BLUE, VERMILLION, GREEN, ORANGE, SKY, PURPLE, GREY, INK)
MARKERS: Final = ("o", "s", "^", "D", "v", "P", "X")
TARGET_COLOUR, NONTARGET_COLOUR = BLUE, VERMILLION
# In the order of legends and panels: the more telling first.
SET_NAMES: Final = {features.UNSEEN: "unseen people", features.EVAL: "people it trained on"}
SET_COLOURS: Final = {features.UNSEEN: BLUE, features.EVAL: GREY}
SET_LINES: Final = {features.UNSEEN: "solid", features.EVAL: (0, (5, 2))}

# Narrow, so that letters stay legible where a phone shows it across its width.
WIDTH_INCHES: Final = 5.0
DOTS_PER_INCH: Final = 220
_STYLE: Final[Mapping[str, Any]] = {
    "font.family": ["DejaVu Sans"],
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
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
}


@contextmanager
def styled() -> Iterator[None]:
    """Within it, figures are made and drawn in the style."""
    # Keys of this dict are not the literals that the type of rc_context lists.
    with matplotlib.rc_context(dict(_STYLE)):  # type: ignore[arg-type]
        yield


def new_figure(height_inches: float) -> Figure:
    """An empty figure, as wide as all of them."""
    figure = Figure(figsize=(WIDTH_INCHES, height_inches), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def png(figure: Figure) -> bytes:
    """The figure as PNG: without the time and versions, the same figure gives the same bytes."""
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=DOTS_PER_INCH, metadata={"Software": None})
    return file.getvalue()


def mark_threshold(axes: Axes, threshold: float, *, vertical: bool) -> None:
    """A thin line at the model's threshold, with its name."""
    line = axes.axvline if vertical else axes.axhline
    line(threshold, color=INK, linewidth=1.0, linestyle=(0, (1, 1.5)))
    told = f"threshold {threshold:.2f}"
    if vertical:
        axes.annotate(
            told, (threshold, 1.0), (4, -3), xycoords=("data", "axes fraction"),
            textcoords="offset points", va="top", fontsize=8.5, color=INK,
        )  # fmt: skip
    else:
        axes.annotate(
            told, (1.0, threshold), (-2, 3), xycoords=("axes fraction", "data"),
            textcoords="offset points", ha="right", fontsize=8.5, color=INK,
        )  # fmt: skip
