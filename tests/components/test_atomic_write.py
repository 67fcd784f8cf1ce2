"""A file or folder is the new one, whole, or the old one."""

import os
from pathlib import Path

import pytest

from components.atomic_write import FolderInUse, new_file, new_folder


def names(folder: Path) -> list[str]:
    """What lies in a folder, the hidden too."""
    return sorted(os.listdir(folder))


def test_a_file_takes_the_place_of_the_old_one_when_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "summary.json"
    path.write_text("old")
    with new_file(path) as file:
        file.write(b"new")
        file.flush()
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert names(tmp_path) == ["summary.json"]


@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt])
def test_an_error_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, error: type[BaseException]
) -> None:
    path = tmp_path / "summary.json"
    path.write_text("old")
    with pytest.raises(error), new_file(path) as file:
        file.write(b"ne")
        raise error
    assert path.read_text() == "old"
    assert names(tmp_path) == ["summary.json"]


def test_what_a_killed_process_left_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / ".a.partial").write_text("something longer")
    with new_file(tmp_path / "a") as file:
        file.write(b"new")
    assert (tmp_path / "a").read_text() == "new"
    assert names(tmp_path) == ["a"]


@pytest.mark.parametrize("is_there", [True, False])
def test_a_folder_appears_when_it_is_whole(tmp_path: Path, is_there: bool) -> None:
    folder = tmp_path / "deep" / "data"
    if is_there:
        folder.mkdir(parents=True)
    with new_folder(folder) as build:
        (build / "a").touch()
        assert not folder.exists() or names(folder) == []
    assert names(folder) == ["a"]
    assert names(folder.parent) == ["data"]


def test_an_error_leaves_no_folder(tmp_path: Path) -> None:
    with pytest.raises(ValueError), new_folder(tmp_path / "data") as build:
        (build / "a").touch()
        raise ValueError
    assert names(tmp_path) == []


def test_a_folder_that_holds_something_is_kept(tmp_path: Path) -> None:
    (tmp_path / "mine").touch()
    with pytest.raises(FolderInUse, match="exists and is not an empty folder"):
        new_folder(tmp_path).__enter__()
    assert names(tmp_path) == ["mine"]


def test_of_two_processes_the_quicker_ones_folder_is_kept(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    with pytest.raises(FolderInUse), new_folder(folder) as slow:
        (slow / "slow").touch()
        with new_folder(folder) as quick:
            (quick / "quick").touch()
    assert names(folder) == ["quick"]
    assert names(tmp_path) == ["data"]
