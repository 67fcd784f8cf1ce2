"""A model's answers, for watchers: rows without audio, names or embeddings."""

import functools
import os
from collections.abc import Callable, Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from components.errors import SwarError
from components.json_text import to_json
from components.recording_quality import RecordingQuality
from serving.answers import Decision, Vector, Verdict

Row = Mapping[str, Any]
"""time: UTC, ISO 8601.
model: its digest.
kind: `recording`, or for a decision `verify`, `verify_speaker` or `identify`.
status: of a recording, or the verdict of a decision.
probability: of a decision.
values: numbers by name, whose drift shows other recordings or speakers.
"""
Watcher = Callable[[Row], None]
"""Is called with each row, from any thread."""

RECORDING: Final = "recording"
VERIFY: Final = "verify"
VERIFY_SPEAKER: Final = "verify_speaker"
IDENTIFY: Final = "identify"
NOT_DECODED: Final = "not_decoded"
"""Status of a recording that cannot be decoded, besides a model's own."""
OTHER: Final = "other"
"""Stands for a status that no Swar model has: an endpoint may answer anything."""
_STATUSES: Final = frozenset(
    {
        "ok",
        "not_wav",
        "wrong_sample_rate",
        "too_long",
        "too_short",
        "silent",
        "no_speech",
        NOT_DECODED,
    }
)

_PROJECTIONS: Final = 4
_DIGITS: Final = 4


def recording_row(
    model_digest: str, status: str, quality: RecordingQuality | None, vector: Vector | None
) -> Row:
    """A row of a recording.

    Args:
        model_digest: of the model.
        status: see `Embedding`, or NOT_DECODED; the row has OTHER for an unknown one.
        quality: of the recording; None if it has none.
        vector: its embedding, float32 [D], or None. The row gets its coordinates in four random
            directions, unless it has NaNs.
    """
    values = {} if quality is None else asdict(quality)
    if vector is not None and np.isfinite(vector).all():
        projected = _directions(len(vector)) @ vector
        values |= {f"projection_{n}": float(value) for n, value in enumerate(projected, 1)}
    return _row(model_digest, RECORDING, status if status in _STATUSES else OTHER, values)


def decision_row(model_digest: str, kind: str, verdict: Verdict, decision: Decision | None) -> Row:
    """A row of a decision, which is None if no enrolled speaker could be compared."""
    if decision is None:
        return _row(model_digest, kind, verdict, {})
    row = _row(model_digest, kind, verdict, {"distance": decision.distance})
    return {**row, "probability": round(decision.probability, _DIGITS)}


def _row(model_digest: str, kind: str, status: str, values: Mapping[str, float | None]) -> Row:
    return {
        "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
        "model": model_digest,
        "kind": kind,
        "status": status,
        "values": {
            name: round(value, _DIGITS) for name, value in values.items() if value is not None
        },
    }


@functools.cache
def _directions(size: int) -> npt.NDArray[np.float64]:
    """[_PROJECTIONS, size], unit vectors; the same in every process."""
    directions = np.random.default_rng(0).standard_normal((_PROJECTIONS, size))
    unit: npt.NDArray[np.float64] = directions / np.linalg.norm(directions, axis=1, keepdims=True)
    return unit


class WatchLog:
    """A file that gets a line of JSON for each row.

    It may be moved away while it is in use: the next line starts a new file.
    """

    def __init__(self, file: Path) -> None:
        """Opens the file once as a test.

        Args:
            file: made with mode 0600 if it is missing; rows are added at its end.

        Raises:
            SwarError: it cannot be written; calls raise it too.
        """
        self._file = file
        self._append(b"")

    def __call__(self, row: Row) -> None:
        """Adds a row."""
        self._append(f"{to_json(row, indent=None)}\n".encode())

    def _append(self, line: bytes) -> None:
        try:
            descriptor = os.open(
                self._file, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600
            )
            try:
                if os.fstat(descriptor).st_uid == os.geteuid():
                    os.fchmod(descriptor, 0o600)  # also of a file that was there
                os.write(descriptor, line)  # one call: processes may share the file
            finally:
                os.close(descriptor)
        except OSError as error:
            raise SwarError(
                f"the watch log {str(self._file)!r} cannot be written: {error.strerror}: "
                "name another file, or make room"
            ) from error
