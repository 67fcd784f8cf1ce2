"""Calls of the page's buttons: which are answered, and that nothing of them stays behind."""

import gc
import json
import socket
import threading
import time
from urllib.parse import urlsplit

import pytest
from gradio.state_holder import SessionState

from serving.web.actions import Actions
from tests.serving.web.support_page import User, served_page, write_voice

OWN = "The model's own threshold"


@pytest.fixture(scope="module")
def user(tmp_path_factory):
    with served_page(tmp_path_factory.mktemp("page") / "gallery") as url:
        yield User(url)


def asked(user, call):
    return user.session.post(f"{user.url}gradio_api/run/predict", json=call, timeout=30)


@pytest.mark.parametrize(
    ("button", "data"),
    [
        (None, []),
        (999, []),
        ("verify", None),
        ("verify", []),
        ("verify", [OWN, None, None, None, None]),
        ("verify", ["No risk of these", None, None, None]),
        ("verify", [[OWN], None, None, None]),
        ("verify", [OWN, ["Sita"], None, None]),
        ("identify", [OWN, "voice.wav"]),
        ("enrol", [5, "", False, None, None]),
        ("enrol", ["Sita", "", "yes", None, None]),
        ("enrol", ["Sita", "x" * 201, False, None, None]),
        ("forget", [{"name": "Sita"}]),
        ("js_fn", []),
    ],
)
def test_a_call_that_fits_no_button_is_a_bad_request(user, button, data, capfd):
    number = user._functions()[button] if isinstance(button, str) else button
    answer = asked(user, {"fn_index": number, "data": data})
    assert answer.status_code == (403 if button == "identify" else 400)
    assert "\n" not in answer.json()["error"]
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("call", [[], "verify", 7, None, {}, {"data": []}])
def test_what_is_no_call_is_a_bad_request(user, call, capfd):
    assert asked(user, call).status_code == 400
    assert capfd.readouterr().err == ""


def test_a_field_that_nothing_was_typed_into_is_empty(user):
    data = [None, None, False, None, None]
    answer = asked(user, {"fn_index": user._functions()["enrol"], "data": data})
    assert answer.status_code == 200 and "A name is needed" in answer.json()["data"][0]


def test_nothing_is_kept_of_what_browsers_were_shown(user, tmp_path):
    """Gradio keeps it of ten thousand browsers: also the names of those who are forgotten."""
    user.ask("enrol", "Sita", "", False, write_voice(tmp_path / "sita.wav", 110, 6.0), None)
    user.call("names", [])
    user.ask("forget", "Sita")
    assert not [each for each in gc.get_objects() if type(each) is SessionState]


def test_who_has_gone_is_not_answered(monkeypatch, tmp_path):
    asked_for = []
    answered = threading.Event()

    def speakers(self):
        asked_for.append(1)
        answered.wait(30)
        return ""

    monkeypatch.setattr(Actions, "speakers", speakers)
    with served_page(tmp_path / "gallery") as url:
        user = User(url)
        body = json.dumps({"fn_index": user._functions()["speakers"], "data": []})
        host = urlsplit(url).netloc
        head = f"POST /gradio_api/run/predict HTTP/1.1\r\nHost: {host}\r\nContent-Length: "
        for _ in range(40):
            with socket.create_connection(("127.0.0.1", urlsplit(url).port)) as connection:
                connection.sendall(f"{head}{len(body)}\r\n\r\n{body}".encode())
                time.sleep(0.01)  # it is read, and waits for its turn
        answered.set()
        assert user.ask("speakers") == ""
    assert len(asked_for) < 20  # eight, the last one's, and who had not gone for long enough
