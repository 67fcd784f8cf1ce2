"""Spans as in TFX: recordings that came together, in a folder with a date or a number."""

import glob
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from apache_beam.io.filesystems import FileSystems

from components.errors import SwarError
from components.recordings import tables
from components.recordings.files import (
    OUTSIDE_LINK,
    Reject,
    entries_of,
    is_below,
    leads_out,
    outside_span,
)
from components.recordings.listing import Found, NoSpeakerError, Recording, Span, no_speaker
from components.recordings.tables import SPEAKERS_FILES, Remark, SpeakersTable

_EXAMPLE: Final = "such as DATA/{YYYY}-{MM}-{DD} or DATA/{SPAN}"
_DATE: Final = {"{YYYY}": r"(?P<year>\d{4})", "{MM}": r"(?P<month>\d\d)", "{DD}": r"(?P<day>\d\d)"}


class SpanPattern:
    """A path with `{YYYY}`, `{MM}` and `{DD}`, or with `{SPAN}` or `{SPAN:digits}`.

    Attributes:
        base: the folder that its spans lie in.
        prefix: start of the names of possible spans in that folder; may be empty.
        glob: matches every span, and perhaps more.

    Raises:
        SwarError: the specifications are invalid, or do not go together.
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
            SwarError: two spans have the same number.
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
        """The span that a path lies in, or is; None if it has no number and no date."""
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
        """The path below the pattern's fixed part."""
        return path.removeprefix(self.base).lstrip("/")


def is_pattern(data: str) -> bool:
    """Whether an input is a pattern: it has braces, and no such path exists."""
    return "{" in data and not (FileSystems.get_scheme(data) is None and os.path.lexists(data))


def rolling_window(spans: Sequence[Span], pattern: str, rolling_spans: int | None) -> list[Span]:
    """The newest of the existing spans, as TFX's RollingRange counts them.

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


def spans_of(
    data: str,
    rolling_spans: int | None,
    list_one: Callable[[str], Iterable[Found]],
    follow_outside_links: bool,
) -> tuple[list[Found], list[Span]]:
    """The contents of a pattern's newest spans, named below its fixed part, and these spans.

    Args:
        data: the pattern.
        rolling_spans: how many of the newest spans; None for all.
        list_one: lists a folder or a manifest.
        follow_outside_links: whether a local span may be a link that leads out of the folder of
            the spans.

    Raises:
        SwarError: the pattern is wrong, no span exists, none has a recording, or two of them
            give a speaker different genders.
    """
    pattern = SpanPattern(data)
    paths = _matched(pattern)
    spans = rolling_window(pattern.spans(paths), data, rolling_spans)
    found: list[Found] = []
    links_are_checked = FileSystems.get_scheme(data) is None and not follow_outside_links
    for span in spans:
        if links_are_checked and not is_below(Path(span.path), Path(pattern.base)):
            detail = "a link out of the folder of the spans"
            found.append((None, Reject(span.name, OUTSIDE_LINK, None, detail)))
            continue
        try:
            for speaker, item in list_one(span.path):
                found.append((speaker, _within(span, item)))
        except NoSpeakerError:
            found.append((None, Reject(span.name, "empty_folder", None, "a span without speakers")))
    if not any(isinstance(item, Recording) for _, item in found):
        raise no_speaker(data)
    beside = [f"{pattern.base}/{name}" for name in SPEAKERS_FILES]
    odd = [path for path in paths if pattern.span(path) is None and path not in beside]
    found += [(None, outside_span(pattern.name(path))) for path in odd]
    found += [(None, reject) for reject in _beside(pattern, paths)]
    present = [
        name
        for name in SPEAKERS_FILES
        if FileSystems.exists(f"{pattern.base}/{name}")
        and not (links_are_checked and leads_out(Path(pattern.base, name), Path(pattern.base)))
    ]
    return _with_genders(found, pattern.base, present), spans


def _matched(pattern: SpanPattern) -> list[str]:
    """What the pattern's wildcards match; on a remote filesystem, all files below too."""
    if FileSystems.get_scheme(pattern.pattern) is None:
        return sorted(glob.glob(pattern.glob))
    try:
        matches = FileSystems.match([pattern.glob, f"{pattern.glob}/**"])
    except (OSError, ValueError) as error:
        raise SwarError(f"{pattern.pattern!r} cannot be listed: {error}") from error
    return sorted({item.path for match in matches for item in match.metadata_list})


def _beside(pattern: SpanPattern, matched: Sequence[str]) -> Iterator[Reject]:
    """Rejects for what lies beside matched paths, in the local folders on the way to them.

    There are none for manifests, which name what is used. Names without the pattern's prefix do
    not count: `/srv/calls-{SPAN}` says nothing about the rest of `/srv`.
    """
    is_remote = FileSystems.get_scheme(pattern.pattern) is not None
    if is_remote or tables.is_manifest_name(pattern.pattern):
        return
    known = {pattern.name(path).rstrip("/") for path in matched} | {*SPEAKERS_FILES}
    above = {name[:at] for name in known for at, char in enumerate(name) if char == "/"}
    folders = [""]
    while folders:
        folder = folders.pop()
        try:
            entries = entries_of(Path(pattern.base, folder))
        except SwarError as error:
            yield replace(outside_span(folder), reason="unreadable", detail=str(error))
            continue
        for name in (os.path.join(folder, entry.name) for entry in entries):
            if name in above:
                folders.append(name)
            elif name not in known and name.startswith(pattern.prefix):
                yield outside_span(name)


def _within(span: Span, item: Recording | Reject | Remark) -> Recording | Reject | Remark:
    if isinstance(item, Remark):
        return item
    if isinstance(item, Reject):
        return replace(item, file=f"{span.name}/{item.file}")
    session = item.session and f"{span.name}/{item.session}"
    return replace(item, recording=f"{span.name}/{item.recording}", session=session)


def _with_genders(found: list[Found], folder: str, present: Sequence[str]) -> list[Found]:
    """Gives a speaker the gender of one span, or of the table beside the spans, in all spans."""
    table = tables.read_speakers(folder, present)
    known = {speaker: gender for speaker, gender in table.genders.items() if gender != "unknown"}
    recordings = [item for _, item in found if isinstance(item, Recording)]
    for item in recordings:
        name = item.speaker
        if item.gender != "unknown" and known.setdefault(name, item.gender) != item.gender:
            raise SwarError(
                f"the gender of {name!r} is {known[name]}, and {item.gender} in "
                f"{item.recording!r}: correct one table"
            )
    items: list[Found] = [
        (speaker, _with_facts(item, known, table) if isinstance(item, Recording) else item)
        for speaker, item in found
    ]
    speakers = {speaker for speaker, _ in found if speaker is not None}
    return items + [(None, item) for item in table.conclusions(speakers)]


def _with_facts(item: Recording, genders: Mapping[str, str], table: SpeakersTable) -> Recording:
    columns = {**table.columns.get(item.speaker, {}), **item.columns}
    return replace(item, gender=genders.get(item.speaker, "unknown"), columns=columns)
