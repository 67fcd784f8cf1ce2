"""The pictures of README.md: the page with an answer, and the report.

`python -m benchmarks.screenshots A B REPORT FOLDER` writes FOLDER/page.png and FOLDER/report.png.
A and B are two recordings to compare on the page, REPORT is a report's index.html. Each `--width`
gives pictures of both whole pages in a window of that width, such as FOLDER/page-360.png. It needs
Chromium, which is driven over its DevTools protocol.
"""

import argparse
import base64
import contextlib
import io
import itertools
import json
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from PIL import Image
from websockets.sync.client import connect

WIDTH, HEIGHT = 900, 1_150
PHONE_WIDTH: Final = 600
"""A narrower window is a phone's."""
PORT: Final = 17_860
BUTTON: Final = "Compare"
UPLOAD: Final = 'button[aria-label="Upload file"]'
QUALITY: Final = ".swar-quality"
ANSWER: Final = ".swar-card"
DEADLINE_SECONDS: Final = 180
COLOURS: Final = 96  # of the palette: a page has few
BROWSERS: Final = ("chromium", "chromium-browser", "google-chrome")


class Tab:
    """A tab of a browser."""

    def __init__(self, socket: Any) -> None:
        self._socket = socket
        self._numbers = itertools.count(1)

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """The result of a command. Raises RuntimeError where the browser refuses it."""
        number = next(self._numbers)
        self._socket.send(json.dumps({"id": number, "method": method, "params": parameters}))
        while True:
            answer = json.loads(self._socket.recv(timeout=DEADLINE_SECONDS))
            if answer.get("id") == number:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']['message']}")
                result: dict[str, Any] = answer["result"]
                return result

    def value(self, expression: str) -> Any:
        """The value of a JavaScript expression."""
        answer = self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        return answer["result"].get("value")

    def wait_for(self, expression: str) -> None:
        """Returns when the expression is true. Raises TimeoutError."""
        end = time.monotonic() + DEADLINE_SECONDS
        while not self.value(expression):
            if time.monotonic() > end:
                raise TimeoutError(expression)
            time.sleep(0.3)

    def open(self, url: str) -> None:
        """Loads a page in a window of `WIDTH` x `HEIGHT`."""
        self.resize(WIDTH)
        self.call("Page.navigate", url=url)
        self.wait_for("document.readyState == 'complete'")

    def resize(self, width: int) -> None:
        """Gives the window another width."""
        size = {"width": width, "height": HEIGHT, "deviceScaleFactor": 1}
        is_phone = width < PHONE_WIDTH
        self.call("Emulation.setDeviceMetricsOverride", **size, mobile=is_phone)
        time.sleep(1)

    def choose_files(self, files: list[Path]) -> None:
        """Puts each file into one of the first file inputs."""
        root = self.call("DOM.getDocument")["root"]["nodeId"]
        found = self.call("DOM.querySelectorAll", nodeId=root, selector="input[type=file]")
        for node, file in zip(found["nodeIds"], files, strict=False):
            self.call("DOM.setFileInputFiles", nodeId=node, files=[str(file.absolute())])

    def save_each(self, path: Path, widths: Sequence[int]) -> None:
        """Writes what the window shows, and the whole page at each width, if any."""
        if not widths:
            self.save(path)
        for width in widths:
            self.resize(width)
            self.save(path.with_stem(f"{path.stem}-{width}"), is_whole=True)
            beyond = self.value("document.documentElement.scrollWidth - window.innerWidth")
            if beyond > 0:
                print(f"{path.stem}: {beyond} px lie beyond a window of {width}")

    def save(self, path: Path, *, is_whole: bool = False) -> None:
        """Writes what the window shows, or the whole page, as a PNG with a palette."""
        answer = self.call(
            "Page.captureScreenshot",
            format="png",
            captureBeyondViewport=is_whole,
            **self._clip(is_whole),
        )
        picture = base64.b64decode(answer["data"])
        image = Image.open(io.BytesIO(picture)).convert("RGB").quantize(COLOURS)
        image.save(path, optimize=True)
        print(f"{path}: {path.stat().st_size / 1_000:.0f} kB")

    def _clip(self, is_whole: bool) -> dict[str, Any]:
        if not is_whole:
            return {}
        whole = self.call("Page.getLayoutMetrics")["cssContentSize"]
        return {"clip": {**whole, "scale": 1}}


@contextlib.contextmanager
def started(command: list[str]) -> Iterator[None]:
    """A process that is ended after the block."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield
    finally:
        process.terminate()
        process.wait(timeout=60)


@contextlib.contextmanager
def browser_tab(folder: Path) -> Iterator[Tab]:
    """A tab of a headless Chromium whose profile is in the folder."""
    program = next(filter(None, map(shutil.which, BROWSERS)), None)
    if program is None:
        sys.exit(f"no browser: install one of {', '.join(BROWSERS)}")
    options = ["--headless=new", "--no-sandbox", "--hide-scrollbars", "--remote-debugging-port=0"]
    with started([program, *options, f"--user-data-dir={folder}", "about:blank"]):
        port_file = folder / "DevToolsActivePort"
        wait_until(lambda: port_file.exists() and len(port_file.read_text().split()) == 2)
        port = port_file.read_text().split()[0]
        new = urllib.request.Request(f"http://127.0.0.1:{port}/json/new", method="PUT")
        with urllib.request.urlopen(new, timeout=DEADLINE_SECONDS) as answer:
            address = json.load(answer)["webSocketDebuggerUrl"]
        with connect(address, max_size=None) as socket:
            yield Tab(socket)


def wait_until(is_true: Callable[[], bool]) -> None:
    """Returns when the function returns true, or raises TimeoutError."""
    end = time.monotonic() + DEADLINE_SECONDS
    while not is_true():
        if time.monotonic() > end:
            raise TimeoutError
        time.sleep(0.2)


def is_up(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def page(
    tab: Tab, gallery: Path, recordings: list[Path], picture: Path, widths: Sequence[int]
) -> None:
    """Compares two recordings on `swar app` and takes a picture of the answer."""
    swar = [sys.executable, "-c", "from pipeline.cli import main; main()"]
    with started([*swar, "app", "--port", str(PORT), "--gallery", str(gallery)]):
        url = f"http://127.0.0.1:{PORT}/"
        wait_until(lambda: is_up(url))
        tab.open(url)
        button = f"[...document.querySelectorAll('button')].find(b => b.innerText == '{BUTTON}')"
        tab.wait_for(f"{button} && document.querySelectorAll('{UPLOAD}').length > 1")
        tab.value(f"document.querySelectorAll('{UPLOAD}').forEach(b => b.click())")
        tab.wait_for("document.querySelectorAll('input[type=file]').length > 1")
        tab.choose_files(recordings)
        tab.wait_for(f"document.querySelectorAll('{QUALITY}').length == {len(recordings)}")
        tab.value(f"{button}.click()")
        tab.wait_for(f"document.querySelector('{ANSWER}') !== null")
        time.sleep(1)  # it fades in
        tab.save_each(picture, widths)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("a", "b", "report", "folder"):
        parser.add_argument(name, type=Path)
    parser.add_argument("--width", type=int, action="append", default=[], metavar="PIXELS")
    given = parser.parse_args()
    given.folder.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder,
        browser_tab(Path(folder, "browser")) as tab,
    ):
        tab.open(given.report.absolute().as_uri())
        time.sleep(2)
        tab.save_each(given.folder / "report.png", given.width)
        gallery = Path(folder, "gallery")
        page(tab, gallery, [given.a, given.b], given.folder / "page.png", given.width)


if __name__ == "__main__":
    main()
