"""The page: the numbers of `figures.json`, the plots and the text, in one HTML file."""

import base64
import hashlib
from collections.abc import Callable, Mapping
from importlib import resources
from typing import Any, Final

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from components.verification.manifest_columns import column_heading, is_of_data
from components.verification.slices import RELATION
from components.verification_report import article
from components.verification_report.judging import ENOUGH_SPEAKERS, ENOUGH_TRIALS, has_enough
from components.verification_report.plots import image_format

PACKAGE: Final = "components.verification_report"
TEMPLATES: Final = "templates"
_MEDIA_TYPES: Final = {"png": "image/png", "svg": "image/svg+xml"}
NOTHING: Final = "\N{EN DASH}"
NARROW_SPACE: Final = "\N{NO-BREAK SPACE}"


def _plural(noun: str) -> Callable[[float], str]:
    return lambda count: f"{count:,.0f}{NARROW_SPACE}{noun}{'' if count == 1 else 's'}"


# Formats of numbers, by the name that the template uses.
STYLES: Final[Mapping[str, Callable[[Any], str]]] = {
    "percent": lambda value: f"{100.0 * value:.1f}{NARROW_SPACE}%",
    "share": lambda value: f"{100.0 * value:g}{NARROW_SPACE}%",
    "points": lambda value: f"{100.0 * value:.1f}",
    "ratio": lambda value: f"{value:.3f}",
    "distance": lambda value: f"{value:.2f}",
    "times": lambda value: f"{value:.1f}",
    "count": lambda value: f"{value:,.0f}",
    "number": lambda value: f"{value:g}",
    "seconds": lambda value: f"{value:.3g}{NARROW_SPACE}s",
    "minutes": lambda value: f"{value:.1f}",
    "people": lambda count: f"{count:,.0f}{NARROW_SPACE}{'person' if count == 1 else 'people'}",
    "comparisons": _plural("comparison"),
    "utterances": _plural("utterance"),
}


def template_digest() -> str:
    """sha256 of the templates, which shape the page but are not modules."""
    folder = resources.files(PACKAGE) / TEMPLATES
    sha = hashlib.sha256()
    for file in sorted(folder.iterdir(), key=lambda file: file.name):
        sha.update(f"{file.name}\0".encode() + file.read_bytes())
    return sha.hexdigest()


def render(
    figures: Mapping[str, Any], plots: Mapping[str, bytes], sounds: Mapping[str, bytes]
) -> str:
    """The page, which needs no other file.

    Args:
        figures: from `report_figures`.
        plots: images by name; the page shows all of these.
        sounds: FLACs by utterance, for pairs that can be played.
    """
    environment = Environment(
        loader=PackageLoader(PACKAGE, TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    shown = Shown(figures)
    page: str = environment.get_template("report.html.j2").render(
        f=figures,
        show=shown.show,
        interval=shown.interval,
        plots={
            name: _data_uri(_MEDIA_TYPES[image_format(content)], content)
            for name, content in plots.items()
        },
        sounds={name: _data_uri("audio/flac", content) for name, content in sounds.items()},
        set_names={row["set"]: row["title"] for row in figures["sets"]},
        article=article,
        has_enough=has_enough,
        enough=ENOUGH_TRIALS,
        enough_speakers=ENOUGH_SPEAKERS,
        slicings=_slicings(figures),
        speakers={row["number"]: row for row in figures["data"]["by_speaker"]},
        number_of={row["speaker"]: row["number"] for row in figures["data"]["by_speaker"]},
        nothing=NOTHING,
    )
    return page + "\n"


# Headings of a slicing and of its table's first column.
_SLICINGS: Final[Mapping[str, tuple[str, str]]] = {
    "gender_pair": ("By gender", "both speakers"),
    "channel_pair": ("By channel", "both recordings"),
    RELATION: ("By what two utterances of one person share", "of one person"),
}


def _slicings(figures: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Column of the trials, heading and heading of its values; the data's own columns last."""
    present = list(dict.fromkeys(row["sliced_by"] for row in figures["slices"]))
    return [
        *((name, *headings) for name, headings in _SLICINGS.items() if name in present),
        *(
            (name, f"By {column_heading(name)}", "both recordings")
            for name in present
            if is_of_data(name)
        ),
    ]


class Shown:
    """Puts numbers on the page, each with its place in `figures.json`, so that a test finds all.

    Args:
        figures: from `report_figures`.
    """

    def __init__(self, figures: Mapping[str, Any]) -> None:
        self._figures = figures

    def show(self, path: str, style: str) -> Markup:
        """Shows one number.

        Args:
            path: keys and indices, separated by slashes.
            style: a key of STYLES.
        """
        value = self._value(path)
        if value is None:
            return Markup('<span class="none">{}</span>').format(NOTHING)
        marked = Markup('<data value="{}" data-figure="{}" data-style="{}">{}</data>')
        return marked.format(repr(value), path, style, STYLES[style](value))

    def interval(self, path: str, style: str) -> Markup:
        """Shows a number with its 95 % interval, if it has one.

        Args:
            path: of an object with `value`, `low` and `high`.
            style: a key of STYLES.
        """
        value = self.show(f"{path}/value", style)
        bounds = self._value(f"{path}/low"), self._value(f"{path}/high")
        # Without errors all resamples are equal, which is no certainty.
        if None in bounds or bounds[0] == bounds[1]:
            return value
        low = self.show(f"{path}/low", "points" if style == "percent" else style)
        high = self.show(f"{path}/high", style)
        return value + Markup(' <span class="ci">({}{}{})</span>').format(low, NOTHING, high)

    def _value(self, path: str) -> Any:
        value: Any = self._figures
        for part in path.split("/"):
            value = value[int(part)] if isinstance(value, list) else value[part]
        return value


def _data_uri(kind: str, content: bytes) -> Markup:
    return Markup(f"data:{kind};base64,{base64.b64encode(content).decode()}")
