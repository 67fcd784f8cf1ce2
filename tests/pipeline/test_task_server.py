"""Processes that are forked from one with the libraries loaded."""

import os
from pathlib import Path

import pytest

from pipeline.task_server import TaskServer

TASK = "tests.pipeline.support_forked"


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "task.log"


def test_each_task_is_a_process_of_its_own_with_the_libraries_loaded(log: Path) -> None:
    said = []
    with TaskServer(["colorsys"], log.with_name("server.log")) as server:
        for argument in ("a b", "ü"):
            assert server.run([TASK, "say", argument], log) == 0
            said.append(log.read_text().splitlines())
    (first, *one), (second, *two) = said
    assert one == ["True False", "a b", "at exit"]  # colorsys is loaded, this test is not
    assert two == ["True False", "ü", "at exit"]
    assert len({first, second, str(os.getpid())}) == 3


@pytest.mark.parametrize(
    ("how", "status", "told"),
    [
        ("raise", 1, "ValueError: no good"),
        ("exit", 3, ""),
        ("kill", -9, ""),
    ],
)
def test_how_a_task_ends_is_told_and_the_next_one_runs(
    log: Path, how: str, status: int, told: str
) -> None:
    with TaskServer([], log.with_name("server.log")) as server:
        assert server.run([TASK, how], log) == status
        assert told in log.read_text()
        assert server.run([TASK, "say", "next"], log) == 0


def test_a_library_that_is_missing_is_told(log: Path) -> None:
    server_log = log.with_name("server.log")
    with TaskServer(["not_there"], server_log) as server:
        with pytest.raises(RuntimeError, match=rf"could be made, see {server_log}$"):
            server.run([TASK, "say", "x"], log)
        with pytest.raises(RuntimeError, match="could be made"):
            server.run([TASK, "say", "x"], log)
    assert "No module named 'not_there'" in server_log.read_text()


def test_nothing_is_left_of_it(log: Path) -> None:
    with TaskServer([], log.with_name("server.log")) as server:
        server.run([TASK, "say", "x"], log)
        (parent,) = [int(line) for line in log.with_suffix(".parent").read_text().split()]
        assert Path("/proc", str(parent)).exists()
    assert not Path("/proc", str(parent)).exists()
