"""Locks between processes, which are released when their process ends, however it ends."""

import contextlib
import fcntl
import os
from collections.abc import Iterator

from components.errors import SwarError


@contextlib.contextmanager
def locked(descriptor: int, *, shared: bool = False, held_message: str = "") -> Iterator[None]:
    """Locks an open file or folder, and closes it at the end, which releases the lock.

    Args:
        descriptor: of the file or folder.
        shared: whether others may hold a shared lock too, but none an exclusive one.
        held_message: error message if another process holds the lock; empty to wait for it.

    Raises:
        SwarError: another process holds the lock.
    """
    kind = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
    try:
        try:
            fcntl.flock(descriptor, kind | fcntl.LOCK_NB if held_message else kind)
        except BlockingIOError as error:
            raise SwarError(held_message) from error
        yield
    finally:
        os.close(descriptor)
