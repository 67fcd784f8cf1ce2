"""Trial lists in VoxCeleb's text format."""

from typing import Final, NamedTuple

from components.errors import SwarError

_LABELS: Final = {"1": 1, "0": 0}


class ListedTrial(NamedTuple):
    """One line of a list."""

    line: int
    """Its number, from 1."""
    label: int
    """1 same speaker, 0 different."""
    enrolment: str
    test: str


def parse_trial_list(text: str, source: str) -> list[ListedTrial]:
    """Lines `label enrolment test` or `enrolment test label`, all of a file alike.

    Fields are separated by tabs, or by blanks where a line has no tab; a label is 1 or 0. The
    first line tells the order. Empty lines are skipped.

    Args:
        text: the file's content.
        source: its name, for messages.

    Raises:
        SwarError: names the line.
    """
    lines = [(number, line) for number, line in enumerate(text.splitlines(), 1) if line.strip()]
    if not lines:
        raise SwarError(f"{source} holds no trial: write a line `label enrolment test` for each")
    rows = [(number, _fields(line, number, source)) for number, line in lines]
    first_number, first = rows[0]
    label_at = [place for place in (0, 2) if first[place] in _LABELS]
    if len(label_at) != 1:
        raise SwarError(
            f"{source} line {first_number}: the first field or the last must be the label, 1 or 0, "
            f"found {first[0]!r} and {first[2]!r}"
        )
    return [_trial(fields, label_at[0], number, source) for number, fields in rows]


def _fields(line: str, number: int, source: str) -> list[str]:
    fields = [field.strip() for field in (line.split("\t") if "\t" in line else line.split())]
    if len(fields) != 3 or not all(fields):
        raise SwarError(
            f"{source} line {number}: has {sum(map(bool, fields))} fields, not label, enrolment "
            "and test (with blanks in a name separate them by tabs)"
        )
    return fields


def _trial(fields: list[str], label_at: int, number: int, source: str) -> ListedTrial:
    label = fields[label_at]
    if label not in _LABELS:
        raise SwarError(f"{source} line {number}: the label must be 1 or 0, found {label!r}")
    enrolment, test = fields[1:] if label_at == 0 else fields[:2]
    if enrolment == test:
        raise SwarError(f"{source} line {number}: compares {test!r} with itself: remove the line")
    return ListedTrial(number, _LABELS[label], enrolment, test)
