"""Spans, as TFX knows them: recordings that came together, in a folder with a date or a number."""

import glob
import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from apache_beam.io.filesystems import FileSystems

from components.errors import SwarError

_EXAMPLE: Final = "such as DATA/{YYYY}-{MM}-{DD} or DATA/{SPAN}"
_DATE: Final = {"{YYYY}": r"(?P<year>\d{4})", "{MM}": r"(?P<month>\d\d)", "{DD}": r"(?P<day>\d\d)"}


@dataclass(frozen=True, order=True)
class Span:
    """One of the folders, or manifests, that a pattern stands for."""

    number: int
    """TFX's: as written, or days since 1970-01-01."""
    name: str
    """Below the pattern's fixed part, the same wherever that lies."""
    path: str


class SpanPattern:
    """A path with `{YYYY}`, `{MM}` and `{DD}`, or with `{SPAN}` or `{SPAN:digits}`.

    Attributes:
        base: the folder that its spans lie in.
        prefix: what the names of all that may be a span start with there; perhaps nothing.
        glob: matches every span, and perhaps more.

    Raises:
        SwarError: the specifications are none, or do not go together.
    """

    def __init__(self, pattern: str) -> None:
        # TFX takes long to import, and few inputs have spans.
        from tfx.components.example_gen import utils
        from tfx.proto import example_gen_pb2

        self.pattern = pattern
        try:
            has_span, has_date, has_version = utils.verify_split_pattern_specs(
                example_gen_pb2.Input.Split(pattern=pattern)
            )
        except ValueError as error:
            raise SwarError(f"{error}: write a pattern {_EXAMPLE}") from error
        if has_version or not (has_span or has_date):
            raise SwarError(
                f"{pattern!r} does not exist, and is no pattern of spans {_EXAMPLE}, "
                "without {VERSION}"
            )
        self._to_number = utils.date_to_span_number
        specification = f"{utils.SPAN_FULL_REGEX}|{'|'.join(map(re.escape, _DATE))}"
        fixed = re.split(f"(?:{specification})".replace("(?P<width>", "(?:"), pattern)
        found = [match[0] for match in re.finditer(specification, pattern)]
        self.base, self.prefix = os.path.split(fixed[0])
        self.glob = "*".join(map(glob.escape, fixed))
        digits = [*(_DATE.get(each) or _span_regex(each, pattern) for each in found), ""]
        self._regex = re.compile(
            "".join(re.escape(text) + part for text, part in zip(fixed, digits, strict=True))
            + "(?=/|$)"
        )

    def spans(self, paths: Iterable[str]) -> list[Span]:
        """The spans that paths lie in, or are, in the order of their numbers.

        Raises:
            SwarError: two have the same number.
        """
        found: dict[int, Span] = {}
        for path in paths:
            span = self.span(path)
            if span is not None and found.setdefault(span.number, span) != span:
                raise SwarError(
                    f"{found[span.number].path!r} and {span.path!r} are the same span, "
                    f"{span.number}: rename one"
                )
        return sorted(found.values())

    def span(self, path: str) -> Span | None:
        """The span that a path lies in, or is; None if that is no number and no date."""
        match = self._regex.match(path)
        if match is None:
            return None
        named = match.groupdict()
        if "span" in named:
            number = int(named["span"])
        else:
            try:
                number = self._to_number(*(int(named[key]) for key in ("year", "month", "day")))
            except ValueError:
                return None
        return Span(number, self.name(match[0]), match[0])

    def name(self, path: str) -> str:
        """A path as it is called below the fixed part."""
        return path.removeprefix(self.base).lstrip("/")


def is_pattern(data: str) -> bool:
    """Whether an input is no name but a pattern: it has braces, and nothing is called so."""
    return "{" in data and not (FileSystems.get_scheme(data) is None and os.path.lexists(data))


def rolling_window(spans: Sequence[Span], pattern: str, rolling_spans: int | None) -> list[Span]:
    """The newest spans, as TFX's RollingRange counts them: those that are there.

    Raises:
        SwarError: there is none.
    """
    if not spans:
        raise SwarError(f"{pattern!r} matches no span: correct it, or put the recordings there")
    return list(spans[-rolling_spans:] if rolling_spans else spans)


def _span_regex(specification: str, pattern: str) -> str:
    width = specification.removeprefix("{SPAN").removesuffix("}").removeprefix(":")
    if not width:
        return r"(?P<span>\d+)"
    if not width.isdecimal() or not int(width):
        raise SwarError(f"{specification} in {pattern!r}: write the number of digits, {{SPAN:4}}")
    return rf"(?P<span>\d{{{int(width)}}})"
