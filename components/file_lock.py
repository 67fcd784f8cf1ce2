"""Locks between processes, which end with the process that holds them, however that ends."""

import contextlib
import fcntl
import os
from collections.abc import Iterator

from components.errors import SwarError


@contextlib.contextmanager
def locked(descriptor: int, *, shared: bool = False, held_message: str = "") -> Iterator[None]:
    """Locks what a descriptor is open for, and closes it at the end, which gives the lock back.

    Args:
        descriptor: of a file or a folder.
        shared: with others who share it; none then has it alone.
        held_message: of the error where another process holds the lock; empty: it is waited for.

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
