"""What a stand-in holds at most at any moment, and whom it takes a request from."""

import contextlib
import ipaddress
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

import tensorflow as tf

from components.errors import SwarError
from serving.open_files import affordable_connections

_INTERFACES: Final = 2
_LOCALHOST: Final = "localhost"


@dataclass(frozen=True)
class Limits:
    """Bounds of REST and gRPC."""

    max_request_bytes: int = 64 * 2**20
    """Longest request."""
    max_bytes_in_flight: int = 256 * 2**20
    """Of all requests together; one that finds no room is refused with UNAVAILABLE, 503."""
    max_connections: int = 256
    """Open connections of each interface; fewer where the process may open fewer files."""
    max_rpcs: int = 256
    """gRPC calls at one time; more are refused with RESOURCE_EXHAUSTED."""
    idle_seconds: float = 30.0
    """For a connection without a request, and for the header of one."""
    rpc_idle_seconds: float = 300.0
    """For a gRPC connection between calls: clients keep one, and complain when it is closed."""
    body_seconds: float = 60.0
    """For a client to send its request, and for it to read the answer."""

    def affordable_connections(self) -> int:
        """How many connections each interface may have, by the files that the process may open.

        The process takes as many files as it needs, where it is let.
        """
        return affordable_connections(self.max_connections, _INTERFACES)


class Budget:
    """Bytes that all requests together may hold."""

    def __init__(self, limit: int) -> None:
        self._free = limit

    @contextlib.contextmanager
    def request(self) -> Iterator[Callable[[int], None]]:
        """One request; yields what takes bytes for it, which are given back in the end.

        Taking more than there are raises UNAVAILABLE.
        """
        taken = 0

        def take(count: int) -> None:
            nonlocal taken
            if count > self._free:
                message = "The requests in flight hold all the memory that they may"
                raise tf.errors.UnavailableError(None, None, message)
            self._free -= count
            taken += count

        try:
            yield take
        finally:
            self._free += taken


def check_host(host: str, is_open_to_network: bool) -> None:
    """Raises SwarError for an address that others reach, unless that is wanted."""
    if not is_open_to_network and not (host == _LOCALHOST or _is_loopback(host)):
        raise SwarError(
            f"--host {host} lets everybody who reaches this machine use the model, without "
            "a login and unencrypted: add --open-to-network if that is meant, or serve on 127.0.0.1"
        )


def is_own_name(host: str, allowed: Collection[str]) -> bool:
    """Whether a request's Host is an address, localhost or an allowed name.

    A name of any other kind is one that a web site made stand for this machine.
    """
    try:
        name = urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return False
    return name == _LOCALHOST or name in allowed or _address(name) is not None


def _is_loopback(host: str) -> bool:
    address = _address(host)
    return address is not None and address.is_loopback


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(host)
    return None
