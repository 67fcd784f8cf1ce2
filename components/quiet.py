"""Keeps the output of libraries off the terminal, so that it shows only Swar's."""

import contextlib
import logging
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Final, TextIO

from components.terminal import drop

_LOG_FORMAT: Final = "%(asctime)s %(levelname)s %(name)s: %(message)s"
_STDOUT, _STDERR = 1, 2


@contextlib.contextmanager
def output_to(log: Path) -> Iterator[TextIO]:
    """Redirects all output of this process and its children to a file; yields the real stdout.

    Redirects the file descriptors, not only Python's streams, since TensorFlow's C++ code and
    Beam's worker processes write to them. Log records from INFO on go to the file.
    """
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    raise_exceptions = logging.raiseExceptions
    to_file = logging.FileHandler(log, encoding="utf-8")
    to_file.setFormatter(logging.Formatter(_LOG_FORMAT))
    with contextlib.ExitStack() as stack:
        terminal = stack.enter_context(_copy_of(_STDOUT))
        with log.open("ab") as file:
            stack.enter_context(_redirected(file, _STDOUT, _STDERR))
        # On a full disk every log line would print a traceback.
        logging.raiseExceptions = False
        root.handlers[:] = [to_file]
        root.setLevel(logging.INFO)
        try:
            yield terminal
        finally:
            root.handlers[:] = handlers
            root.setLevel(level)
            logging.raiseExceptions = raise_exceptions
            with contextlib.suppress(OSError):  # on a full disk the rest of the log is lost
                to_file.close()


@contextlib.contextmanager
def libraries_quiet() -> Iterator[TextIO]:
    """Discards what libraries write and log; yields the real stderr.

    Errors are raised all the same.
    """
    with (
        real_stderr() as stderr,
        tempfile.NamedTemporaryFile(prefix="swar-", suffix=".log") as log,
        output_to(Path(log.name)),
    ):
        yield stderr


@contextlib.contextmanager
def tensorflow_quiet() -> Iterator[None]:
    """Discards stderr while TensorFlow starts and loads a model; `real_stderr` and stdout stay.

    No setting silences its C++ code, so the descriptor is redirected. Its graph loader warns that
    it is old, although TF Serving uses the same one.
    """
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    with open(os.devnull, "wb") as nowhere, _redirected(nowhere, _STDERR):
        yield


@contextlib.contextmanager
def native_code_quiet() -> Iterator[None]:
    """Discards what C and C++ libraries write to stderr; Python's output and logs stay.

    They write to the descriptor, whatever their settings: libmpg123 does about every MP3 header
    that it doubts.
    """
    python = sys.__stderr__
    with contextlib.ExitStack() as stack:
        if python is not None and sys.stderr is python:  # a replaced one writes elsewhere
            copy = os.dup(_STDERR)
            own = os.fdopen(copy, "w", 1, encoding=python.encoding, errors=python.errors)
            sys.stderr = stack.enter_context(own)
            stack.callback(setattr, sys, "stderr", python)
        nowhere = stack.enter_context(open(os.devnull, "wb"))
        stack.enter_context(_redirected(nowhere, _STDERR))
        yield


def real_stderr() -> TextIO:
    """A copy of stderr with its own descriptor, which stays open while stderr is redirected."""
    return _copy_of(_STDERR)


def _copy_of(descriptor: int) -> TextIO:
    return os.fdopen(os.dup(descriptor), "w", encoding="utf-8", errors="replace")


@contextlib.contextmanager
def _redirected(file: BinaryIO, *descriptors: int) -> Iterator[None]:
    """Redirects the descriptors of stdout or stderr to a file within the context."""
    streams = {_STDOUT: sys.stdout, _STDERR: sys.stderr}
    for descriptor in descriptors:
        streams[descriptor].flush()
    saved = {descriptor: os.dup(descriptor) for descriptor in descriptors}
    try:
        for descriptor in descriptors:
            os.dup2(file.fileno(), descriptor)
        yield
    finally:
        for descriptor, kept in saved.items():
            try:
                streams[descriptor].flush()
            except OSError:  # a full disk
                drop(streams[descriptor], descriptor)
            os.dup2(kept, descriptor)
            os.close(kept)
