"""The page in headless Chromium, with files and with a microphone; skipped where there is none."""

import pytest

from tests.serving.web.support_browser import browser, chromium_and_driver
from tests.serving.web.support_page import served_page, write_voice

pytestmark = pytest.mark.slow

DESKTOP, PHONE = (1280, 900), (390, 844)
ANSWER = "//*[contains(@class,'swar-card')]"


@pytest.fixture(scope="module")
def voices(tmp_path_factory):
    chromium_and_driver()
    folder = tmp_path_factory.mktemp("voices")
    return {
        "sita 1": write_voice(folder / "sita 1.wav", 110, seconds=32.0),
        "sita 2": write_voice(folder / "sita 2.flac", 110, seed=1),
        "ram": write_voice(folder / "ram.mp3", 190, seconds=6.0),
    }


@pytest.fixture(scope="module")
def page(voices, tmp_path_factory):
    with served_page(tmp_path_factory.mktemp("page") / "gallery") as url:
        yield url


def slot(label):
    return f"//*[contains(@class,'swar-recording')][.//label[normalize-space(.)='{label}']]"


def spectrogram(label):
    """In the column of the recording, not the next one's."""
    return f"{slot(label)}/..//img[contains(@alt,'Spectrogram')]"


def button(text):
    return f"//button[normalize-space(.)='{text}'][not(@role='tab')]"


def tab(text):
    return f"//button[@role='tab'][normalize-space(.)='{text}']"


def give(window, label, file):
    """Uploads a recording and waits until it is seen and can be heard."""
    window.click(f"{slot(label)}//button[@aria-label='Upload file']")
    window.type(f"{slot(label)}//input[@type='file']", str(file))
    window.find(f"{slot(label)}//audio")
    window.find(spectrogram(label))


def assert_fits(window):
    """Nothing is wider than the window."""
    wide, seen = window.run(
        "const page = document.documentElement; return [page.scrollWidth, page.clientWidth]"
    )
    assert wide <= seen <= window.width


def test_verify_with_files(page, voices):
    with browser(*DESKTOP) as window:
        window.open(page)
        give(window, "Recording A", voices["sita 1"])
        give(window, "Recording B", voices["ram"])
        lengths = window.run(
            "return [...document.querySelectorAll('audio')].map(a => Math.round(a.duration))"
        )
        assert lengths == [32, 6]
        window.click(button("Compare"))
        window.find(f"{ANSWER}[contains(.,'Different speakers')]")
        middle_of = "const box = document.querySelector('{}').getBoundingClientRect();"
        middle_of += "return box.x + box.width / 2"
        marker = window.run(middle_of.format(".swar-track b"))
        assert marker < window.run(middle_of.format(".swar-track i"))
        assert_fits(window)
        window.click(f"{slot('Recording A')}//button[@aria-label='Clear']")
        window.gone(ANSWER)
        asked = [url for url in window.requested_urls() if url.startswith("http")]
    assert asked and all(url.startswith(page) for url in asked)


KEPT_BY_THE_BROWSER = """return (async () => [
    localStorage.length,
    sessionStorage.length,
    document.cookie,
    (await indexedDB.databases()).length,
    (await caches.keys()).length,
    (await navigator.serviceWorker.getRegistrations()).length,
    location.search + location.hash,
    [...document.querySelectorAll("input[data-testid=textbox]")].map(field => field.autocomplete),
])()"""


def test_enrol_identify_and_forget_on_a_phone(page, voices):
    with browser(*PHONE) as window:
        window.open(page)
        # As an earlier version of the page left it.
        window.run("localStorage.setItem('gradio:run-history:v2:658636886537921', '[\"Sita\"]')")
        window.open(page)
        window.click(tab("Enrol"))
        window.type("//label[contains(.,'Name')]//input", "Sita")
        give(window, "Recording 1", voices["sita 1"])
        give(window, "Recording 2", voices["sita 2"])
        window.click(button("Enrol"))
        window.find(f"{ANSWER}[contains(.,'Sita is enrolled')]")
        assert_fits(window)

        window.click(tab("Identify"))
        give(window, "Recording", voices["ram"])
        window.click(button("Identify"))
        window.find(f"{ANSWER}[contains(.,'Unknown speaker')]")
        assert_fits(window)

        window.click(tab("Verify"))
        give(window, "Recording A", voices["sita 2"])
        window.click("//input[@role='combobox']")
        window.click("//*[@role='option'][contains(.,'Sita')]")
        window.click(button("Compare"))
        window.find(f"{ANSWER}[contains(.,'The same speaker')]")

        window.click(tab("Speakers"))
        window.find(f"{ANSWER}[contains(.,'1 speaker')]")
        assert_fits(window)
        window.type("//label[contains(.,'Name of the speaker to forget')]//input", "Sita")
        window.click(button("Forget"))
        window.find(f"{ANSWER}[contains(.,'Sita is forgotten')]")
        assert window.run(KEPT_BY_THE_BROWSER) == [0, 0, "", 0, 0, 0, "", ["off"] * 3]


def test_an_error_is_a_sentence(page):
    with browser(*PHONE) as window:
        window.open(page)
        window.click(button("Compare"))
        window.find(f"{ANSWER}[contains(.,'Two recordings are needed')]")
        assert_fits(window)


def test_verify_with_the_microphone(page, voices):
    microphone = (
        "--use-fake-device-for-media-stream",
        "--use-fake-ui-for-media-stream",
        f"--use-file-for-fake-audio-capture={voices['sita 1']}",
    )
    with browser(*DESKTOP, microphone) as window:
        window.open(page)
        give(window, "Recording B", voices["sita 2"])
        window.click(f"{slot('Recording A')}//button[contains(.,'Record')]")
        window.find(f"{slot('Recording A')}//*[@role='status'][contains(.,'s of speech: enough')]")
        window.click(f"{slot('Recording A')}//button[contains(.,'Stop')]")
        window.find(spectrogram("Recording A"))
        window.click(button("Compare"))
        window.find(f"{ANSWER}[contains(.,'The same speaker')]")
        # However late the quality comes, it takes no answer away.
        window.find(f"{slot('Recording A')}/..//*[contains(.,'s of speech, SNR')]")
        assert "The same speaker" in window.text()
