"""Headless Chromium, driven through W3C WebDriver (https://www.w3.org/TR/webdriver2/)."""

import base64
import contextlib
import json
import re
import shutil
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import requests

_ELEMENT = "element-6066-11e4-a52e-4f735466cecf"  # the standard's key of an element's id
_WAIT_SECONDS = 30.0
_SMALLEST_WINDOW = 500  # Chromium makes none narrower; a phone is emulated
_CHROMIUM = ("chromium", "chromium-browser", "google-chrome")


def chromium_and_driver() -> tuple[str, str]:
    """Paths of both; skips the test where one is missing."""
    chromium = next(filter(None, map(shutil.which, _CHROMIUM)), None)
    driver = shutil.which("chromedriver")
    if chromium is None or driver is None:
        pytest.skip("needs Chromium and its driver (Debian: chromium, chromium-driver)")
    return chromium, driver


class Browser:
    """One window."""

    def __init__(self, session_url: str, width: int) -> None:
        self._url = session_url
        self.width = width

    def command(self, method: str, path: str, **body: Any) -> Any:
        """A WebDriver command's value."""
        answer = requests.request(
            method, self._url + path, json=body if method == "POST" else None, timeout=60
        ).json()["value"]
        if isinstance(answer, dict) and "error" in answer:
            raise AssertionError(f"{answer['error']}: {answer['message'].partition(chr(10))[0]}")
        return answer

    def open(self, url: str) -> None:
        """Loads a page."""
        self.command("POST", "/url", url=url)

    def find(self, xpath: str, *, visible: bool = True) -> str:
        """The element's id, as soon as it is there."""
        until = time.monotonic() + _WAIT_SECONDS
        while time.monotonic() < until:
            for found in self.command("POST", "/elements", using="xpath", value=xpath):
                element: str = found[_ELEMENT]
                with contextlib.suppress(AssertionError):  # gone meanwhile: look again
                    if not visible or self.command("GET", f"/element/{element}/displayed"):
                        return element
            time.sleep(0.1)
        raise AssertionError(f"{xpath} did not appear; the page says: {self.text()}")

    def gone(self, xpath: str) -> None:
        """Waits until there is no such element."""
        until = time.monotonic() + _WAIT_SECONDS
        while self.command("POST", "/elements", using="xpath", value=xpath):
            assert time.monotonic() < until, f"{xpath} is still there"
            time.sleep(0.1)

    def click(self, xpath: str) -> None:
        """Clicks on an element, as soon as nothing lies over it."""
        until = time.monotonic() + _WAIT_SECONDS
        while True:
            try:
                self.command("POST", f"/element/{self.find(xpath)}/click")
                return
            except AssertionError as error:
                if "click intercepted" not in str(error) or time.monotonic() > until:
                    raise
            time.sleep(0.1)

    def type(self, xpath: str, text: str) -> None:
        """Types into a field, or gives a file field, which pages hide, the path of a file."""
        element = self.find(xpath, visible="@type='file'" not in xpath)
        self.command("POST", f"/element/{element}/value", text=text)

    def run(self, script: str) -> Any:
        """What JavaScript returns."""
        return self.command("POST", "/execute/sync", script=script, args=[])

    def text(self) -> str:
        """All visible text."""
        return str(self.run("return document.body.innerText"))

    def screenshot(self, file: Path) -> None:
        """Saves the whole page as PNG."""
        height = self.run("return document.documentElement.scrollHeight")
        self.command(
            "POST",
            "/goog/cdp/execute",
            cmd="Emulation.setDeviceMetricsOverride",
            params={
                "width": self.width,
                "height": height,
                "deviceScaleFactor": 1,
                "mobile": self.width < _SMALLEST_WINDOW,
            },
        )
        file.write_bytes(base64.b64decode(self.command("GET", "/screenshot")))

    def requested_urls(self) -> list[str]:
        """All that the page asked the network for since the last call."""
        entries = self.command("POST", "/se/log", type="performance")
        messages = [json.loads(entry["message"])["message"] for entry in entries]
        return [
            message["params"]["request"]["url"]
            for message in messages
            if message["method"] == "Network.requestWillBeSent"
        ]


@contextlib.contextmanager
def browser(width: int, height: int, arguments: Sequence[str] = ()) -> Iterator[Browser]:
    """A window of that many pixels, closed at the end."""
    chromium, driver = chromium_and_driver()
    with subprocess.Popen([driver, "--port=0"], stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            started = (re.search(r"on port (\d+)\.", line) for line in process.stdout)
            url = f"http://127.0.0.1:{next(filter(None, started)).group(1)}/session"
            options: dict[str, Any] = {
                "binary": chromium,
                "args": [
                    "--headless=new",
                    "--no-sandbox",
                    "--disable-dev-shm-usage",
                    "--no-proxy-server",
                    f"--window-size={width},{height}",
                    *arguments,
                ],
            }
            if width < _SMALLEST_WINDOW:
                metrics = {"width": width, "height": height, "pixelRatio": 1.0, "touch": True}
                options["mobileEmulation"] = {"deviceMetrics": metrics}
            wanted = {
                "goog:chromeOptions": options,
                "goog:loggingPrefs": {"performance": "ALL"},
            }
            answer = requests.post(
                url, json={"capabilities": {"alwaysMatch": wanted}}, timeout=60
            ).json()["value"]
            window = Browser(f"{url}/{answer['sessionId']}", width)
            try:
                yield window
            finally:
                window.command("DELETE", "")
        finally:
            process.terminate()
