"""The gallery at size: time and memory of a search over many enrolled speakers.

`python -m benchmarks.gallery_search [SPEAKERS...]`: default 1000, 100000 and 1000000.
"""

import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa

from benchmarks.process_memory import GIBIBYTE, measured
from serving.gallery import Gallery
from serving.gallery_table import SCHEMA, GalleryTable

SIZE = 128
ROWS_AT_ONCE = 50_000
SEARCHES = 20
DIGEST = "benchmark"


def _people(speakers: int) -> Iterator[pa.Table]:
    """Random embeddings of norm 1, one recording each."""
    rng = np.random.default_rng(0)
    for first in range(0, speakers, ROWS_AT_ONCE):
        count = min(ROWS_AT_ONCE, speakers - first)
        vectors = rng.standard_normal((count, SIZE)).astype(np.float32)
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        names = [f"speaker {number}" for number in range(first, first + count)]
        offsets = np.arange(count + 1, dtype=np.int32) * SIZE
        columns = {
            "id": names,
            "speaker": names,
            "vector": pa.ListArray.from_arrays(offsets, vectors.ravel()),
            "model_digest": [DIGEST] * count,
            "speech_seconds": [10.0] * count,
            "source": ["random"] * count,
            "enrolled_at": [datetime.now(UTC)] * count,
            "audio": [None] * count,
        }
        yield pa.Table.from_pydict(columns, schema=SCHEMA)


def fill(folder: str, speakers: int) -> None:
    """Enrols the speakers."""
    with GalleryTable(folder).opened(create=True) as table:
        for rows in _people(speakers):
            table.add(rows)


def search(folder: str) -> tuple[float, float]:
    """Seconds of the first search, which loads the gallery, and of a later one."""
    gallery, rng, taken = Gallery(folder), np.random.default_rng(1), []
    for _ in range(1 + SEARCHES):
        query = rng.standard_normal(SIZE).astype(np.float32)
        query /= np.linalg.norm(query)
        started = time.perf_counter()
        gallery.nearest(query, DIGEST, 5)
        taken.append(time.perf_counter() - started)
    return taken[0], statistics.median(taken[1:])


def run(speakers: int) -> None:
    """Prints a line."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = str(Path(temporary, "gallery"))
        fill(folder, speakers)
        size = sum(path.stat().st_size for path in Path(folder).rglob("*") if path.is_file())
        done = measured(search, folder)
        first, later = done.value
        print(
            f"{speakers} speakers: {size / 1e6:.0f} MB on disk, first search {first:.2f} s, "
            f"then {1000 * later:.1f} ms, peak {done.peak_bytes / GIBIBYTE:.2f} GiB"
        )


if __name__ == "__main__":
    for wanted in map(int, sys.argv[1:] or ("1000", "100000", "1000000")):
        run(wanted)
