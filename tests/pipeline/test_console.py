import io
import logging
import re
import threading

import pytest

from components.terminal import Console
from pipeline.console import PROGRESS_LOGGER, Progress

SECONDS = re.compile(r"\d+\.\d s")
ABSL = logging.getLogger("absl")
OURS = logging.getLogger(PROGRESS_LOGGER)


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
