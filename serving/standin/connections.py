"""Ends a connection that gRPC would keep for as long as its client likes: grpc.aio cannot."""

import contextlib
import ipaddress
import os
import socket
from typing import Final
from urllib.parse import unquote, urlsplit

_OPEN_FILES: Final = "/dev/fd"
"""A folder of this process's descriptors, on Linux and on macOS."""

_End = tuple[ipaddress.IPv4Address | ipaddress.IPv6Address, int]


def end_connection(peer: str) -> None:
    """Shuts the connection of this process with a client; nothing where there is none any more.

    Args:
        peer: as gRPC names it: `ipv4:192.0.2.1:50100`, `ipv6:%5B2001:db8::1%5D:50100`.
    """
    address = urlsplit(f"//{unquote(peer).partition(':')[2]}")
    client = _end(str(address.hostname), int(address.port or 0))
    for descriptor in os.listdir(_OPEN_FILES):
        # Not every file is a connection, and gRPC may close it just now: of a copy that is no harm.
        with (
            contextlib.suppress(OSError),
            socket.fromfd(int(descriptor), socket.AF_INET6, socket.SOCK_STREAM) as connection,
        ):
            other = connection.getpeername()
            if isinstance(other, tuple) and _end(*other[:2]) == client:
                connection.shutdown(socket.SHUT_RDWR)


def _end(host: str, port: int) -> _End:
    """An end of a connection, the same of IPv4 and of IPv4 in IPv6."""
    address = ipaddress.ip_address(host)
    return getattr(address, "ipv4_mapped", None) or address, port
