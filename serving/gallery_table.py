"""Where a gallery is kept: LanceDB tables in a private folder or on object storage.

Several processes may write at once: LanceDB commits optimistically, and the loser of a race tries
again. Two operations differ and hold an exclusive lock on a local folder: erasing, which removes
files of old versions and of writes that never ended, and enrolling, because LanceDB would accept
the same recording from two processes at once.
"""

import contextlib
import os
import random
import re
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any, Final, ParamSpec, TypeVar

import lancedb
import pyarrow as pa
from lancedb.expr import col

from components.errors import SwarError
from components.file_lock import locked

SCHEMA: Final = pa.schema(
    [
        ("id", pa.string()),  # of the speaker and the samples: enrolling twice changes nothing
        ("speaker", pa.string()),
        # Sealed if the gallery has a key, see `serving.gallery_keys`. float32, little-endian, of
        # any length: another model's may be longer.
        ("vector", pa.large_binary()),
        ("model_digest", pa.string()),
        ("speech_seconds", pa.float32()),
        ("source", pa.large_binary()),  # the file's name; sealed
        ("consent", pa.large_binary()),  # how the speaker gave it; sealed
        ("enrolled_at", pa.timestamp("us", tz="UTC")),
        ("expires_at", pa.timestamp("us", tz="UTC")),  # null: never
        ("audio", pa.large_binary()),  # WAV, null unless it was kept; sealed
        ("bandwidth_hz", pa.float32()),  # null if an earlier version of Swar enrolled it
    ]
)
"""Of the recordings' table."""
ENROLMENTS: Final = "enrolments"
_LOCK_FILE: Final = ".lock"
_MAX_FRAGMENTS: Final = 32  # each enrolment adds one
_OLDEST_READER: Final = timedelta(hours=1)
_RUST_SOURCE: Final = re.compile(r", /\S+\.rs:\d+:\d+")

_PANICS: Final = ("PanicException", "RustPanic")  # of pyo3, and of its asynchronous functions
_OVERTAKEN: Final = re.compile("conflict|contention", re.IGNORECASE)
_ATTEMPTS: Final = 20
_FIRST_PAUSE_SECONDS: Final = 0.05
_LONGEST_PAUSE_SECONDS: Final = 2.0

_Given = ParamSpec("_Given")
_Result = TypeVar("_Result")


def retried(
    commit: Callable[_Given, _Result], *given: _Given.args, **named: _Given.kwargs
) -> _Result:
    """What a commit returns; it runs again if another writer's commit has overtaken it.

    Nothing here may keep an error: its frames hold the recordings.
    """
    longest = _FIRST_PAUSE_SECONDS
    for _ in range(_ATTEMPTS - 1):
        try:
            return commit(*given, **named)
        except Exception as error:
            if not _OVERTAKEN.search(str(error)):
                raise
        time.sleep(random.uniform(0.0, longest))
        longest = min(2.0 * longest, _LONGEST_PAUSE_SECONDS)
    return commit(*given, **named)


def _is_of_store(error: BaseException) -> bool:
    """Whether an error comes from LanceDB; other errors of its types are bugs of Swar.

    A panic in Rust is no Exception: pyo3 raises it past handlers of those.
    """
    if type(error).__name__ in _PANICS:
        return True
    if not isinstance(error, RuntimeError | ValueError):
        return False
    frames = (frame for frame, _ in traceback.walk_tb(error.__traceback__))
    modules = (frame.f_globals.get("__name__", "") for frame in frames)
    return any(module.partition(".")[0] == "lancedb" for module in modules)


def private_folder(folder: Path) -> None:
    """Makes a folder of mode 0700; takes other users' rights from one that this user owns."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    status = folder.stat()
    if status.st_uid == os.getuid() and status.st_mode & 0o077:
        folder.chmod(0o700)


class GalleryTable:
    """The table at a URI, opened for one operation at a time."""

    def __init__(self, uri: str, name: str = ENROLMENTS, schema: pa.Schema = SCHEMA) -> None:
        self.uri = uri
        self._name = name
        self._schema = schema
        self._folder = None if "://" in uri else Path(uri)

    def exists(self) -> bool:
        """Whether the table exists."""
        if self._folder is not None and not self._folder.is_dir():
            return False  # connecting would make it
        with self._storage_errors():
            return self._name in lancedb.connect(self.uri).list_tables().tables

    @contextlib.contextmanager
    def opened(self, *, create: bool = False, alone: bool = False) -> Iterator[Any]:
        """The latest version of the table; nothing is erased meanwhile.

        Args:
            create: makes the table if there is none.
            alone: whether, on a local folder, no one else may have it open.

        Raises:
            SwarError: there is none, or the storage fails.
        """
        if not create and not self.exists():
            raise SwarError(
                f"there is no gallery at {self.uri!r}: `swar enroll NAME FILE` makes one, or name "
                "another with --gallery"
            )
        with self._lock(alone), self._storage_errors():
            # Without the interval a table does not see others' writes.
            database = lancedb.connect(self.uri, read_consistency_interval=timedelta(0))
            if create:
                table = database.create_table(self._name, schema=self._schema, exist_ok=True)
            else:
                table = database.open_table(self._name)
            names, known = self._schema.names, table.schema.names
            if known == names[: len(known)]:
                if missing := [self._schema.field(name) for name in names[len(known) :]]:
                    table.add_columns(missing)
            else:
                raise SwarError(
                    f"the gallery {self.uri!r} is of an earlier version of Swar: remove it and "
                    "enrol again, or name another with --gallery"
                )
            yield table

    def identity(self) -> tuple[int, int] | None:
        """Tells a local table from one that took its place and counts its versions anew.

        None on object storage, which has no such mark: there, restart the process.
        """
        if self._folder is None:
            return None
        status = os.stat(self._folder / f"{self._name}.lance")
        return status.st_ino, status.st_ctime_ns

    @contextlib.contextmanager
    def _storage_errors(self) -> Iterator[None]:
        """Turns LanceDB's errors (unreachable, full, damaged or read-only store) into SwarError."""
        try:
            yield
        except BaseException as error:
            if not (isinstance(error, OSError) or _is_of_store(error)):
                raise
            message = _RUST_SOURCE.sub("", " ".join(str(error).split()))
            raise SwarError(
                f"the gallery {self.uri!r} cannot be used: {message[:300]}: see that it is "
                "whole and may be written and that its disk has room, or name another with "
                "--gallery"
            ) from error

    @contextlib.contextmanager
    def _lock(self, alone: bool) -> Iterator[None]:
        if self._folder is None:
            yield
            return
        with self._storage_errors():
            private_folder(self._folder)
            # Follows no link to another file, and does not block on a pipe.
            flags = os.O_RDONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK
            descriptor = os.open(self._folder / _LOCK_FILE, flags, 0o600)
        with locked(descriptor, shared=not alone):
            yield

    def rows(self) -> list[dict[str, Any]]:
        """All rows; none if there is no table."""
        if not self.exists():
            return []
        with self.opened() as table:
            rows: list[dict[str, Any]] = table.search().to_arrow().to_pylist()
        return rows

    def append(self, row: dict[str, Any]) -> None:
        """Adds a row; makes the table if there is none."""
        with self.opened(create=True) as table:
            retried(table.add, pa.Table.from_pylist([row], schema=self._schema))
            self.compact(table)

    def compact(self, table: Any) -> None:
        """Joins the files of small writes, once there are many."""
        if table.stats()["fragment_stats"]["num_fragments"] > _MAX_FRAGMENTS:
            retried(table.optimize, cleanup_older_than=_OLDEST_READER)

    def erase(self, ids: list[str]) -> None:
        """Removes rows, possibly none, and every file that holds a byte of them.

        What an interrupted erasure has left is removed too. On object storage, where no lock shows
        that a write never ended, its files stay for seven days, after which Lance assumes so.
        """
        with self.opened(alone=True) as table:
            if ids:
                # By id, not by name: a commit's file stores its condition.
                retried(table.delete, col("id").isin(ids))
            self.clean(table)

    def clean(self, table: Any) -> None:
        """Removes every file of earlier versions of a table that is opened alone.

        No byte stays of a row that was ever deleted or rewritten.
        """
        self._optimize(table)
        # LanceDB joins files, but a lone one keeps rows that were deleted, or rewritten to another
        # file, as long as they are less than a tenth.
        files = table.stats()["fragment_stats"]
        with_deleted_rows = files["num_fragments"] * files["lengths"]["mean"]
        if files["num_fragments"] > 1 or with_deleted_rows > table.count_rows():
            retried(table.update, values_sql={"id": "id"})  # writes all rows to new files
            self._optimize(table)

    def _optimize(self, table: Any) -> None:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "optimize", UserWarning)  # it warns of what it does
            retried(
                table.optimize,
                cleanup_older_than=timedelta(0),
                delete_unverified=self._folder is not None,
            )
