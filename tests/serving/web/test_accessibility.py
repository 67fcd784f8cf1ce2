"""axe-core finds nothing on the page; skipped where there is no axe-core.

`npm install axe-core`, and SWAR_AXE names the file: node_modules/axe-core/axe.min.js.
"""

import os
from pathlib import Path

import pytest

from tests.serving.web.support_browser import browser
from tests.serving.web.support_page import served_page, write_voice
from tests.serving.web.test_browser import ANSWER, button, give, tab

pytestmark = pytest.mark.slow

WIDTHS = [360, 768, 1280]
AXE = """
return axe.run(document, {resultTypes: ["violations"]}).then(found => found.violations.map(
  each => `${each.impact} ${each.id}: ${each.nodes.map(node => node.html).join(" ")}`));
"""


@pytest.fixture(scope="module")
def axe():
    if "SWAR_AXE" not in os.environ:
        pytest.skip("SWAR_AXE does not name axe-core's axe.min.js")
    return Path(os.environ["SWAR_AXE"]).read_text()


@pytest.fixture(scope="module")
def recording(tmp_path_factory):
    return write_voice(tmp_path_factory.mktemp("voices") / "sita.wav", 110, seconds=7.0)


@pytest.fixture(scope="module")
def page(axe, tmp_path_factory):
    with served_page(tmp_path_factory.mktemp("page") / "gallery") as url:
        yield url


def assert_nothing_found(window, axe):
    window.run(f"{axe}; return null")
    assert window.run(AXE) == []


@pytest.mark.parametrize("width", WIDTHS)
def test_the_empty_page_and_its_upload(page, axe, width):
    with browser(width, 900) as window:
        window.open(page)
        window.find(button("Compare"))
        assert_nothing_found(window, axe)
        window.click("(//button[@aria-label='Upload file'])[1]")
        assert_nothing_found(window, axe)


@pytest.mark.parametrize("width", WIDTHS)
def test_answers_and_every_tab(page, axe, recording, width):
    with browser(width, 900) as window:
        window.open(page)
        give(window, "Recording A", recording)
        give(window, "Recording B", recording)
        window.click(button("Compare"))
        window.find(f"{ANSWER}[contains(.,'The same speaker')]")
        assert_nothing_found(window, axe)
        window.click(tab("Enrol"))
        window.type("//label[contains(.,'Name')]//input", "Sita")
        give(window, "Recording 1", recording)
        window.click(button("Enrol"))
        window.find(f"{ANSWER}[contains(.,'Sita is enrolled')]")
        assert_nothing_found(window, axe)
        window.click(tab("Identify"))
        give(window, "Recording", recording)
        window.click(button("Identify"))
        window.find(f"{ANSWER}[contains(.,'Sita')]")
        assert_nothing_found(window, axe)
        window.click(tab("Speakers"))
        window.find(f"{ANSWER}[contains(.,'1 speaker')]")
        assert_nothing_found(window, axe)
