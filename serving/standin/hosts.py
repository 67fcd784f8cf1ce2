"""Which hosts a stand-in may listen on, and which Hosts of requests it accepts.

Needs no TensorFlow: a wrong host is reported before that import.
"""

import contextlib
import ipaddress
from collections.abc import Collection
from typing import Final
from urllib.parse import urlsplit

from components.errors import SwarError

_LOCALHOST: Final = "localhost"


def check_host(host: str, is_open_to_network: bool) -> None:
    """Raises SwarError if other machines reach the host, unless they may."""
    if not is_open_to_network and not (host == _LOCALHOST or _is_loopback(host)):
        raise SwarError(
            f"--host {host} lets everybody who reaches this machine use the model, without "
            "a login and unencrypted: add --open-to-network if that is meant, or serve on 127.0.0.1"
        )


def is_own_name(host: str, allowed: Collection[str]) -> bool:
    """Whether a request's Host is an address, localhost or an allowed name.

    Any other name may be one that a web site has pointed to this machine.
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
