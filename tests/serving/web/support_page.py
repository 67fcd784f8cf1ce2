"""A page before an endpoint that has no tower, and a user of it."""

import itertools
import json
import re
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from html import unescape
from pathlib import Path
from typing import Any

import numpy as np
import requests
import soundfile

from serving.client import Client
from serving.gallery import Gallery
from serving.web import page
from serving.web.guard import PageSettings
from tests.serving.support_endpoint import RATE, FakeModel, grpc_endpoint, voice


def write_voice(path: Path, pitch_hz: float, seconds: float = 4.0, *, seed: int = 0) -> Path:
    """A recording of a voice."""
    soundfile.write(path, voice(pitch_hz, seconds, seed=seed), RATE)
    return path


def write_silence(path: Path) -> Path:
    """A recording of nobody."""
    soundfile.write(path, np.zeros(4 * RATE), RATE)
    return path


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return int(listening.getsockname()[1])


@contextmanager
def served_page(
    gallery: Path, *, endpoint: str | None = None, settings: PageSettings | None = None
) -> Iterator[str]:
    """The address of a page, with an endpoint of its own unless one is given."""
    with ExitStack() as stack:
        url = endpoint or stack.enter_context(grpc_endpoint(FakeModel()))
        client = stack.enter_context(Client(url, attempts=1))
        settings = settings or PageSettings(port=0)
        yield stack.enter_context(page.served(client, Gallery(gallery), settings))


class User:
    """Asks the page as its own browser code does, and reads what a user reads."""

    _hashes = itertools.count()

    def __init__(self, url: str, **headers: str) -> None:
        self.url = url
        self.session = requests.Session()
        self.session.headers.update(headers)

    def upload(self, file: Path) -> str:
        """The path under which the page has it."""
        with file.open("rb") as opened:
            answer = self.session.post(
                f"{self.url}gradio_api/upload", files={"files": (file.name, opened)}, timeout=30
            )
        answer.raise_for_status()
        (path,) = answer.json()
        return str(path)

    def ask(self, button: str, *given: Any) -> str:
        """The text of the answer; a path among what is given is uploaded."""
        data = [self.file(self.upload(each)) if isinstance(each, Path) else each for each in given]
        shown = " | ".join(self.call(button, data))
        return " ".join(unescape(re.sub(r"<[^>]+>", " ", shown)).split())

    def file(self, path: str) -> dict[str, Any]:
        """How the page names a file that it has uploaded."""
        return {"path": path, "orig_name": Path(path).name, "meta": {"_type": "gradio.FileData"}}

    def call(self, button: str, data: list[Any]) -> list[str]:
        """The outputs of a button's action."""
        body: Any = {
            "fn_index": self._functions()[button],
            "data": data,
            "session_hash": f"test{next(self._hashes)}",
        }
        answer = self.session.post(f"{self.url}gradio_api/run/predict", json=body, timeout=60)
        answer.raise_for_status()
        outputs: list[str] = answer.json()["data"]
        return outputs

    def _functions(self) -> dict[str, int]:
        found = re.search(r"window\.gradio_config = (\{.*?\});</script>", self.html())
        assert found
        return {each["api_name"]: each["id"] for each in json.loads(found[1])["dependencies"]}

    def html(self) -> str:
        """The page itself."""
        answer = self.session.get(self.url, timeout=30)
        answer.raise_for_status()
        return answer.text
