"""The folder that a run writes to: one run at a time."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from components.errors import SwarError

METADATA = "metadata.sqlite"
PUBLISHED = "published"


@contextmanager
def claimed(output: Path) -> Iterator[None]:
    """Holds the output folder for this process; the lock ends with it, however it ends.

    Makes the folder, and `logs/` in it. Raises SwarError: it cannot be written, or another
    process holds it.
    """
    try:
        (output / "logs").mkdir(parents=True, exist_ok=True)
        lock = (output / ".lock").open("a")
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
