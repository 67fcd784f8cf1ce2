"""Errors as one line for the user."""

import contextlib
import errno
import os
import re
import tempfile
import traceback
from collections.abc import Iterator
from pathlib import Path

from components.errors import SwarError

# Beam adds the step's name to a message; its worker processes send only a traceback's text.
_STEP = re.compile(r" \[while running '[^']*'\]\s*$")
_TRACEBACK_LINE = re.compile(rf"^{re.escape(SwarError.__module__)}\.SwarError: (.+)$", re.MULTILINE)


# Messages of the operating system, which TensorFlow quotes, and of SQLite.
_FULL = ("No space left on device", "Disk quota exceeded", "database or disk is full")
_UNWRITABLE = (
    "Read-only file system",
    "Permission denied",
    "Not a directory",
    "is not a directory",
    "Is a directory",
    "File exists",
    "attempt to write a readonly database",
    "unable to open database file",
)
_KEPT = "and start again: what is finished is kept"


class RunFailed(Exception):
    """A run failed through no fault of the user; the log has the traceback."""

    def __init__(self, where: str, error: BaseException, log: Path) -> None:
        super().__init__(f"{where} failed ({_summary(error)}); the traceback is in {log}")


def user_error(error: BaseException) -> str | None:
    """The message of the SwarError that an exception is or was caused by; None without one.

    Follows causes and contexts, and finds a SwarError that Beam passed on as text. A library
    that is not installed counts as the user's error too.
    """
    for link in _chain(error):
        if isinstance(link, SwarError):
            return one_line(_STEP.sub("", str(link)))
    for link in _chain(error):
        lines = _TRACEBACK_LINE.findall(str(link))
        if lines:
            return one_line(_STEP.sub("", lines[-1]))
    if isinstance(error, ModuleNotFoundError) and error.name:
        return (
            f"the library {error.name!r} is not installed: `make` in swar's repository installs "
            "all of it, docs/development.md tells its parts"
        )
    return None


def executor_error(error: Exception) -> Exception:
    """The error that ended an executor, even if TFX could not remove its outputs.

    TFX removes the outputs of a failed executor, and an error in that would hide the first one.
    """
    steps = traceback.extract_tb(error.__traceback__)
    is_removal = any(step.name == "remove_output_dirs" for step in steps)
    first = error.__context__
    return first if is_removal and isinstance(first, Exception) else error


def storage_error(error: BaseException, output: Path) -> SwarError | None:
    """The SwarError for a full disk or an unwritable output folder; None for other errors.

    Args:
        error: the exception that ended a run.
        output: the run's folder.
    """
    texts = [str(link) for link in _chain(error)]
    if any(words in text for text in texts for words in _FULL):
        return SwarError(
            f"no space is left on the disk of {output}, or of {tempfile.gettempdir()} for "
            f"temporary files: free some {_KEPT}"
        )
    for text in texts:
        reason = next((words for words in _UNWRITABLE if words in text), None)
        path = re.search(rf"{re.escape(str(output))}[^\s'\";:]*", text)
        if reason and (path or "database" in reason):
            where = path[0] if path else str(output)
            return SwarError(f"cannot write {where} ({reason}): make it writable {_KEPT}")
    return None


@contextlib.contextmanager
def storage_errors(output: Path) -> Iterator[None]:
    """Raises SwarError for problems with an output folder's disk, see `storage_error`."""
    try:
        yield
    except SwarError:
        raise
    except Exception as error:  # from the operating system, or from TensorFlow
        if (fault := storage_error(error, output)) is None:
            raise
        raise fault from error


def file_error(error: BaseException) -> str | None:
    """The message about a file or folder that a command cannot use; None for other errors."""
    if not isinstance(error, OSError) or error.strerror is None:
        return None
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return (
            f"no space is left on the disk of what is written, or of {tempfile.gettempdir()} for "
            "temporary files: free some and start again"
        )
    # An open file may have only a number.
    named = [each for each in (error.filename, error.filename2) if isinstance(each, str | bytes)]
    if not named:
        return None
    return one_line(f"{' -> '.join(map(os.fsdecode, named))}: {error.strerror}")


def one_line(text: str) -> str:
    """The text without line breaks or other control characters, so that it stays one line."""
    return "".join(char if char.isprintable() else " " for char in " ".join(text.split()))


def _summary(error: BaseException) -> str:
    message = one_line(str(error))
    return f"{type(error).__name__}: {message[:200]}" if message else type(error).__name__


def _chain(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    link: BaseException | None = error
    while link is not None and id(link) not in seen:
        seen.add(id(link))
        yield link
        link = link.__cause__ or (None if link.__suppress_context__ else link.__context__)
