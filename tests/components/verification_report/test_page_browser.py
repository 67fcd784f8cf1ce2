"""The page on a phone and in print, in headless Chromium; skipped where there is none."""

import pytest

from tests.serving.web.support_browser import browser, chromium_and_driver

pytestmark = pytest.mark.slow

PHONE, DESKTOP = (360, 740), (1280, 900)
A4 = (680, 1001)  # within the margins, in pixels of a ninety-sixth of an inch
LABELS, CLOSED = "summary", "details:not([open]) > :not(summary)"


@pytest.fixture
def html(request):
    chromium_and_driver()  # before a report is made that nobody would look at
    return request.getfixturevalue(getattr(request, "param", "made")).html


def _open(window, folder, html):
    file = folder / "index.html"
    file.write_text(html, "utf-8")
    window.open(file.as_uri())


def _print(window):
    medium = {"cmd": "Emulation.setEmulatedMedia", "params": {"media": "print"}}
    window.command("POST", "/goog/cdp/execute", **medium)


def _shown(window, selector):
    """Of each such part of the page, whether it is shown and takes up room."""
    return window.run(
        f"return [...document.querySelectorAll('{selector}')].map("
        "part => part.checkVisibility() && part.getBoundingClientRect().height > 0)"
    )


def _assert_fits(window):
    """Nothing is wider than the window, but what scrolls by itself."""
    wide, seen = window.run(
        "const page = document.documentElement; return [page.scrollWidth, page.clientWidth]"
    )
    assert wide <= seen == window.width


@pytest.mark.parametrize("html", ["made", "troubled"], indirect=True)
def test_a_phone_shows_the_page_without_scrolling_sideways(html, tmp_path):
    with browser(*PHONE) as window:
        _open(window, tmp_path, html)
        _assert_fits(window)
        window.run("document.querySelectorAll('details').forEach(part => { part.open = true })")
        _assert_fits(window)


def test_what_is_closed_is_printed(html, tmp_path):
    with browser(*DESKTOP) as window:
        _open(window, tmp_path, html)
        assert not any(_shown(window, CLOSED))
        assert all(_shown(window, LABELS))
        _print(window)
        printed = _shown(window, CLOSED)
        assert len(printed) > 1
        assert all(printed)
        assert not any(_shown(window, LABELS))


def test_a_browser_that_cannot_print_what_is_closed_prints_its_label(html, tmp_path):
    assert "details::details-content" in html
    with browser(*DESKTOP) as window:
        _open(window, tmp_path, html.replace("::details-content", "::no-such-part"))
        _print(window)
        assert not any(_shown(window, CLOSED))
        assert all(_shown(window, LABELS))


def test_the_first_page_in_print_is_a_summary(html, tmp_path):
    with browser(*A4) as window:
        _open(window, tmp_path, html)
        _print(window)
        height, broken_after = window.run(
            "const part = document.querySelector('header');"
            "return [part.getBoundingClientRect().height, getComputedStyle(part).breakAfter]"
        )
        assert broken_after == "page"
        assert height <= A4[1]
