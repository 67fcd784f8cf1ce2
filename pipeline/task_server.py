"""Starts `python -m` again and again without importing the same libraries again.

`python -m pipeline.task_server LOG LIBRARY...` imports the libraries, which for TFX takes 11 s
of processor time, and then forks a process for every line that it reads.
"""

import importlib
import json
import os
import runpy
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import NoReturn, Self


class TaskServer:
    """A process with the libraries loaded. Leaving the context ends it."""

    def __init__(self, libraries: Sequence[str], log: Path) -> None:
        """Starts importing and does not wait for it.

        Args:
            libraries: modules that start no threads of their own which a fork would miss.
            log: gets what is said before a process is forked.
        """
        self._log = log
        self._server = subprocess.Popen(
            [sys.executable, "-m", __name__, str(log), *libraries],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def run(self, words: Sequence[str], log: Path) -> int:
        """Runs `python -m` with these words and waits for its end.

        Args:
            words: a module's name and its arguments.
            log: gets its output.

        Returns the exit status, negative for a signal. Raises RuntimeError where the server
        itself has ended.
        """
        assert self._server.stdin is not None and self._server.stdout is not None
        try:
            print(json.dumps([list(words), str(log)]), file=self._server.stdin, flush=True)
        except BrokenPipeError as error:
            raise RuntimeError(f"no process for tasks could be made, see {self._log}") from error
        answer = self._server.stdout.readline()
        if not answer:
            raise RuntimeError(f"no process for tasks could be made, see {self._log}")
        return int(answer)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.terminate()
        self._server.communicate()


def _serve(log: str, libraries: Sequence[str]) -> None:
    # Libraries print: only answers may reach who reads them.
    answers = os.fdopen(os.dup(1), "w")
    _speak_to(log)
    for library in libraries:
        importlib.import_module(library)
    for line in sys.stdin:
        words, task_log = json.loads(line)
        task = os.fork()
        if task == 0:
            _become(words, task_log)
        _, status = os.waitpid(task, 0)
        print(os.waitstatus_to_exitcode(status), file=answers, flush=True)


def _become(words: list[str], log: str) -> NoReturn:
    """What `python -m` does: the interpreter ends as the module does."""
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    _speak_to(log)
    sys.argv = words
    runpy.run_module(words[0], run_name="__main__", alter_sys=True)
    sys.exit()


def _speak_to(log: str) -> None:
    file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    for descriptor in (1, 2):
        os.dup2(file, descriptor)
    os.close(file)


if __name__ == "__main__":
    _serve(sys.argv[1], sys.argv[2:])
