import io
import logging
import os
import re
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from components.terminal import Console
from pipeline.code_digest import SOURCE_ROOT
from pipeline.console import PROGRESS_LOGGER, Progress, output_to

SECONDS = re.compile(r"\d+\.\d s")
ABSL = logging.getLogger("absl")
OURS = logging.getLogger(PROGRESS_LOGGER)


def test_only_what_is_meant_for_the_terminal_gets_there(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    log = tmp_path / "run.log"
    with output_to(log) as terminal:
        os.write(2, b"from C++\n")
        subprocess.run([sys.executable, "-c", "print('from a child')"], check=True)
        logging.getLogger("tensorflow").info("from logging")
        print("epoch 1", file=terminal, flush=True)
    os.write(1, b"after\n")
    captured = capfd.readouterr()
    assert captured.out == "epoch 1\nafter\n"
    assert captured.err == ""
    text = log.read_text()
    assert all(noise in text for noise in ("from C++", "from a child", "INFO tensorflow: from"))


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


def _console(terminal: bool = False) -> tuple[Console, io.StringIO]:
    text = io.StringIO()
    return Console(file=text, force_terminal=terminal, width=60), text


def test_each_event_is_a_line_where_there_is_no_terminal() -> None:
    console, text = _console()
    progress = Progress(console)
    with progress.watching(["A", "B", "C"]):
        ABSL.info("Component %s is running.", "A")
        ABSL.info("A cached execution %d is used.", 7)
        ABSL.info("Component %s is finished.", "A")
        ABSL.info("Component %s is running.", "B")
        OURS.info("epoch %d of 4: [eer] 3 %%", 1)
        ABSL.info("Component %s is finished.", "B")
    OURS.info("nobody listens")
    assert SECONDS.sub("# s", text.getvalue()).splitlines() == [
        "A: running",
        "A: cached, # s",
        "B: running",
        "  B: epoch 1 of 4: [eer] 3 %",
        "B: done, # s",
    ]
    states = {name: item.state for name, item in progress.components.items()}
    assert states == {"A": "cached", "B": "done", "C": "waiting"}
    assert progress.failed() is None


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_the_component_in_which_a_run_ends_has_failed(error: type[BaseException]) -> None:
    console, text = _console()
    progress = Progress(console)
    with pytest.raises(error), progress.watching(["A", "B"]):
        ABSL.info("Component %s is running.", "A")
        raise error
    assert progress.failed() == "A"
    assert SECONDS.sub("# s", text.getvalue()).splitlines()[-1] == "A: failed, # s"


def test_a_component_without_its_inputs_is_told() -> None:
    progress = Progress(_console()[0])
    with progress.watching(["A"]):
        ABSL.info("Component %s is running.", "A")
        ABSL.error("[%s] Input resolution error: %s", "A", "no model")
        ABSL.info("Component %s is finished.", "A")
    assert progress.without_inputs() == ["A"]


def test_other_threads_do_not_start_components() -> None:
    progress = Progress(_console()[0])
    with progress.watching(["A"]):
        thread = threading.Thread(target=ABSL.info, args=("Component %s is running.", "A"))
        thread.start()
        thread.join()
    assert progress.components["A"].state == "waiting"


def test_a_terminal_keeps_a_table_and_the_messages_above_it() -> None:
    console, text = _console(terminal=True)
    progress = Progress(console)
    with progress.watching(["Trainer", "Pusher"]):
        ABSL.info("Component %s is running.", "Trainer")
        OURS.info("epoch 1")
        ABSL.info("Component %s is finished.", "Trainer")
    shown = text.getvalue()
    assert "  Trainer: epoch 1" in shown
    assert "done" in shown
    assert "waiting" in shown


_TO_A_FULL_DISK = """
import logging, sys
from pathlib import Path
from pipeline.console import output_to

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
        cwd=SOURCE_ROOT,
        env={**os.environ, "PYTHONUNBUFFERED": ""},
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "seen\n", "told\n")
