"""The endpoint under load, beside the bare tower on the same windows in the same process.

`python -m benchmarks.endpoint PUBLISHED [CLIENTS...]`: serves a run's `published` folder with the
stand-in and requests `embed` and `serving_default` over gRPC and REST with 1, 8 and 32 clients, or
as many as are named. Load and tower take turns, several times: a machine's speed changes from
minute to minute, a ratio less.
"""

import asyncio
import itertools
import json
import math
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import grpc
import numpy as np
import tensorflow as tf

from benchmarks.interfaces import Grpc, Interface, Rest
from benchmarks.served_model import batch, recordings
from components.model.files import MODEL_CARD, version_folder
from serving.server import Ports, ServerSettings, running

RATE = 16_000
CLIENTS = (1, 8, 32)
SECONDS = (3.0, 10.0)
REQUESTS_PER_CLIENT, MIN_REQUESTS = 8, 32
DISTINCT = 8
ROUNDS = 7
INPUTS = {"embed": ("audio",), "serving_default": ("audio_a", "audio_b")}


def bodies(interface: Interface, signature: str, wavs: list[bytes]) -> list[bytes]:
    """A request for each recording, with the next one where the signature takes two."""
    following = wavs[1:] + wavs[:1]
    return [
        interface.body(signature, dict(zip(INPUTS[signature], ([one], [other]), strict=False)))
        for one, other in zip(wavs, following, strict=True)
    ]


async def ask(interface: Interface, body: bytes) -> dict[str, list[Any]]:
    """Sends a request and decodes the answer."""
    answer = await interface.send(body)
    if answer.refused is not None:
        raise RuntimeError(f"a request was refused with {answer.refused}")
    return answer.outputs


@dataclass(frozen=True)
class Load:
    """The answers to a number of clients."""

    seconds: float
    latencies: list[float]
    asked: list[int]
    """Which requests were sent."""


def told(loads: list[Load]) -> str:
    """Latencies of all rounds, and the requests per second of the median one."""
    latencies = np.concatenate([one.latencies for one in loads])
    p50, p99 = 1000 * np.percentile(latencies, [50, 99])
    rate = np.median([len(one.latencies) / one.seconds for one in loads])
    return f"p50 {p50:.0f} ms, p99 {p99:.0f} ms, {rate:.2f} requests/s"


async def load(interface: Interface, asks: list[bytes], clients: int) -> Load:
    """Every client asks again as soon as it has its answer, always one of these requests."""
    latencies: list[float] = []
    asked: list[int] = []

    async def client(number: int) -> None:
        for request in range(max(REQUESTS_PER_CLIENT, MIN_REQUESTS // clients)):
            which = (number + request) % len(asks)
            started = time.perf_counter()
            await ask(interface, asks[which])
            latencies.append(time.perf_counter() - started)
            asked.append(which)

    started = time.perf_counter()
    await asyncio.gather(*map(client, range(clients)))
    return Load(time.perf_counter() - started, latencies, asked)


class Tower:
    """The newest version's network alone."""

    def __init__(self, model_dir: Path) -> None:
        newest = version_folder(model_dir)
        card = json.loads((newest / MODEL_CARD).read_text())
        self._window_seconds: float = card["spectrogram"]["window_seconds"]
        self._model = tf.saved_model.load(str(newest))  # its variables live as long as it does

    def windows(self, speech_seconds: float) -> int:
        """The least windows that cover so much speech."""
        return math.ceil(speech_seconds / self._window_seconds)

    def seconds(self, windows: int) -> float:
        """Seconds to embed so many windows."""
        shape = self._model.embed_windows.input_signature[0].shape[1:]
        noise = tf.cast(tf.random.uniform([windows, *shape], 0, 256, tf.int32), tf.uint8)
        started = time.perf_counter()
        self._model.embed_windows(noise)
        return time.perf_counter() - started


async def windows_of(interface: Interface, tower: Tower, wavs: list[bytes]) -> list[int]:
    """How many windows the tower gets of each recording."""
    answers = [await ask(interface, body) for body in bodies(interface, "embed", wavs)]
    return [tower.windows(float(answer["speech_seconds"][0])) for answer in answers]


async def rounds(
    interface: Interface, asks: list[bytes], clients: int, tower: Tower, windows: list[int] | None
) -> str:
    """The clients' answers, beside the tower's time on the same windows, if given."""
    loads, overheads = [], []
    for _ in range(ROUNDS):
        loads.append(done := await load(interface, asks, clients))
        if windows is not None:
            alone = tower.seconds(sum(windows[index] for index in done.asked))
            overheads.append(done.seconds / alone - 1)
    if not overheads:
        return told(loads)
    low, median, high = np.quantile(overheads, [0.0, 0.5, 1.0])
    return f"{told(loads)}, overhead {median:.0%} ({low:.0%} to {high:.0%})"


async def measure(
    ports: Ports, tower: Tower, speech: np.ndarray, clients_tried: Sequence[int]
) -> None:
    """Prints a line for every combination."""
    async with (
        grpc.aio.insecure_channel(f"127.0.0.1:{ports.grpc}") as channel,
        aiohttp.ClientSession() as session,
    ):
        interfaces: dict[str, Interface] = {
            "gRPC": Grpc(channel),
            "REST": Rest(session, ports.rest),
        }
        for seconds, signature in itertools.product(SECONDS, INPUTS):
            wavs = list(batch(speech, RATE, seconds, DISTINCT).numpy())
            windows = await windows_of(interfaces["gRPC"], tower, wavs)
            for (name, interface), clients in itertools.product(interfaces.items(), clients_tried):
                # Made once: a client's preparation is not the endpoint's work.
                asks = bodies(interface, signature, wavs)
                alone = windows if signature == "embed" else None
                found = await rounds(interface, asks, clients, tower, alone)
                print(f"{signature} {seconds:g} s {name} {clients} clients: {found}", flush=True)


async def run(model_dir: Path, clients_tried: Sequence[int]) -> None:
    """Serves the model and sends it requests."""
    speech = recordings(RATE)
    async with running(ServerSettings(model_dir, rest_port=0, grpc_port=0)) as ports:
        await measure(ports, Tower(model_dir), speech, clients_tried)


if __name__ == "__main__":
    asyncio.run(run(Path(sys.argv[1]), [int(count) for count in sys.argv[2:]] or CLIENTS))
