"""Who may use the page."""

import concurrent.futures
import os
import time
from pathlib import Path

import pytest
import requests

from components.errors import SwarError
from serving.web import login
from serving.web.actions import RISKS
from serving.web.guard import PageSettings
from serving.web.login import PasswordLogin, ProxyLogin, write_password
from tests.serving.web.support_page import User, served_page, write_voice

PASSWORD = "correct horse battery"


@pytest.fixture
def passwords(tmp_path, monkeypatch):
    monkeypatch.setitem(login._SCRYPT, "n", 2**4)
    file = tmp_path / "passwords"
    write_password(file, "asha", PASSWORD)
    return file


@pytest.fixture
def url(passwords, tmp_path):
    settings = PageSettings(port=0, login=PasswordLogin(passwords))
    with served_page(tmp_path / "gallery", settings=settings) as url:
        yield url


def sign_in(user, name="asha", password=PASSWORD):
    return user.session.post(
        f"{user.url}login",
        data={"name": name, "password": password},
        timeout=30,
        allow_redirects=False,
    )


def test_nothing_is_served_before_the_login(url, tmp_path):
    user = User(url)
    with pytest.raises(requests.HTTPError):
        user.html()
    for path in ("", "theme.css", "gradio_api/upload_progress", "gradio_api/file=/x", "config"):
        answer = user.session.get(url + path, timeout=30)
        assert answer.status_code == 401
        assert "gradio" not in answer.text
    for path in ("gradio_api/upload", "gradio_api/run/predict"):
        assert user.session.post(url + path, data=b"{}", timeout=30).status_code == 401


def test_a_user_signs_in_and_out(url, tmp_path):
    user = User(url)
    answer = sign_in(user)
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    cookie = answer.headers["set-cookie"].lower()
    assert "httponly" in cookie and "samesite=lax" in cookie
    assert "Sign out" in user.html()
    assert (
        user.ask("identify", next(iter(RISKS)), write_voice(tmp_path / "a.wav", 110))
        == "Nobody is enrolled yet"
    )
    token = str(user.session.cookies["swar-session"])
    user.session.post(f"{url}logout", timeout=30)
    for cookie in ("", f"swar-session={token}", "swar-session="):
        answer = requests.get(url, headers={"cookie": cookie}, timeout=30)
        assert answer.status_code == 401


@pytest.mark.parametrize(
    ("name", "password"),
    [("asha", "wrong"), ("asha", ""), ("ram", PASSWORD), ("", ""), ("asha\n", PASSWORD)],
)
def test_another_password_is_refused(url, name, password):
    user = User(url)
    answer = sign_in(user, name, password)
    assert answer.status_code == 401
    assert "set-cookie" not in answer.headers
    assert PASSWORD not in answer.text


@pytest.mark.parametrize("name", ["asha", "nobody"])
def test_guessing_is_slowed(url, name):
    user = User(url)
    tried = [sign_in(user, name, f"guess {number}").status_code for number in range(7)]
    assert tried == [401] * 5 + [429] * 2
    assert sign_in(user, name).status_code == 429
    assert sign_in(user, "nobody" if name == "asha" else "asha").status_code != 429


def test_sign_ins_that_wait_hold_no_thread_of_the_page(url, passwords, monkeypatch):
    """Each takes a tenth of a second, one at a time: a flood of them is not everybody's wait."""
    verify = login._verify

    def slow_verify(password, entry):
        time.sleep(0.5)
        return verify(password, entry)

    monkeypatch.setattr(login, "_verify", slow_verify)
    for number in range(12):
        write_password(passwords, f"user{number}", PASSWORD)
    user = User(url)
    sign_in(user)
    with concurrent.futures.ThreadPoolExecutor(44) as guessing:
        guesses = [
            guessing.submit(sign_in, User(url), f"user{number % 12}", "a wrong password")
            for number in range(44)
        ]
        time.sleep(1.0)
        started = time.monotonic()
        assert user.html()
        assert time.monotonic() - started < 8
        assert not all(each.done() for each in guesses)


def test_who_signs_in_again_and_again_keeps_nobody_out(url, passwords, monkeypatch):
    monkeypatch.setattr(login, "_SESSIONS_OF_A_USER", 2)
    monkeypatch.setattr(login, "_MAX_SESSIONS", 3)
    write_password(passwords, "ram", PASSWORD)
    users = [User(url) for _ in range(5)]
    for user in users:
        assert sign_in(user, "asha").status_code == 303
    other = User(url)
    assert sign_in(other, "ram").status_code == 303
    assert other.html() and users[-1].html()
    assert users[0].session.get(url, timeout=30).status_code == 401


def test_another_site_cannot_sign_in(url):
    answer = requests.post(
        f"{url}login",
        data={"name": "asha", "password": PASSWORD},
        headers={"origin": "http://evil.example"},
        timeout=30,
    )
    assert answer.status_code == 403


def test_a_session_ends_with_its_password(url, passwords):
    user = User(url)
    sign_in(user)
    write_password(passwords, "ram", PASSWORD)
    user.html()
    write_password(passwords, "asha", PASSWORD[::-1])
    assert user.session.get(url, timeout=30).status_code == 401


def test_a_session_ends_after_an_hour_of_rest(url, monkeypatch):
    user = User(url)
    monkeypatch.setattr(login, "_SESSION_SECONDS", -1.0)
    sign_in(user)
    assert user.session.get(url, timeout=30).status_code == 401


def test_the_file_has_hashes_and_is_private(passwords):
    assert passwords.stat().st_mode & 0o777 == 0o600
    assert PASSWORD not in passwords.read_text()
    write_password(passwords, "ram", PASSWORD)
    asha, ram = passwords.read_text().splitlines()
    assert asha.split(":")[2:] != ram.split(":")[2:]


def test_a_file_that_will_not_do_is_said(passwords, tmp_path):
    def refused(file: Path, told: str) -> None:
        with pytest.raises(SwarError, match=told):
            PasswordLogin(file)

    refused(tmp_path / "none", "No such file.*app-password")
    os.chmod(passwords, 0o640)
    refused(passwords, "others can read .*chmod 600")
    os.chmod(passwords, 0o600)
    for text, told in (("", "names nobody"), ("asha:secret\n", "did not write")):
        passwords.write_text(text)
        refused(passwords, told)
    with pytest.raises(SwarError, match="at least 12 characters"):
        write_password(tmp_path / "new", "asha", "short")
    with pytest.raises(SwarError, match="letters, digits"):
        write_password(tmp_path / "new", "a:b", PASSWORD)


@pytest.mark.parametrize(
    ("proxies", "named", "status"),
    [
        (["127.0.0.0/8"], "asha@corp.example", 200),
        (["127.0.0.1", "::1"], "asha", 200),
        (["127.0.0.1"], "auth0|5f7c8e+test", 200),
        (["127.0.0.1"], None, 403),
        (["127.0.0.1"], "", 403),
        (["127.0.0.1"], "asha, ram", 403),
        (["10.0.0.1"], "asha", 403),
    ],
)
def test_a_proxy_says_who_it_is(tmp_path, proxies, named, status):
    settings = PageSettings(port=0, login=ProxyLogin("X-User", proxies))
    with served_page(tmp_path / "gallery", settings=settings) as url:
        headers = {"X-Forwarded-For": "127.0.0.1"} | ({} if named is None else {"X-User": named})
        answer = requests.get(url, headers=headers, timeout=30)
    assert answer.status_code == status
    assert "Sign out" not in answer.text


def test_a_proxy_that_is_no_address_is_said():
    with pytest.raises(SwarError, match=r"--auth-proxy: .*proxy\.example"):
        ProxyLogin("X-User", ["proxy.example"])


def test_a_file_that_cannot_be_read_meanwhile_is_one_line(url, passwords, capfd):
    user = User(url)
    sign_in(user)
    passwords.rename(f"{passwords}.away")
    for answer in (user.session.get(url, timeout=30), sign_in(user)):
        assert (answer.status_code, str(passwords) in answer.text) == (503, False)
    told = capfd.readouterr().err.splitlines()
    assert len(told) == 2 and all("swar app-password" in line for line in told)
    Path(f"{passwords}.away").rename(passwords)
    assert user.session.get(url, timeout=30).status_code == 200


@pytest.mark.parametrize("line", [b"asha:scrypt:x:y", b"asha:scrypt:\xff:", b"\xff\xfe"])
def test_a_line_of_another_hand_is_told(passwords, line):
    passwords.write_bytes(passwords.read_bytes() + line + b"\n")
    with pytest.raises(SwarError, match="did not write"):
        PasswordLogin(passwords)
