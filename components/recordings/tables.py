"""The two tables a user may write: who speaks (SPEAKERS.tsv) and what to use (a manifest).

They are read as spreadsheets and corpora write them: with empty rows, blanks around names, quotes
in sentences, and more than two genders.
"""

import csv
import io
import math
import unicodedata
import urllib.parse
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Final, Literal, NamedTuple

from components.errors import SwarError, first_names
from components.recordings.files import Reject, read_text

SPEAKERS_FILES: Final = ("SPEAKERS.tsv", "SPEAKERS.csv")
"""Names of a table about the speakers of a folder, which has at most one."""
_MANIFESTS: Final = (".csv", ".tsv")
# All other columns are the data's own, see `Recording.columns`.
_COLUMNS_WITH_A_MEANING: Final = frozenset(
    ("path", "speaker", "gender", "session", "recording", "start_seconds", "end_seconds")
)
_GENDERS: Final = {
    "f": "female",
    "female": "female",
    "female_feminine": "female",
    "m": "male",
    "male": "male",
    "male_masculine": "male",
    "": "unknown",
    "?": "unknown",
    "unknown": "unknown",
}
_FILE_URL: Final = "file://"
_SEPARATORS: Final = {",": "commas", ";": "semicolons", "\t": "tabs"}
"""Separators of a .csv file: with decimal commas, spreadsheets write semicolons."""
_FORMS: Final[tuple[Literal["NFC", "NFD"], ...]] = ("NFC", "NFD")
_MOST_HEADER_CHARACTERS: Final = 100_000
# Invisible characters copied with a name or path, without joiners, which some scripts need.
_INVISIBLE: Final = dict.fromkeys(
    [0x00AD, 0x200B, 0x200E, 0x200F, *range(0x202A, 0x202F), 0x2060, *range(0x2066, 0x206A), 0xFEFF]
)


class Remark(NamedTuple):
    """One line about an input that can be read, but may not be intended."""

    text: str


class NameSpellings:
    """Spellings of names that differ only in white space or invisible characters."""

    def __init__(self) -> None:
        self._of: defaultdict[str, set[str]] = defaultdict(set)

    def name(self, written: str) -> str:
        """Records a spelling and returns its `speaker_name`."""
        name = speaker_name(written)
        self._of[name].add(_composed(written))
        return name

    def remarks(self) -> list[Remark]:
        """A remark for each name with several spellings, by name."""
        return [
            Remark(f"{_names(spelled)} are taken as one speaker: blanks tell no names apart")
            for _, spelled in sorted(self._of.items())
            if len(spelled) > 1
        ]


@dataclass
class _Genders:
    """Genders of speakers, from rows that must not contradict each other."""

    known: dict[str, str] = field(default_factory=dict)
    others: set[str] = field(default_factory=set)
    """Written genders that are not known."""

    def add(self, row: "_Row", speaker: str) -> None:
        """Adds a row's gender; an unknown one contradicts none."""
        text = row["gender"].strip()
        gender = _GENDERS.get(text.lower())
        if gender is None:
            self.others.add(text)
            gender = "unknown"
        known = self.known.setdefault(speaker, gender)
        if known == "unknown":
            self.known[speaker] = gender
        elif gender not in ("unknown", known):
            raise row.error("gender", f"{speaker!r} is {known} further up: correct one")

    def remarks(self, table: str) -> list[Remark]:
        """A remark if there were `others`."""
        if not self.others:
            return []
        return [Remark(f"{table}, column gender: taken as unknown: {_names(self.others)}")]


class SpeakersTable(NamedTuple):
    """The contents of a table about a folder's speakers."""

    name: str
    """The file's name; empty if there is no table."""
    genders: dict[str, str]
    """Genders by the speaker's name, see `speaker_name`."""
    columns: Mapping[str, Mapping[str, str]]
    """Cells of the other columns by speaker and column; none that is empty or contradictory."""
    remarks: list[Remark]

    def gender_of(self, speaker: str) -> str:
        """Gender of a folder's speaker."""
        return self.genders.get(speaker, "unknown")

    def conclusions(self, speakers: Iterable[str]) -> list[Reject | Remark]:
        """Its remarks, and one reject if there are rows about none of the speakers."""
        absent = self.genders.keys() - set(speakers)
        if not absent:
            return [*self.remarks]
        detail = f"it has rows about speakers who are not here: {_names(absent)}"
        return [Reject(self.name, "outside_speaker", None, detail), *self.remarks]


@dataclass(frozen=True)
class ManifestRow:
    """One recording as the manifest names it."""

    path: str
    speaker: str
    gender: str
    recording: str
    """As given, or the path without blanks around it, with `#start-end` appended for a cut."""
    start_seconds: float | None
    end_seconds: float | None
    session: str | None
    columns: Mapping[str, str]
    """Cells of the other columns that are not empty."""


class Manifest(NamedTuple):
    """The rows of a manifest, and remarks about them."""

    rows: list[ManifestRow]
    remarks: list[Remark]


@dataclass(frozen=True)
class _Row:
    table: str
    line: int
    cells: dict[str, str]
    has_decimal_commas: bool = False
    """Whether numbers may have decimal commas: other characters separate cells."""

    def __getitem__(self, column: str) -> str:
        return self.cells.get(column, "")

    def required(self, column: str) -> str:
        if not self[column].strip():
            raise self.error(column, "is empty: fill it in")
        return self[column]

    def path(self) -> str:
        path = self.required("path")
        if path.strip().lower().startswith(_FILE_URL):
            rest = path.strip()[len(_FILE_URL) :].removeprefix("localhost")
            if not rest.startswith("/"):
                raise self.error("path", f"{path!r} names another machine: write file:///...")
            path = urllib.parse.unquote(rest)
        if "\0" in path:
            raise self.error("path", "holds a zero byte: correct the name")
        return path

    def seconds(self, column: str) -> float | None:
        text = self[column]
        if not text.strip():
            return None
        try:
            seconds = float(text.replace(",", ".") if self.has_decimal_commas else text)
        except ValueError:
            seconds = math.nan
        if not 0 <= seconds < math.inf:
            raise self.error(column, f"{text!r} is no number of seconds, such as 61.5")
        return seconds

    def others(self) -> dict[str, str]:
        """The cells of the data's own columns that are not empty."""
        return {
            column: cell.strip()
            for column, cell in self.cells.items()
            if column and column not in _COLUMNS_WITH_A_MEANING and cell.strip()
        }

    def error(self, column: str, fault: str) -> SwarError:
        return SwarError(f"{self.table} line {self.line}, column {column}: {fault}")


def is_manifest_name(path: str) -> bool:
    """Whether a path, or a pattern of paths, ends as a manifest's does."""
    return path.lower().endswith(_MANIFESTS)


def speaker_name(text: str) -> str:
    """One spelling of a name: in NFC, since macOS may store letter and accent apart, without white
    space around it, with one blank for any within it, such as a spreadsheet's no-break space, and
    without invisible characters."""
    return " ".join(_composed(text.translate(_INVISIBLE)).split()) or text


def path_spellings(path: str) -> list[str]:
    """Spellings of a table's path that its file may have, the likeliest first.

    As written; without blanks around it; with letters and accents together, and apart; without
    invisible characters and with slashes for Windows' backslashes.
    """
    bare = path.strip()
    plain = bare.translate(_INVISIBLE).replace("\\", "/")
    forms = [unicodedata.normalize(form, text) for text in (bare, plain) for form in _FORMS]
    return list(dict.fromkeys([path, bare, *forms]))


def read_speakers(folder: str, names: Collection[str]) -> SpeakersTable:
    """Reads the table about a folder's speakers; the result is empty if there is none.

    Args:
        folder: the folder with the table.
        names: names of files in it; the one that is in SPEAKERS_FILES is read.

    Raises:
        SwarError: there are two, or one is at fault: names the table, the line and the column.
    """
    present = [name for name in SPEAKERS_FILES if name in names]
    if len(present) > 1:
        raise SwarError(f"{folder!r} has {' and '.join(present)}: remove one")
    if not present:
        return SpeakersTable("", {}, {}, [])
    path = f"{folder}/{present[0]}"
    return parse_speakers(read_text(path), path)


def parse_speakers(text: str, table: str) -> SpeakersTable:
    """Parses a table of columns `speaker`, `gender` and others, separated as in `parse_manifest`.

    Raises:
        SwarError: names `table`, the line and the column.
    """
    genders = _Genders()
    cells: defaultdict[str, defaultdict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    for row in _rows(text, table, ("speaker", "gender")):
        speaker = speaker_name(row.required("speaker"))
        genders.add(row, speaker)
        for column, cell in row.others().items():
            cells[speaker][column].add(cell)
    columns = {
        speaker: {column: min(found) for column, found in own.items() if len(found) == 1}
        for speaker, own in cells.items()
    }
    name = table.rpartition("/")[2]
    return SpeakersTable(name, genders.known, columns, genders.remarks(table))


def parse_manifest(text: str, table: str) -> Manifest:
    """Parses a manifest, tab-separated if `table` ends in .tsv, else separated as its header by
    commas, semicolons or tabs.

    Empty rows are skipped. The cells of a .tsv file have no quotes.

    Raises:
        SwarError: names `table`, the line and the column.
    """
    parsed: list[ManifestRow] = []
    lines: dict[str, int] = {}
    spellings, genders = NameSpellings(), _Genders()
    for row in _rows(text, table, ("path", "speaker")):
        path, speaker = row.path(), spellings.name(row.required("speaker"))
        genders.add(row, speaker)
        start, end = row.seconds("start_seconds"), row.seconds("end_seconds")
        if end is not None and end <= (start or 0.0):
            raise row.error("end_seconds", f"{end:g} does not lie behind the start: correct it")
        recording = row["recording"].strip()
        if not recording:
            cut = f"#{row['start_seconds'].strip()}-{row['end_seconds'].strip()}"
            recording = path.strip() if start is end is None else path.strip() + cut
        if recording in lines:
            fault = f"{recording!r} is on line {lines[recording]} too: each needs its own name"
            raise row.error("recording" if row["recording"].strip() else "path", fault)
        lines[recording] = row.line
        session = row["session"].strip() or None
        columns = row.others()
        parsed.append(ManifestRow(path, speaker, "", recording, start, end, session, columns))
    if not parsed:
        raise SwarError(f"{table} lists no recording: add a line for each")
    rows = [replace(row, gender=genders.known[row.speaker]) for row in parsed]
    return Manifest(rows, spellings.remarks() + genders.remarks(table))


def _rows(text: str, table: str, required: tuple[str, ...]) -> Iterator[_Row]:
    """The rows with a cell that is not empty."""
    lines = io.StringIO(text, newline="")
    if table.lower().endswith(".tsv"):
        separator = "\t"
        reader = csv.reader(lines, delimiter=separator, quoting=csv.QUOTE_NONE)
    else:
        separator = _separator(text)
        reader = csv.reader(lines, delimiter=separator, strict=True)
    separators = _SEPARATORS[separator]
    try:
        filled = (cells for cells in reader if any(cell.strip() for cell in cells))
        header = next((cells for cells in filled if not _is_for_excel(cells[0])), [])
        columns = [name.strip().lower() for name in header]
        for column in (*required, *filter(None, columns)):
            if columns.count(column) != 1:  # of two equal ones only one would be read
                raise SwarError(
                    f"{table} line {max(1, reader.line_num)}: column {column} must be there once, "
                    f"found {first_names(list(map(repr, columns))) or 'nothing'}: write a header, "
                    f"separated by {separators}"
                )
        for cells in filled:
            if any(cell.strip() for cell in cells[len(columns) :]):
                raise SwarError(
                    f"{table} line {reader.line_num}: has {len(cells)} cells, the header "
                    f"{len(columns)}: quote cells with {separators} in them"
                )
            named = dict(zip(columns, cells, strict=False))
            yield _Row(table, reader.line_num, named, separator != ",")
    except csv.Error as error:
        raise SwarError(f"{table} line {reader.line_num}: {error}: correct the quotes") from error


def _separator(text: str) -> str:
    """The separator of the first filled line, which is the header."""
    lines = io.StringIO(text[:_MOST_HEADER_CHARACTERS], newline=None)
    header = next((line for line in lines if line.strip(" ,;\t\n") and not _is_for_excel(line)), "")
    return max(_SEPARATORS, key=header.count)


def _is_for_excel(text: str) -> bool:
    """Whether a line tells Excel how cells are separated."""
    return text.lstrip('"').lower().startswith("sep=")


def _composed(text: str) -> str:
    return unicodedata.normalize("NFC", text)


def _names(names: Iterable[str]) -> str:
    return first_names([repr(name) for name in sorted(names)])
