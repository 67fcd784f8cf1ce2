"""Minutes of mixed load on the stand-in: good, bad, slow and hostile requests, new versions.

`python -m benchmarks.mixed_load PUBLISHED [MINUTES]`: serves a copy of the newest version of a
folder, or of `base`, in a process of its own, and publishes it eight times more, with other
digests. While one version replaces another, both are in memory; later versions fill the holes that
this leaves, so memory must be level in the second half. Then come a flood of more of everything
than is allowed, and the server's end while good requests are answered and hostile connections stand
open. Every answer is compared with the right one. Exit status 1 if one was wrong or lost, memory
grew or exceeded its bound, or the end took longer than the grace period.
"""

import asyncio
import contextlib
import hashlib
import json
import re
import shutil
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
from scipy import stats

from benchmarks.interfaces import HOST, MODEL, Lines, lines
from benchmarks.mixed_hostile import flood, halves, silent_connections
from benchmarks.mixed_kinds import Kind, all_kinds
from benchmarks.mixed_requests import CutOff, Expected, Request, Versions, Wrong, make_recordings
from benchmarks.process_memory import resident_bytes
from benchmarks.served_model import recordings
from components.model.base import base_model_folder
from components.model.digest import write_digests
from components.model.files import BASE, MODEL_CARD, version_folder
from serving.server import Ports, ServerSettings
from serving.standin.limits import Limits

DEADLINE_SECONDS: Final = 300.0
SAMPLE_SECONDS, FLOOD_SAMPLE_SECONDS = 2.0, 0.05
MEBIBYTE: Final = 2**20
QUARTERS: Final = 4
NEW_VERSIONS: Final = 8
"""New versions, published one after another at equal intervals."""
FLAT: Final = 0.05
"""Largest certain growth of memory in the second half, as a share of the median."""
TOLD_CHARACTERS: Final = 500
SENT_SECONDS: Final = 0.5
"""Time until requests have reached the endpoint."""
JSON_BYTES: Final = 200 * MEBIBYTE
"""Memory of one body that is being parsed, as docs/serving.md states it."""
MESSAGES_READ_AT_ONCE: Final = 8


@dataclass
class Tally:
    """The results of the requests of one kind."""

    latencies: list[float] = field(default_factory=list)
    """Seconds of each request that was answered correctly."""
    cut_off: int = 0
    wrong: list[str] = field(default_factory=list)
    """Answers that were wrong and requests that were lost, in words."""


@contextlib.asynccontextmanager
async def asking(
    ports: Ports, published: Path, speech: np.ndarray
) -> AsyncIterator[tuple[Lines, Expected]]:
    """Connects to a running endpoint and learns the right answers.

    Args:
        ports: of the endpoint.
        published: the folder that it serves.
        speech: float [samples] at the model's rate, half a minute or more.
    """
    card = _card(published, newest := int(version_folder(published).name))
    expected = Expected(make_recordings(speech, card), Versions({card["model_digest"]: newest}))
    async with lines(ports) as connected:
        await expected.learn(connected.grpc)
        yield connected, expected


async def load(
    connected: Lines, expected: Expected, published: Path, seconds: float, limits: Limits
) -> dict[str, Tally]:
    """Sends the whole mix, and publishes new versions meanwhile.

    Args:
        connected: connections to a running endpoint.
        expected: its right answers.
        published: the folder that it serves.
        seconds: duration, without the waits until a published version is available.
        limits: the endpoint's.
    """
    versions, first = expected.versions, expected.versions.newest
    tallies: dict[str, Tally] = {}
    over = asyncio.Event()
    async with asyncio.TaskGroup() as clients:
        for kind in all_kinds(connected, expected, limits):
            tally = tallies[kind.name] = Tally()
            for number in range(kind.clients):
                clients.create_task(_client(kind, number, tally, over))
        for _ in range(NEW_VERSIONS):
            await asyncio.sleep(seconds / (NEW_VERSIONS + 1))
            versions.newer.clear()
            await asyncio.to_thread(publish_again, published, versions)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(DEADLINE_SECONDS):
                    await versions.newer.wait()
        await asyncio.sleep(seconds / (NEW_VERSIONS + 1))
        over.set()
    tallies["new version"] = await _after(connected, expected, first + NEW_VERSIONS - 1)
    return tallies


async def flooded(connected: Lines, expected: Expected, limits: Limits) -> Tally:
    """A flood, and good requests after it."""
    tally = Tally()
    await _try(partial(flood, connected, limits), tally)
    for interface in (connected.grpc, connected.rest):
        await _try(partial(expected.embed, interface, *expected.good), tally)
    return tally


async def ended(
    connected: Lines, expected: Expected, limits: Limits, stop: Callable[[], Awaitable[None]]
) -> Tally:
    """Ends the server while good requests are answered and endless ones stand open."""
    tally = Tally()
    hostile = [*silent_connections(connected, limits), *halves(connected, limits)]
    standing = [asyncio.create_task(_try(request, Tally())) for request in hostile]
    good = [
        asyncio.create_task(_try(partial(expected.embed, interface, *expected.good), tally))
        for interface in (connected.grpc, connected.rest)
    ]
    await asyncio.sleep(SENT_SECONDS)
    await stop()
    await asyncio.gather(*good)
    for task in standing:
        task.cancel()
    await asyncio.gather(*standing, return_exceptions=True)
    return tally


async def _client(kind: Kind, number: int, tally: Tally, over: asyncio.Event) -> None:
    """Sends one request after another, starting where no other client of its kind does."""
    turn = number * len(kind.requests) // kind.clients
    while not over.is_set():
        await _try(kind.requests[turn % len(kind.requests)], tally)
        turn += 1
        await asyncio.sleep(kind.pause_seconds)


async def _try(request: Request, tally: Tally) -> None:
    started = time.monotonic()
    try:
        async with asyncio.timeout(DEADLINE_SECONDS):
            await request()
        tally.latencies.append(time.monotonic() - started)
    except* CutOff:
        tally.cut_off += 1
    except* (Wrong, ConnectionError, TimeoutError) as errors:
        tally.wrong.extend(f"{type(error).__name__} {error}" for error in errors.exceptions)


def publish_again(published: Path, versions: Versions) -> None:
    """Adds the newest version under the next number and another `model_digest`."""
    newest = int(version_folder(published).name)
    digest = _card(published, newest)["model_digest"]
    other = hashlib.sha256(digest.encode()).hexdigest()[: len(digest)]
    staging = published / f".tmp-{newest + 1}"
    shutil.copytree(published / str(newest), staging)
    for file in (staging / MODEL_CARD, staging / "saved_model.pb"):
        # Of the same length, so that the graph stays what it is.
        file.write_bytes(file.read_bytes().replace(digest.encode(), other.encode()))
    write_digests(staging)
    versions.of_digest[other] = newest + 1
    staging.rename(published / str(newest + 1))


async def _after(connected: Lines, expected: Expected, old: int) -> Tally:
    """Checks that the new version alone is served, with the same embeddings."""
    tally = Tally()
    if not expected.versions.newer.is_set():
        tally.wrong.append("the new version never became available")
    name = expected.good[0]
    for interface in (connected.grpc, connected.rest):
        await _try(partial(expected.embed, interface, name), tally)
    for retired, code in connected.both(replace(MODEL, version=old), "NOT_FOUND", "404"):
        body = retired.body("embed", expected.audio(name))
        await _try(partial(expected.refuse, retired, body, code), tally)
    return tally


def _card(published: Path, version: int) -> dict[str, Any]:
    card: dict[str, Any] = json.loads((published / str(version) / MODEL_CARD).read_text())
    return card


class Memory:
    """Resident memory and open files of a process, sampled every few seconds."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._minutes: list[float] = []
        self._mebibytes: list[float] = []
        self._open_files: list[int] = []

    async def watch(self, every_seconds: float) -> None:
        """Samples until it is cancelled."""
        while True:
            self.look()
            await asyncio.sleep(every_seconds)

    def look(self) -> None:
        """Takes one sample."""
        self._minutes.append(time.monotonic() / 60)
        self._mebibytes.append(resident_bytes(self._pid) / MEBIBYTE)
        self._open_files.append(sum(1 for _ in Path(f"/proc/{self._pid}/fd").iterdir()))

    def is_flat(self) -> bool:
        """Prints the samples of each quarter of the time; whether the last two were level."""
        print(
            f"memory at the start: {self._mebibytes[0]:.0f} MiB, {self._open_files[0]} open files"
        )
        for part in np.array_split(np.arange(len(self._minutes)), QUARTERS):
            memory, files = np.take(self._mebibytes, part), np.take(self._open_files, part)
            print(
                f"to minute {self._minutes[part[-1]] - self._minutes[0]:.1f}: "
                f"at the end {memory[-1]:.0f} MiB, median {np.median(memory):.0f}, "
                f"highest {memory.max():.0f}; {files[-1]} open files, most {files.max()}"
            )
        warm = len(self._minutes) // 2
        minutes, mebibytes = self._minutes[warm:], self._mebibytes[warm:]
        slope, _, low, high = stats.theilslopes(mebibytes, minutes)
        interval = f"95 % from {low:+.1f} to {high:+.1f}"
        print(f"in the second half {slope:+.1f} MiB a minute, {interval}")
        grown = low * (minutes[-1] - minutes[0])
        return bool(grown <= FLAT * np.median(mebibytes))

    def is_below(self, most: float) -> bool:
        """Prints a flood's memory; whether it was at most `most` MiB more."""
        print(
            f"flood: {self._mebibytes[0]:.0f} MiB before, highest {max(self._mebibytes):.0f} "
            f"(at most {most:.0f} more), {self._mebibytes[-1]:.0f} behind it; most open files "
            f"{max(self._open_files)}"
        )
        return max(self._mebibytes) - self._mebibytes[0] <= most


@contextlib.asynccontextmanager
async def watched(pid: int, every_seconds: float = SAMPLE_SECONDS) -> AsyncIterator[Memory]:
    """A process's memory while the context lasts."""
    memory = Memory(pid)
    watching = asyncio.create_task(memory.watch(every_seconds))
    try:
        yield memory
    finally:
        watching.cancel()
        memory.look()


class StandIn:
    """`swar serve` in a process of its own."""

    def __init__(self, process: asyncio.subprocess.Process, ports: Ports, log: Path) -> None:
        self.ports = ports
        self.pid = process.pid
        self.seconds_to_end = float("nan")
        self._process = process
        self._log = log

    async def stop(self) -> None:
        """Ends the process with SIGTERM. Raises RuntimeError if it failed."""
        started = time.monotonic()
        if self._process.returncode is None:
            self._process.terminate()
        if await self._process.wait():
            code = self._process.returncode
            raise RuntimeError(f"the stand-in ended with {code}: {self._log.read_text()}")
        self.seconds_to_end = time.monotonic() - started


@contextlib.asynccontextmanager
async def stand_in(published: Path, log: Path) -> AsyncIterator[StandIn]:
    """Serves a folder on free ports as long as the context lasts."""
    swar = Path(sys.executable).with_name("swar")
    free_ports = ("--rest-port", "0", "--grpc-port", "0")
    with log.open("wb") as file:
        process = await asyncio.create_subprocess_exec(
            swar, "serve", published, *free_ports, stderr=file
        )
    try:
        listening = rf"http://{HOST}:(\d+) and grpc://{HOST}:(\d+)"
        while not (told := re.search(listening, log.read_text())):
            if process.returncode is not None:
                raise RuntimeError(log.read_text())
            await asyncio.sleep(0.1)
        yield StandIn(process, Ports(int(told[1]), int(told[2])), log)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def run(published: Path, minutes: float) -> bool:
    """Prints what happened; gives whether all went well."""
    with tempfile.TemporaryDirectory() as folder:
        newest = int(version_folder(published).name)
        served, log = Path(folder, "published"), Path(folder, "log")
        shutil.copytree(published / str(newest), served / str(newest))
        speech = recordings(int(_card(served, newest)["sample_rate"]))
        settings = ServerSettings(served, MODEL.name)
        limits = settings.limits
        async with (
            stand_in(served, log) as server,
            asking(server.ports, served, speech) as (connected, expected),
        ):
            async with watched(server.pid) as memory:
                tallies = await load(connected, expected, served, 60 * minutes, limits)
            async with watched(server.pid, FLOOD_SAMPLE_SECONDS) as flood_memory:
                tallies["flood"] = await flooded(connected, expected, limits)
            tallies["the end"] = await ended(connected, expected, limits, server.stop)
        _, traceback, told_by_log = log.read_text().partition("Traceback")
    print_tallies(tallies)
    wrong = [told for tally in tallies.values() for told in tally.wrong]
    if not memory.is_flat():
        wrong.append("memory grew")
    if not flood_memory.is_below(budget_bytes(limits) / MEBIBYTE):
        wrong.append("the flood took more memory than it may")
    print(f"ended {server.seconds_to_end:.1f} s after SIGTERM")
    if not server.seconds_to_end <= settings.grace_seconds:
        wrong.append(f"the grace period is {settings.grace_seconds:g} s")
    if traceback:
        wrong.append(f"the log holds a traceback {told_by_log}")
    for told in wrong:
        print(f"WRONG: {told[:TOLD_CHARACTERS]}")
    return not wrong


def budget_bytes(limits: Limits) -> int:
    """Memory that requests may take beside the model and its batches, by docs/serving.md."""
    being_read = MESSAGES_READ_AT_ONCE * limits.max_request_bytes
    return limits.max_bytes_in_flight + being_read + JSON_BYTES


def print_tallies(tallies: Mapping[str, Tally]) -> None:
    """Prints a table with a line for each kind of request."""
    print(
        f"{'requests':15} {'right':>6} {'cut off':>8} {'wrong':>6} {'p50 ms':>8} {'longest s':>10}"
    )
    for name, tally in tallies.items():
        p50, longest = np.percentile(tally.latencies or [np.nan], [50, 100])
        print(
            f"{name:15} {len(tally.latencies):6} {tally.cut_off:8} {len(tally.wrong):6} "
            f"{1000 * p50:8.0f} {longest:10.1f}"
        )


if __name__ == "__main__":
    minutes = float(sys.argv[2]) if len(sys.argv) > 2 else 10.0
    folder = base_model_folder().parent if sys.argv[1] == BASE else Path(sys.argv[1])
    sys.exit(not asyncio.run(run(folder, minutes)))
