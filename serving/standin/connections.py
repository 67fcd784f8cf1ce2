"""Ends gRPC connections, which clients could otherwise keep for as long as they like.

grpc.aio has no call that ends a connection or chooses which one to refuse: here they are looked
up among the sockets of this process.
"""

import asyncio
import contextlib
import ipaddress
import os
import socket
import stat
import time
from collections import Counter
from collections.abc import Iterator
from typing import Final
from urllib.parse import unquote, urlsplit

_OPEN_FILES: Final = "/dev/fd"
"""A folder of this process's descriptors, on Linux and on macOS."""
_QUIET_SECONDS: Final = 0.25
_CROWDED_SECONDS: Final = 0.02

_End = tuple[ipaddress.IPv4Address | ipaddress.IPv6Address, int]


def end_connection(peer: str) -> None:
    """Shuts this process's connection with a client, if there still is one.

    Args:
        peer: as gRPC names it: `ipv4:192.0.2.1:50100`, `ipv6:%5B2001:db8::1%5D:50100`.
    """
    client = _client(peer)
    for descriptor, _ in _sockets():
        with _copy_of(descriptor) as connection:
            if connection and _ends(connection)[1] == client:
                _shut(connection)


class CrowdedPort:
    """Keeps a port open to all: of too many connections, those idle for longest are ended.

    Args:
        most: how many connections there may be, except for a moment.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._calls: Counter[_End] = Counter()
        self._idle_since: dict[_End, float] = {}
        self._known: dict[int, tuple[_End | None, _End | None]] = {}
        """Both ends of each socket of this process, by its inode."""

    @contextlib.contextmanager
    def call(self, peer: str) -> Iterator[None]:
        """Protects a client's connection during a call."""
        client = _client(peer)
        self._calls[client] += 1
        try:
            yield
        finally:
            self._calls -= Counter([client])
            self._idle_since[client] = time.monotonic()

    async def watch(self, port: int) -> None:
        """Ends excess connections to a port, for ever."""
        while True:
            with contextlib.suppress(OSError):  # such as no free descriptor: it tries again
                self._end_some(port)
            crowded = len(self._idle_since) > self._most // 2
            await asyncio.sleep(_CROWDED_SECONDS if crowded else _QUIET_SECONDS)

    def _end_some(self, port: int) -> None:
        now = time.monotonic()
        clients: dict[_End, int] = {}
        known = {}
        for descriptor, inode in _sockets():
            if (ends := self._known.get(inode)) is None:
                with _copy_of(descriptor, inode) as connection:
                    ends = _ends(connection) if connection else (None, None)
            known[inode] = ends
            own, client = ends
            if client is not None and own is not None and own[1] == port:
                clients[client] = descriptor
        self._known = known
        self._idle_since = {client: self._idle_since.get(client, now) for client in clients}
        idle = sorted(clients.keys() - self._calls.keys(), key=lambda each: self._idle_since[each])
        for client in idle[: max(0, len(clients) - self._most)]:
            with _copy_of(clients[client]) as connection:
                if connection and _ends(connection)[1] == client:
                    _shut(connection)


def _sockets() -> Iterator[tuple[int, int]]:
    """Descriptors of this process's sockets, with their inodes."""
    for name in os.listdir(_OPEN_FILES):
        with contextlib.suppress(OSError):  # closed meanwhile
            status = os.fstat(int(name))
            if stat.S_ISSOCK(status.st_mode):
                yield int(name), status.st_ino


@contextlib.contextmanager
def _copy_of(descriptor: int, inode: int | None = None) -> Iterator[socket.socket | None]:
    """A copy of a socket, which stays usable if gRPC closes the socket meanwhile.

    None if the socket is closed already, or has another inode.
    """
    try:
        number = os.dup(descriptor)
    except OSError:
        yield None
        return
    try:
        copy = socket.socket(fileno=number)
    except OSError:  # it is no longer a socket
        os.close(number)
        yield None
        return
    with copy:
        yield copy if inode in (None, os.fstat(copy.fileno()).st_ino) else None


def _ends(connection: socket.socket) -> tuple[_End | None, _End | None]:
    """Own end and client's end; None for both if it is no connection over IP."""
    try:
        own, other = connection.getsockname(), connection.getpeername()
    except OSError:
        return None, None
    if not isinstance(own, tuple) or not isinstance(other, tuple):
        return None, None
    return _end(*own[:2]), _end(*other[:2])


def _shut(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):  # the client ended it first
        connection.shutdown(socket.SHUT_RDWR)


def _client(peer: str) -> _End:
    address = urlsplit(f"//{unquote(peer).partition(':')[2]}")
    return _end(str(address.hostname), int(address.port or 0))


def _end(host: str, port: int) -> _End:
    """An end of a connection; IPv4 in IPv6 becomes plain IPv4."""
    address = ipaddress.ip_address(host)
    return getattr(address, "ipv4_mapped", None) or address, port
