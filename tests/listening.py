"""Where processes listen, as the kernel tells it."""

import ipaddress
import os
import struct
from pathlib import Path

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
_LISTEN = "0A"


def listening_addresses(pid: int | None = None) -> set[tuple[Address, int]]:
    """Address and port of every TCP socket on which a process listens, this one by default."""
    process = Path("/proc", str(pid or os.getpid()))
    sockets = set()
    for file in (process / "fd").iterdir():
        try:
            sockets.add(os.readlink(file))
        except FileNotFoundError:  # closed meanwhile
            continue
    lines = [
        line.split()
        for name in ("tcp", "tcp6")
        for line in (process / "net" / name).read_text().splitlines()[1:]
    ]
    return {
        _address(fields[1])
        for fields in lines
        if fields[3] == _LISTEN and f"socket:[{fields[9]}]" in sockets
    }


def _address(text: str) -> tuple[Address, int]:
    """The kernel writes an address as words of 32 bits in the machine's order."""
    words, port = text.split(":")
    packed = struct.pack(
        f"={len(words) // 8}I", *(int(words[i : i + 8], 16) for i in range(0, len(words), 8))
    )
    address = ipaddress.ip_address(packed)
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address, int(port, 16)
