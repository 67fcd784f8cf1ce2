"""A page before an endpoint that has no tower."""

import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np
import soundfile

from serving import app
from serving.client import Client
from serving.gallery import Gallery
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
def served_page(gallery: Path, *, endpoint: str | None = None) -> Iterator[str]:
    """The address of a page, with an endpoint of its own unless one is given."""
    with ExitStack() as stack:
        url = endpoint or stack.enter_context(grpc_endpoint(FakeModel()))
        client = stack.enter_context(Client(url, attempts=1))
        page = app.build(client, Gallery(gallery))
        app.start(page, host="127.0.0.1", port=free_port())
        try:
            yield str(page.local_url)
        finally:
            page.close(verbose=False)
