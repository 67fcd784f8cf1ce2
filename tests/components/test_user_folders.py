import os
from pathlib import Path

import pytest

from components import user_folders
from components.errors import SwarError


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of temporary files."""
    folder = tmp_path / "tmp"
    folder.mkdir()
    monkeypatch.setattr("tempfile.gettempdir", lambda: str(folder))
    return folder


def test_a_user_whom_the_system_does_not_know_has_no_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(_uid: int) -> None:
        raise KeyError

    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr("pwd.getpwuid", unknown)
    assert user_folders.user_cache() is None


def test_who_has_no_home_gets_one_of_his_own(
    temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unknown(_uid: int) -> None:
        raise KeyError

    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    monkeypatch.setenv("HOME", "/somewhere")
    user_folders.ensure_home()
    assert os.environ["HOME"] == "/somewhere"
    monkeypatch.delenv("HOME")
    monkeypatch.setattr("pwd.getpwuid", unknown)
    user_folders.ensure_home()
    assert os.environ["HOME"] == str(temporary / f"swar-{os.getuid()}")
    assert user_folders.user_cache() is not None
    assert user_folders.user_data() is None


def test_what_is_to_stay_lies_in_the_home(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    monkeypatch.setenv("HOME", "/somewhere")
    assert user_folders.user_data() == Path("/somewhere/.local/share/swar")


def test_a_folder_is_writable_where_it_can_be_made(tmp_path: Path) -> None:
    assert user_folders.is_writable(tmp_path / "a" / "b")
    (tmp_path / "file").touch()
    assert not user_folders.is_writable(tmp_path / "file" / "a")
    assert not user_folders.is_writable(Path("/proc/none/a")) or os.getuid() == 0


def test_the_temporary_cache_is_the_users_alone_and_stays_the_same(temporary: Path) -> None:
    folder = user_folders.temporary_cache()
    assert folder.parent == temporary
    assert folder.stat().st_mode & 0o777 == 0o700
    assert user_folders.temporary_cache() == folder


@pytest.mark.parametrize("planted", ["open", "link", "file"])
def test_what_somebody_else_may_have_put_there_is_refused(temporary: Path, planted: str) -> None:
    place = temporary / f"swar-{os.getuid()}"
    if planted == "open":
        place.mkdir()
        place.chmod(0o777)
    elif planted == "link":
        place.symlink_to(temporary)
    else:
        place.touch()
    with pytest.raises((SwarError, FileExistsError), match=place.name):
        user_folders.temporary_cache()
