"""The libraries write to a log, or to nowhere, and the terminal is as it was afterwards."""

import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest

from components.quiet import libraries_quiet, native_code_quiet, output_to, tensorflow_quiet

ROOT = Path(__file__).parents[2]


def test_only_what_is_meant_for_the_terminal_gets_there(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    log = tmp_path / "run.log"
    with output_to(log) as terminal:
        os.write(2, b"from C++\n")
        subprocess.run([sys.executable, "-c", "print('from a child')"], check=True)
        logging.getLogger("a.library").info("from logging")
        print("epoch 1", file=terminal, flush=True)
    os.write(1, b"after\n")
    captured = capfd.readouterr()
    assert captured.out == "epoch 1\nafter\n"
    assert captured.err == ""
    text = log.read_text()
    assert all(noise in text for noise in ("from C++", "from a child", "INFO a.library: from"))


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_everything_is_put_back_whatever_ends_it(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], error: type[BaseException]
) -> None:
    before = logging.getLogger().handlers[:], logging.getLogger().level
    descriptors = len(os.listdir("/proc/self/fd"))
    with pytest.raises(error), output_to(tmp_path / "run.log"):
        raise error
    os.write(1, b"out")
    os.write(2, b"err")
    assert tuple(capfd.readouterr()) == ("out", "err")
    assert (logging.getLogger().handlers, logging.getLogger().level) == before
    assert len(os.listdir("/proc/self/fd")) == descriptors


def test_a_command_shows_its_progress_and_nothing_of_the_libraries(
    capfd: pytest.CaptureFixture[str],
) -> None:
    with libraries_quiet() as stderr:
        os.write(1, b"from C++\n")
        os.write(2, b"from C++\n")
        logging.getLogger("tensorflow").warning("from logging")
        print("half", file=stderr, flush=True)
    assert tuple(capfd.readouterr()) == ("", "half\n")


def test_tensorflow_is_kept_off_stderr_alone(capfd: pytest.CaptureFixture[str]) -> None:
    with tensorflow_quiet():
        os.write(2, b"from C++\n")
        os.write(1, b"out")
    os.write(2, b"err")
    assert tuple(capfd.readouterr()) == ("out", "err")


_OF_NATIVE_CODE = """
import logging, os, sys
from components.quiet import native_code_quiet

with native_code_quiet():
    os.write(2, b"from C++\\n")
    print("shown", file=sys.stderr)
    logging.getLogger("swar").warning("noted")
os.write(2, b"after\\n")
print("at the end", file=sys.stderr)
"""


def test_native_code_is_kept_off_stderr_and_not_python() -> None:
    command = [sys.executable, "-c", _OF_NATIVE_CODE]
    ended = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=True)
    assert ended.stderr == "shown\nnoted\nafter\nat the end\n"


def test_a_stderr_that_is_none_of_the_descriptor_is_left(
    capsys: pytest.CaptureFixture[str],
) -> None:
    before = sys.stderr
    with native_code_quiet():
        print("shown", file=sys.stderr)
    assert sys.stderr is before
    assert capsys.readouterr().err == "shown\n"


_TO_A_FULL_DISK = """
import logging, sys
from pathlib import Path
from components.quiet import output_to

with output_to(Path("/dev/full")) as terminal:
    print("lost")
    logging.getLogger().warning("lost")
    print("seen", file=terminal)
print("told", file=sys.stderr)
"""


def test_a_log_on_a_full_disk_leaves_the_terminal_as_it_was() -> None:
    ended = subprocess.run(
        [sys.executable, "-c", _TO_A_FULL_DISK],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONUNBUFFERED": ""},
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "seen\n", "told\n")
