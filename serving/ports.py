"""Whether a server could listen, before anything is imported for it that takes seconds."""

import socket

from components.errors import SwarError


def check_free(host: str, *ports: int) -> None:
    """Listens for a moment; port 0 is any free one.

    Args:
        host: address or name to listen on.
        ports: to listen on there.

    Raises:
        SwarError: another process has a port, or this machine is not the host.
    """
    for port in ports:
        try:
            family, kind, _, _, address = socket.getaddrinfo(
                host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
            )[0]
            with socket.socket(family, kind) as listener:
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                listener.bind(address)
                listener.listen(1)
        except OSError as error:
            raise SwarError(
                f"cannot listen on {host}:{port} ({error.strerror}); choose another port"
            ) from error
