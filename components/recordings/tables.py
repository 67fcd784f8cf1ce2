"""The two tables a user may write: who speaks (SPEAKERS.tsv) and what to use (a manifest)."""

import csv
import io
import math
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from components.errors import SwarError
from components.recordings.files import Reject

SPEAKERS_FILE: Final = "SPEAKERS.tsv"
_MANIFESTS: Final = (".csv", ".tsv")
_NAMES_IN_A_LINE: Final = 10
_GENDERS: Final = {
    "f": "female",
    "female": "female",
    "m": "male",
    "male": "male",
    "": "unknown",
    "?": "unknown",
    "unknown": "unknown",
}


@dataclass(frozen=True)
class ManifestRow:
    """One recording as the manifest names it."""

    path: str
    speaker: str
    gender: str
    recording: str
    """As given, or the path, with `#start-end` behind it for a cut."""
    start_seconds: float | None
    end_seconds: float | None
    session: str | None


@dataclass(frozen=True)
class _Row:
    table: str
    line: int
    cells: dict[str, str]

    def __getitem__(self, column: str) -> str:
        return self.cells.get(column, "")

    def required(self, column: str) -> str:
        if not self[column].strip():
            raise self.error(column, "is empty: fill it in")
        return self[column]

    def speaker(self) -> str:
        return speaker_name(self.required("speaker")).strip()

    def gender(self) -> str:
        text = self["gender"]
        try:
            return _GENDERS[text.strip().lower()]
        except KeyError:
            raise self.error("gender", f"{text!r} is none of F, M and ?") from None

    def seconds(self, column: str) -> float | None:
        text = self[column]
        if not text.strip():
            return None
        try:
            seconds = float(text)
        except ValueError:
            seconds = math.nan
        if not 0 <= seconds < math.inf:
            raise self.error(column, f"{text!r} is no number of seconds, such as 61.5")
        return seconds

    def error(self, column: str, fault: str) -> SwarError:
        return SwarError(f"{self.table} line {self.line}, column {column}: {fault}")


def is_manifest_name(path: str) -> bool:
    """Whether a path, or a pattern of paths, ends as a manifest's does."""
    return path.lower().endswith(_MANIFESTS)


def speaker_name(text: str) -> str:
    """One spelling of a name, NFC: a Mac's folders may hold letter and accent apart."""
    return unicodedata.normalize("NFC", text)


def parse_speakers(text: str, table: str) -> dict[str, str]:
    """Speaker to gender, of a table of tab-separated `speaker`, `gender` and others.

    Names are without blanks around them, see `gender_of`.

    Raises:
        SwarError: names `table`, the line and the column.
    """
    genders: dict[str, str] = {}
    for row in _rows(text, table, "\t", ("speaker", "gender")):
        speaker, gender = row.speaker(), row.gender()
        if genders.setdefault(speaker, gender) != gender:
            raise row.error("gender", f"{speaker!r} is {genders[speaker]} further up: correct one")
    return genders


def gender_of(speaker: str, genders: Mapping[str, str]) -> str:
    """What a speakers' table tells of a folder's speaker."""
    return genders.get(speaker.strip(), "unknown")


def absent_speakers(genders: Mapping[str, str], speakers: Iterable[str]) -> list[Reject]:
    """One reject for the rows of a speakers' table that are about none of the speakers, if any."""
    absent = sorted(genders.keys() - {speaker.strip() for speaker in speakers})
    if not absent:
        return []
    names = ", ".join(map(repr, absent[:_NAMES_IN_A_LINE]))
    if len(absent) > _NAMES_IN_A_LINE:
        names += f" and {len(absent) - _NAMES_IN_A_LINE} more"
    detail = f"it has rows about speakers who are not here: {names}"
    return [Reject(SPEAKERS_FILE, "outside_speaker", None, detail)]


def parse_manifest(text: str, table: str) -> list[ManifestRow]:
    """The rows of a manifest, tab-separated if `table` ends in .tsv, else by commas.

    Raises:
        SwarError: names `table`, the line and the column.
    """
    delimiter = "\t" if table.lower().endswith(".tsv") else ","
    parsed: list[ManifestRow] = []
    lines: dict[str, int] = {}
    genders: dict[str, str] = {}
    for row in _rows(text, table, delimiter, ("path", "speaker")):
        path, speaker, gender = row.required("path"), row.speaker(), row.gender()
        if "\0" in path:
            raise row.error("path", "holds a zero byte: correct the name")
        if genders.setdefault(speaker, gender) != gender:
            raise row.error("gender", f"{speaker!r} is {genders[speaker]} further up: correct one")
        start, end = row.seconds("start_seconds"), row.seconds("end_seconds")
        if end is not None and end <= (start or 0.0):
            raise row.error("end_seconds", f"{end:g} does not lie behind the start: correct it")
        recording = row["recording"].strip()
        if not recording:
            cut = f"#{row['start_seconds'].strip()}-{row['end_seconds'].strip()}"
            recording = path if start is end is None else path + cut
        if recording in lines:
            fault = f"{recording!r} is on line {lines[recording]} too: each needs its own name"
            raise row.error("recording" if row["recording"].strip() else "path", fault)
        lines[recording] = row.line
        session = row["session"].strip() or None
        parsed.append(ManifestRow(path, speaker, gender, recording, start, end, session))
    if not parsed:
        raise SwarError(f"{table} lists no recording: add a line for each")
    return parsed


def _rows(text: str, table: str, delimiter: str, required: tuple[str, ...]) -> Iterator[_Row]:
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        columns = [name.strip().lower() for name in next(reader, [])]
        for column in required:
            if columns.count(column) != 1:
                raise SwarError(
                    f"{table} line 1: column {column} must be there once, found "
                    f"{', '.join(columns) or 'nothing'}"
                )
        for cells in reader:
            if cells:
                yield _Row(table, reader.line_num, dict(zip(columns, cells, strict=False)))
    except csv.Error as error:
        raise SwarError(f"{table} line {reader.line_num}: {error}: correct the quotes") from error
