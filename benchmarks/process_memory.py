"""Peak memory, wall and processor time of work in processes of its own (Linux)."""

import os
import resource
import time
from collections import defaultdict
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Generic, TypeVar

SAMPLE_SECONDS = 0.5
GIBIBYTE = 2**30
_KIBIBYTE = 1024
_PROC = Path("/proc")

Result = TypeVar("Result")


def descendants(root: int) -> list[int]:
    """The processes that `root` started, and those that they started; not `root` itself."""
    children = defaultdict(list)
    for stat in _PROC.glob("[0-9]*/stat"):
        try:
            # The command's name may hold spaces and brackets; the state and parent follow it.
            parent = int(stat.read_text().rpartition(")")[2].split()[1])
        except (FileNotFoundError, ProcessLookupError):
            continue  # it has ended meanwhile
        children[parent].append(int(stat.parent.name))
    found: list[int] = []
    waiting = [root]
    while waiting:
        below = children[waiting.pop()]
        found += below
        waiting += below
    return found


def resident_bytes(pid: int) -> int:
    """RSS: pages in memory, those shared with other processes counted in full."""
    try:
        pages = int((_PROC / str(pid) / "statm").read_text().split()[1])
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")


def proportional_bytes(pid: int) -> int:
    """PSS: pages in memory, each shared one divided among the processes that share it."""
    try:
        rollup = (_PROC / str(pid) / "smaps_rollup").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    sizes = [line.split()[1] for line in rollup.splitlines() if line.startswith("Pss:")]
    return sum(int(size) * _KIBIBYTE for size in sizes)


class PeakMemory:
    """The sum of PSS over the processes below this one, when the sum of RSS was largest."""

    def __init__(self) -> None:
        self.peak_bytes = 0
        self._peak_resident_bytes = 0

    def sample(self) -> None:
        """Takes one sample. PSS is read rarely, since the kernel takes long to add it up."""
        pids = descendants(os.getpid())
        resident = sum(map(resident_bytes, pids))
        if resident > self._peak_resident_bytes:
            self._peak_resident_bytes = resident
            self.peak_bytes = max(self.peak_bytes, sum(map(proportional_bytes, pids)))


@dataclass(frozen=True)
class Measured(Generic[Result]):
    """What a function returned and what it took, its imports included."""

    value: Result
    seconds: float
    """Wall time."""
    processor_seconds: float
    """Time of all threads and processes; other work on the machine hardly changes it."""
    peak_bytes: int


def measured(function: Callable[..., Result], *arguments: object) -> Measured[Result]:
    """Calls a function in a fresh process and watches that and its child processes.

    Args:
        function: importable by name.
        arguments: picklable.
    """
    memory = PeakMemory()
    started, processor_started = time.monotonic(), _processor_seconds_of_children()
    with ProcessPoolExecutor(max_workers=1, mp_context=get_context("spawn")) as pool:
        future = pool.submit(function, *arguments)
        while not future.done():
            memory.sample()
            time.sleep(SAMPLE_SECONDS)
        value = future.result()
        seconds = time.monotonic() - started
    processor_seconds = _processor_seconds_of_children() - processor_started
    return Measured(value, seconds, processor_seconds, memory.peak_bytes)


def _processor_seconds_of_children() -> float:
    """Seconds of ended children."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime
