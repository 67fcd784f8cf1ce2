"""The folder that a run writes to: one run at a time."""

import fcntl
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from components.errors import SwarError

METADATA = "metadata.sqlite"
PUBLISHED = "published"


@contextmanager
def claimed(output: Path) -> Iterator[None]:
    """Holds the output folder for this process; the lock ends with it, however it ends.

    Makes the folder, and `logs/` in it. Nobody else can read what lies there but what is
    published: the rest holds voices.

    Raises:
        SwarError: it cannot be written, or another process holds it.
    """
    try:
        (output / "logs").mkdir(parents=True, exist_ok=True)
        lock = (output / ".lock").open("a")
        _close_to_others(output)
    except OSError as error:
        raise SwarError(f"cannot write to the output folder {output}: {error.strerror}") from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise SwarError(
                f"another run is writing to {output}: wait for it or choose another output folder"
            ) from None
        yield


def _close_to_others(output: Path) -> None:
    """What earlier versions of Swar left open too; others may still go through to `published`."""
    if output.stat().st_uid != os.getuid():
        return
    output.chmod(0o711)
    for entry in output.iterdir():
        if entry.name != PUBLISHED and not entry.is_symlink():
            entry.chmod(0o700 if entry.is_dir() else 0o600)


def check_records(output: Path) -> None:
    """Raises SwarError where the folder's records can no longer be read; none yet are fine."""
    path = output.absolute() / METADATA
    if not path.is_file():
        return
    try:
        with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as records:
            ((found,),) = records.execute("PRAGMA quick_check(1)")
    except sqlite3.OperationalError:
        return  # not to be opened, or in use: whoever wants to read or write it tells that
    except sqlite3.DatabaseError as error:
        found = str(error)
    if found != "ok":
        raise SwarError(
            f"{path} is damaged ({found}): bring it back from a copy of the folder, or run with "
            "another output folder"
        )
