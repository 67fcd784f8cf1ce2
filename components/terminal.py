"""Writes to terminals, without control characters, whatever names and messages hold.

A file's name may hold any byte: ESC sequences clear the screen, forge lines, or make a terminal
answer as if something was typed. Everything that a command shows goes through this module.
"""

import codecs
import io
import logging
import os
import sys
from collections.abc import Iterable
from typing import Any, Final, TextIO

from rich.console import Console as RichConsole
from rich.console import ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.table import Table as RichTable

# C0 but for line break and tab, DEL, C1, Unicode's line breaks, marks of text direction.
_CONTROLS: Final = (
    *(code for code in range(0x20) if chr(code) not in "\n\t"),
    *range(0x7F, 0xA0),
    *(0x061C, 0x200E, 0x200F, 0x2028, 0x2029),
    *range(0x202A, 0x202F),
    *range(0x2066, 0x206A),
)
_ESCAPES: Final = {code: f"\\u{code:04x}" for code in _CONTROLS}
_ESCAPED: Final = "swar_escaped"
_USUAL_WIDTH: Final = 80


def printable(text: str) -> str:
    r"""Replaces control characters by `\u001b` and the like; JSON keeps its meaning."""
    return text.translate(_ESCAPES)


def say(text: str, *, error: bool = False, end: str = "\n", stream: TextIO | None = None) -> None:
    """Prints plain text and flushes it.

    Args:
        text: may hold line breaks.
        error: whether to print to stderr.
        end: printed after the text.
        stream: used instead of stdout and stderr.
    """
    stream = stream or (sys.stderr if error else sys.stdout)
    print(printable(text), end=end, file=stream, flush=True)


def _escaped(error: UnicodeError) -> tuple[str, int]:
    r"""Writes `\u0938` for a letter that an encoding lacks; JSON keeps its meaning."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    units = error.object[error.start : error.end].encode("utf-16-be", "surrogatepass").hex()
    escapes = (f"\\u{units[at : at + 4]}" for at in range(0, len(units), 4))
    return "".join(escapes), error.end


codecs.register_error(_ESCAPED, _escaped)


def ensure_streams() -> None:
    """Opens stdin, stdout and stderr where closed, and lets stdout and stderr take every letter.

    A stream that this process was started without is opened to the null device: otherwise the next
    file opened gets its descriptor, and what libraries write to it. Letters that the encoding
    lacks are escaped, since names may be in any script, whatever the locale.
    """
    for descriptor, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        if getattr(sys, name) is None:
            nowhere = os.open(os.devnull, os.O_RDWR)
            if nowhere != descriptor:
                os.dup2(nowhere, descriptor)
                os.close(nowhere)
            os.set_inheritable(descriptor, True)
            stream = os.fdopen(descriptor, mode, encoding="utf-8", errors="replace", closefd=False)
            setattr(sys, name, stream)
    for output in (sys.stdout, sys.stderr):
        if isinstance(output, io.TextIOWrapper):
            output.reconfigure(errors=_ESCAPED)


def drop(stream: TextIO, descriptor: int) -> None:
    """Discards the buffered and later output of a stream that cannot be written.

    Otherwise it appears later, or the interpreter ends with a status of its own.

    Args:
        stream: stdout or stderr.
        descriptor: the stream's descriptor.
    """
    with open(os.devnull, "wb") as nowhere:
        os.dup2(nowhere.fileno(), descriptor)
    stream.flush()


class Console(RichConsole):
    """Rich's console; only its own control sequences pass, not those in the content."""

    def __init__(self, **options: Any) -> None:
        """As rich's; a terminal that reports no columns gets 80."""
        super().__init__(**options)
        if self.width < 1:
            self.width = _USUAL_WIDTH

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterable[Segment]:
        """As rich's, for every part of a renderable, with text escaped."""
        for segment in super().render(renderable, options):
            if segment.control:
                yield segment
            else:
                yield Segment(printable(segment.text), segment.style)


class Table(RichTable):
    """Rich's table; text that is too long for its column is wrapped, not cut."""

    def add_column(self, *arguments: Any, **options: Any) -> None:
        """As rich's; columns with `no_wrap` are not wrapped."""
        if not options.get("no_wrap"):
            options.setdefault("overflow", "fold")
        super().add_column(*arguments, **options)


class PrintableFormatter(logging.Formatter):
    """Formats log records for a terminal."""

    def format(self, record: logging.LogRecord) -> str:
        """The record's line, with its traceback if it has one."""
        return printable(super().format(record))
