"""How a server copes with the limit of files that its process may open."""

import asyncio
import errno
import logging
import resource
from typing import Any, Final

log = logging.getLogger("swar.serving")

_OTHER_FILES: Final = 128
"""Descriptors that are left for the model, the log and the libraries."""


def affordable_connections(max_connections: int, interfaces: int = 1) -> int:
    """How many connections each interface may have, by the files that the process may open.

    Raises the process's limit of open files as far as it is allowed.

    Args:
        max_connections: most connections of each interface.
        interfaces: on how many ports the process listens.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = interfaces * max_connections + _OTHER_FILES
    if resource.RLIM_INFINITY != soft < wanted:
        soft = wanted if hard == resource.RLIM_INFINITY else min(hard, wanted)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    files = wanted if soft == resource.RLIM_INFINITY else soft
    return max(1, min(max_connections, (files - _OTHER_FILES) // interfaces))


def quiet_where_files_run_out(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """A loop's exception handler, which does not warn that no connection can be accepted.

    asyncio then accepts no connection for a second, and reports each one in its backlog.
    """
    error = context.get("exception")
    if isinstance(error, OSError) and error.errno in (errno.EMFILE, errno.ENFILE):
        log.debug("no connection can be accepted: %s", error)
    else:
        loop.default_exception_handler(context)
