"""What went wrong, in one line for the user."""

import re
from collections.abc import Iterator
from pathlib import Path

from components.errors import SwarError

# Beam adds the step's name to a message, and from worker processes sends but a traceback's text.
_STEP = re.compile(r" \[while running '[^']*'\]\s*$")
_TRACEBACK_LINE = re.compile(rf"^{re.escape(SwarError.__module__)}\.SwarError: (.+)$", re.MULTILINE)


class RunFailed(Exception):
    """A run that ended in a fault which is not the user's; the log has the traceback."""

    def __init__(self, where: str, error: BaseException, log: Path) -> None:
        super().__init__(f"{where} failed ({_summary(error)}); the traceback is in {log}")


def user_error(error: BaseException) -> str | None:
    """The message of the SwarError that an exception is, or was raised because of.

    Follows causes and contexts, and finds one that Beam passed on as text. A library that is
    not installed is the user's to install.
    """
    for link in _chain(error):
        if isinstance(link, SwarError):
            return one_line(_STEP.sub("", str(link)))
    for link in _chain(error):
        told = _TRACEBACK_LINE.findall(str(link))
        if told:
            return one_line(_STEP.sub("", told[-1]))
    if isinstance(error, ModuleNotFoundError) and error.name:
        return (
            f"the library {error.name!r} is not installed: install more of swar, "
            "all of it is pip install 'swar[pipeline,client,serve,app]'"
        )
    return None


def one_line(text: str) -> str:
    """The text without line breaks or other control characters, so that it stays one line."""
    return "".join(char if char.isprintable() else " " for char in " ".join(text.split()))


def _summary(error: BaseException) -> str:
    told = one_line(str(error))
    return f"{type(error).__name__}: {told[:200]}" if told else type(error).__name__


def _chain(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    link: BaseException | None = error
    while link is not None and id(link) not in seen:
        seen.add(id(link))
        yield link
        link = link.__cause__ or (None if link.__suppress_context__ else link.__context__)
