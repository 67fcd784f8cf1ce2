"""Locks of files and folders, between descriptors as between processes."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from components.errors import SwarError
from components.file_lock import locked


@pytest.fixture(params=["file", "folder"])
def opened(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], int]:
    """Opens the same thing each time."""
    path = tmp_path
    if request.param == "file":
        path = tmp_path / ".lock"
        path.touch()
    return lambda: os.open(path, os.O_RDONLY)


def test_one_holds_it_at_a_time_and_descriptors_are_closed(opened: Callable[[], int]) -> None:
    descriptors = len(os.listdir("/proc/self/fd"))
    for _ in range(2):
        with locked(opened()):
            for shared in (False, True):
                with (
                    pytest.raises(SwarError, match=r"^somebody writes$"),
                    locked(opened(), shared=shared, held_message="somebody writes"),
                ):
                    pytest.fail("two hold it")
    assert len(os.listdir("/proc/self/fd")) == descriptors


def test_those_who_share_it_hold_it_together_and_none_alone(opened: Callable[[], int]) -> None:
    with (
        locked(opened(), shared=True),
        locked(opened(), shared=True),
        pytest.raises(SwarError),
        locked(opened(), held_message="others read"),
    ):
        pytest.fail("it is shared")
    with locked(opened(), held_message="others read"):
        pass


def test_what_is_raised_meanwhile_passes_and_gives_it_back(opened: Callable[[], int]) -> None:
    with pytest.raises(BlockingIOError), locked(opened(), held_message="held"):
        raise BlockingIOError
    with locked(opened(), held_message="held"):
        pass
