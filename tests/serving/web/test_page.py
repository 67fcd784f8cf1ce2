"""The page, asked as its own browser code asks it."""

import os
import re
import shutil
import socket
import subprocess
import sys

import pytest
import requests
from gradio import networking

from components.errors import SwarError
from serving.client import Client
from serving.gallery import Gallery
from serving.watching import Row
from serving.web.actions import Actions
from serving.web.guard import PageSettings
from serving.web.page import launch
from tests.serving.support_endpoint import FakeModel, grpc_endpoint
from tests.serving.web.support_page import (
    User,
    free_port,
    served_page,
    write_silence,
    write_voice,
)


@pytest.fixture(scope="module")
def voices(tmp_path_factory):
    folder = tmp_path_factory.mktemp("voices")
    return {
        "sita 1": write_voice(folder / "sita 1.wav", 110),
        "sita 2": write_voice(folder / "sita 2.flac", 110, seconds=3.0, seed=1),
        "ram": write_voice(folder / "ram.wav", 190, seconds=6.0),
        "hari": write_voice(folder / "hari.wav", 290),
        "silence": write_silence(folder / "silence.wav"),
        "short": write_voice(folder / "short.wav", 110, seconds=0.5),
    }


@pytest.fixture(scope="module")
def gallery(tmp_path_factory):
    return tmp_path_factory.mktemp("page") / "gallery"


@pytest.fixture(scope="module")
def shared_page(gallery):
    with served_page(gallery) as url:
        yield User(url)


@pytest.fixture
def page(shared_page, gallery):
    """Starting a page takes a second: all tests have one, each with an empty gallery."""
    shutil.rmtree(gallery, ignore_errors=True)
    return shared_page


OWN, FIVE, TENTH = "The model's own threshold", "At most 5 % false accepts", "At most 0.1 %"


def test_a_risk_has_its_threshold_and_its_expected_rates(page, voices):
    own = page.ask("verify", OWN, None, voices["sita 1"], voices["sita 2"])
    assert "Up to distance 0.500: false accepts 2 % (1 to 4 %)" in own
    five = page.ask("verify", FIVE, None, voices["sita 1"], voices["sita 2"])
    assert five.startswith("✓ The same speaker") and "Up to distance 0.600" in five
    refused = page.ask("verify", TENTH, None, voices["sita 1"], voices["sita 2"])
    assert refused.startswith("That did not work The model cannot hold 0.1 % false accepts")
    page.ask("enrol", "Sita", "", False, voices["sita 1"], voices["sita 2"])
    page.ask("enrol", "Ram", "", False, voices["ram"], None)
    unsure = page.ask("identify", FIVE, voices["sita 1"])
    assert unsure.startswith("? Inconclusive") and "ask for more speech" in unsure


def test_verify(page, voices):
    same = page.ask("verify", OWN, None, voices["sita 1"], voices["sita 2"])
    assert same.startswith("✓ The same speaker") and "99.3 %" in same
    different = page.ask("verify", OWN, None, voices["sita 1"], voices["ram"])
    assert different.startswith("✗ Different speakers")


def test_verify_against_an_enrolled_speaker(page, voices):
    page.ask("enrol", "Sita", "", False, voices["sita 1"], voices["sita 2"])
    assert page.call("names", [])[0]["choices"] == [["Sita", "Sita"]]
    same = page.ask("verify", OWN, "Sita", voices["sita 2"], None)
    assert same.startswith("✓ The same speaker")
    assert page.ask("verify", OWN, "Sita", voices["ram"], None).startswith("✗ Different speakers")
    unknown = page.ask("verify", OWN, "Hari", voices["ram"], None)
    assert unknown.startswith(ERROR) and "Hari" in unknown
    both = page.ask("verify", OWN, "Sita", voices["sita 1"], voices["ram"])
    assert both.startswith(ERROR + "Recording B and an enrolled speaker are given")


def test_enrol_identify_forget(page, voices):
    assert page.ask("identify", OWN, voices["ram"]) == "Nobody is enrolled yet"
    enrolled = page.ask("enrol", "Sita", "", False, voices["sita 1"], voices["sita 2"])
    assert enrolled.startswith("✓ Sita is enrolled 7.0 s of usable speech in all.")
    assert page.ask("enrol", "राम", "form 12", True, voices["ram"], None).startswith(
        "✓ राम is enrolled"
    )

    assert page.ask("identify", OWN, voices["sita 1"]).startswith("✓ Sita")
    assert page.ask("identify", OWN, voices["ram"]).startswith("✓ राम")
    unknown = page.ask("identify", OWN, voices["hari"])
    assert unknown.startswith("? Unknown speaker") and "Sita" in unknown

    listed = page.ask("speakers")
    assert listed.startswith("2 speakers")
    assert "Sita 2 7 s" in listed and re.search(r"राम 1 6 s \d+ \w+ \d+ kept", listed)

    forgotten = page.ask("forget", "Sita")
    assert forgotten.startswith("Sita is forgotten 2 recordings") and "1 speaker" in forgotten
    assert page.ask("identify", OWN, voices["sita 1"]).startswith("? Unknown speaker")


def test_two_people_under_one_name_are_refused(page, voices):
    shown = page.ask("enrol", "Sita", "", False, voices["sita 2"], voices["ram"])
    assert shown.startswith(ERROR + "'Sita' is not enrolled: ")
    assert "the model hears another speaker" in shown and "ram.wav" in shown
    assert page.ask("speakers") == "Nobody is enrolled yet"


ERROR = "That did not work "


@pytest.mark.parametrize(
    ("second", "told"),
    [
        (None, "Two recordings are needed: record or upload both"),
        (
            "silence",
            "Recording B has too little speech in it, or only noise, tones or music: record a few",
        ),
        ("short", "Recording B is too short: record a few seconds of speech"),
    ],
)
def test_what_is_wrong_with_a_recording_is_said(page, voices, second, told):
    shown = page.ask("verify", OWN, None, voices["sita 1"], voices.get(second))
    assert shown.startswith(ERROR + told)
    assert "/" not in shown and "Traceback" not in shown


def test_how_a_recording_was_recorded_is_said(page, voices):
    quality = page.ask("quality", voices["ram"])
    assert re.fullmatch(r"6\.0 s of speech, SNR \d+ dB, up to 8\.0 kHz\.", quality)
    assert page.ask("quality", voices["sita 1"]).endswith("For an enrolment give 5 s or more.")
    refused = page.ask("quality", voices["silence"])
    assert ERROR + "The recording has too little speech" in refused


def test_a_recording_that_is_looked_at_and_then_asked_about_is_watched_once(voices, tmp_path):
    rows: list[Row] = []
    with grpc_endpoint(FakeModel()) as url, Client(url, watchers=[rows.append]) as client:
        actions = Actions(client, Gallery(tmp_path / "gallery"))
        given = str(voices["ram"]), str(voices["hari"])
        assert all("speech" in actions.quality(recording) for recording in given)
        assert rows == []
        actions.verify(OWN, None, *given)
    assert [row["kind"] for row in rows] == ["recording", "recording", "verify"]


def test_a_file_that_is_no_audio_is_said(page, voices, tmp_path):
    letter = tmp_path / "letter.wav"
    letter.write_text("Dear reader")
    shown = page.ask("verify", OWN, None, letter, voices["ram"])
    assert shown.startswith(ERROR + "Recording A: ") and "give another recording" in shown


@pytest.mark.parametrize(
    ("name", "recording", "told"),
    [
        ("", "ram", "A name is needed"),
        ("Ram", None, "A recording is needed"),
        ("Sita", "sita 1", "4.0 s of speech are too little to enrol 'Sita'"),
        ("Ra\tm", "ram", "The name 'Ra\\tm' has the invisible character"),
    ],
)
def test_an_enrolment_that_cannot_be_is_refused(page, voices, name, recording, told):
    shown = page.ask("enrol", name, "", False, voices.get(recording), None)
    assert shown.startswith(ERROR + told)
    assert page.ask("speakers") == "Nobody is enrolled yet"


def test_forgetting_nobody_is_said(page, voices):
    page.ask("enrol", "Ram", "", False, voices["ram"], None)
    shown = page.ask("forget", "Hari")
    assert shown.startswith(ERROR + "Nobody named 'Hari'") and "1 speaker" in shown


def test_an_endpoint_that_is_down_is_said(tmp_path, voices):
    url = f"grpc://127.0.0.1:{free_port()}"
    with served_page(tmp_path / "gallery", endpoint=url) as address:
        shown = User(address).ask("verify", OWN, None, voices["sita 1"], voices["ram"])
    assert shown.startswith(ERROR) and url in shown and "swar serve" in shown


def test_a_machine_too_busy_to_answer_itself_has_a_page(tmp_path, monkeypatch):
    monkeypatch.setattr(networking, "url_ok", lambda url: False)
    with served_page(tmp_path / "gallery") as address:
        assert User(address).ask("speakers") == "Nobody is enrolled yet"


def test_a_port_that_is_taken_is_said(tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(SwarError, match=f"cannot listen on 127.0.0.1:{port}.*--port"):
            launch(Client(), Gallery(tmp_path), PageSettings(port=port))


def test_page_asks_no_font_server(page):
    sheet = requests.get(f"{page.url}theme.css", timeout=10).text
    assert "system-ui" in sheet
    assert not re.search(r"@import|@font-face|url\(['\"]?https?:", sheet)


def test_page_asks_for_the_microphone_as_it_is(page):
    """Before any script of Gradio's: the browser's own cleaning of the sound is turned off."""
    html = requests.get(page.url, timeout=30).text
    wanted = "{echoCancellation: false, noiseSuppression: false, autoGainControl: false}"
    assert wanted in html
    assert html.index(wanted) < html.index("</head>")


LAUNCH = """
from serving import client, gallery
from serving.web import guard, page
page.launch(client.Client(), gallery.Gallery("gallery"), guard.PageSettings(port=0))
"""


@pytest.mark.slow
def test_recordings_are_deleted_when_the_page_is_stopped(tmp_path, voices):
    command = [sys.executable, "-c", LAUNCH]
    # The page keeps uploads in a folder of its own there.
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        try:
            assert process.stdout is not None
            (url,) = re.findall(r"http://\S+", process.stdout.readline())
            User(url).ask("verify", OWN, None, voices["ram"], None)
            assert list(tmp_path.rglob("ram.wav"))
        finally:
            process.terminate()
    assert process.returncode == 0
    assert not list(tmp_path.rglob("ram.wav"))
