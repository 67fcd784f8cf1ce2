"""Windows in temporary files, between where they are cut and where they are written."""

import itertools
import pickle
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from tfx.dsl.io import fileio

from components.spectrogram_pair_gen.windows import Window

# What a worker holds before it writes a file: 16 to 60 MB of windows.
WINDOWS_PER_FILE = 4096


@dataclass(frozen=True)
class Run:
    """Windows that lie together in a file, all of them for one output."""

    path: str
    offset: int  # bytes
    length: int  # bytes


def batches(windows: Iterable[Window]) -> Iterator[list[Window]]:
    """As many windows as go into one file, in their order."""
    iterator = iter(windows)
    while batch := list(itertools.islice(iterator, WINDOWS_PER_FILE)):
        yield batch


def write(path: str, windows: Mapping[int, Sequence[Window]]) -> list[tuple[int, Run]]:
    """Writes the windows of each output next to each other and tells where they lie."""
    written = []
    with fileio.open(path, "wb") as file:
        offset = 0
        for output, group in sorted(windows.items()):
            packed = pickle.dumps(group, pickle.HIGHEST_PROTOCOL)
            file.write(packed)
            written.append((output, Run(path, offset, len(packed))))
            offset += len(packed)
    return written


def read(run: Run) -> list[Window]:
    """The windows of a run."""
    with fileio.open(run.path, "rb") as file:
        file.seek(run.offset)
        windows: list[Window] = pickle.loads(file.read(run.length))
    return windows
