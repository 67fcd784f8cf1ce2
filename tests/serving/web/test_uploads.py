"""Recordings given to the page: private, bounded, and gone when they are not wanted."""

import errno
import os
import socket
import stat
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import pytest
import requests

from serving.web import uploads
from serving.web.guard import PageSettings
from serving.web.uploads import Uploads, opened_uploads
from tests.serving.web.support_page import User, served_page, write_voice


@pytest.fixture
def place(tmp_path, monkeypatch):
    """The folder for temporary files."""
    place = tmp_path / "tmp"
    place.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(place))
    return place


@pytest.fixture
def user(place, tmp_path):
    with served_page(tmp_path / "gallery", settings=PageSettings(port=0)) as url:
        yield User(url)


def left(place):
    return [path for path in place.rglob("*") if path.is_file() and path.name != ".lock"]


def post(user, files):
    return user.session.post(f"{user.url}gradio_api/upload", files=files, timeout=30)


def test_recordings_are_private_and_their_addresses_random(user, place, tmp_path):
    voice = write_voice(tmp_path / "sita.wav", 110)
    first, second = user.upload(voice), user.upload(voice)
    assert first != second
    for path in map(Path, (first, second)):
        assert path.name == "sita.wav"
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        for folder in (path.parent, path.parent.parent):
            assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    heard = user.session.get(f"{user.url}gradio_api/file={first}", timeout=30)
    assert heard.content == voice.read_bytes()
    assert heard.headers["Content-Security-Policy"].startswith("default-src 'none'; sandbox")
    assert heard.headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        ("..", "recording"),
        (".", "file"),
        ("", "file"),
        ("../../etc/passwd", "passwd"),
        ("/etc/cron.d/x", "x"),
        ("a" * 400 + ".wav", "a" * 196 + ".wav"),
        ("x<img src=x>.wav", "ximg src=x.wav"),
        (".lock", ".lock"),
    ],
)
def test_names_stay_names(user, place, name, kept):
    answer = post(user, {"files": (name, b"x")})
    (path,) = map(Path, answer.json())
    assert path.name == kept
    assert path.parent.parent.parent == place.resolve()


@pytest.mark.parametrize(
    "files",
    [
        [("files", ("a.wav", b"x" * 2_000_000)), ("files", ("b.wav", b"x" * 2_000_000))],
        [("other", ("a.wav", b"x" * 2_000_000))],
        [("files", ("a.wav", b"x" * 2_000_000)), ("field", (None, b"x"))],
        [("files", (None, b"x"))],
    ],
)
def test_another_form_is_refused_and_leaves_nothing(user, place, files):
    assert post(user, files).status_code == 400
    assert left(place) == []


def test_a_body_that_is_no_form_is_refused(user, place):
    url = f"{user.url}gradio_api/upload"
    broken = {"content-type": "multipart/form-data; boundary=x"}
    assert user.session.post(url, data=b"x" * 100, timeout=30).status_code == 400
    assert user.session.post(url, data=b"--y", headers=broken, timeout=30).status_code == 400
    assert user.session.post(url, data=iter([b"x"]), timeout=30).status_code == 411
    both = {"content-length": "10", "transfer-encoding": "chunked"}
    assert user.session.post(url, data=iter([b"x"]), headers=both, timeout=30).status_code == 411
    assert left(place) == []


def test_a_recording_that_is_too_large_is_refused_before_it_is_read(user, place, monkeypatch):
    monkeypatch.setattr(uploads, "MAX_FILE_BYTES", 1_000)
    assert post(user, {"files": ("a.wav", b"x" * 100_000)}).status_code == 413
    assert left(place) == []


def test_all_recordings_together_have_a_quota(user, place, monkeypatch):
    monkeypatch.setattr(uploads, "QUOTA_BYTES", 100_000)
    assert post(user, {"files": ("a.wav", b"x" * 60_000)}).status_code == 200
    refused = post(user, {"files": ("b.wav", b"x" * 60_000)})
    assert refused.status_code == 507
    assert [path.name for path in left(place)] == ["a.wav"]
    assert post(user, {"files": ("c.wav", b"x" * 30_000)}).status_code == 200


def test_one_that_breaks_off_leaves_nothing(user, place):
    def half():
        yield b'--x\r\nContent-Disposition: form-data; name="files"; filename="a.wav"\r\n\r\nxx'
        raise ConnectionError

    headers = {"content-type": "multipart/form-data; boundary=x", "content-length": "9000"}
    with pytest.raises((ConnectionError, requests.ConnectionError)):
        user.session.post(f"{user.url}gradio_api/upload", data=half(), headers=headers, timeout=30)
    assert left(place) == []


def test_one_that_takes_too_long_leaves_nothing_and_holds_no_room(user, place, monkeypatch):
    monkeypatch.setattr(uploads, "_ARRIVAL_SECONDS", 0.2)
    monkeypatch.setattr(uploads, "QUOTA_BYTES", 10_000)
    host, port = user.url.removeprefix("http://").rstrip("/").split(":")
    head = (
        "POST /gradio_api/upload HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9000\r\n"
        "Content-Type: multipart/form-data; boundary=x\r\n\r\n--x\r\n"
    )
    with socket.create_connection((host, int(port)), 30) as slow:
        slow.sendall(head.encode())
        assert slow.recv(100).startswith(b"HTTP/1.1 408 ")
    assert left(place) == []
    assert post(user, {"files": ("a.wav", b"x" * 9_000)}).status_code == 200


def test_recordings_go_after_an_hour(tmp_path):
    kept, old = (tmp_path / name for name in ("kept", "old"))
    for folder in (kept, old):
        folder.mkdir()
        (folder / "a.wav").touch()
    os.utime(old, (0, 0))
    Uploads(tmp_path).remove_old(uploads.KEPT_SECONDS)
    assert list(tmp_path.iterdir()) == [kept]


def test_everything_goes_when_the_page_stops(place):
    with opened_uploads() as opened:
        (opened.folder / "a").mkdir()
        (opened.folder / "a" / "a.wav").touch()
        with tempfile.NamedTemporaryFile() as file:
            assert Path(file.name).is_relative_to(opened.folder)
    assert list(place.iterdir()) == []


def test_what_a_killed_page_left_goes_at_the_next_start_and_a_running_ones_stays(place):
    code = (
        "import os; from serving.web.uploads import opened_uploads\n"
        "with opened_uploads() as opened:\n"
        "    (opened.folder / 'a.wav').touch()\n"
        "    print(opened.folder, flush=True)\n"
        "    os.kill(os.getpid(), 9)"
    )
    killed = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env={**os.environ, "TMPDIR": str(place)},
    )
    folder = Path(killed.stdout.strip())
    assert (folder / "a.wav").exists()
    elsewhere = place / "swar-page-link"
    elsewhere.symlink_to(place.parent)
    with opened_uploads() as running:
        assert not folder.exists()
        (running.folder / "mine").mkdir()
        tempfile.tempdir = str(place)
        with opened_uploads():
            assert (running.folder / "mine").is_dir()
    assert elsewhere.is_symlink() and place.parent.exists()


def test_a_full_disk_is_said(user, place, tmp_path, monkeypatch, capfd):
    def full(self, source, name):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Uploads, "_store", full)
    answer = post(user, {"files": write_voice(tmp_path / "sita.wav", 110).open("rb")})
    assert answer.status_code == 507 and "No space left" in answer.text
    assert left(place) == [] and capfd.readouterr().err == ""


def test_recordings_go_though_once_there_was_no_file_to_be_had(place, monkeypatch):
    """Else they would stay for as long as the page runs."""
    looked = threading.Semaphore(0)

    def remove_old(self, older_than_seconds):
        looked.release()
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    monkeypatch.setattr(Uploads, "remove_old", remove_old)
    monkeypatch.setattr(uploads, "_SWEEP_SECONDS", 0.01)
    with opened_uploads():
        assert all(looked.acquire(timeout=10) for _ in range(3))
