"""Beam's servers for worker processes listen on this machine only.

Beam 2.77 binds them to all interfaces (`[::]:0`), without a login: who connects first is taken for
a worker, gets code and data, and answers with pickled values. Workers on this machine call
`localhost`.
Until Beam has a setting for the address: tests/components/compat/test_beam_loopback.py says when.
"""

from typing import Any, Final

import grpc
from apache_beam.runners.portability import abstract_job_service, local_job_service
from apache_beam.runners.portability.fn_api_runner import worker_handlers

_ALL_INTERFACES: Final = "[::]:"
_LOOPBACK: Final = "localhost:"


class _LoopbackGrpc:
    """The module `grpc`, whose servers take no address of all interfaces."""

    def __getattr__(self, name: str) -> Any:
        return getattr(grpc, name)

    def server(self, *arguments: Any, **options: Any) -> grpc.Server:
        """As `grpc.server`."""
        server = grpc.server(*arguments, **options)
        add_port = server.add_insecure_port
        server.add_insecure_port = lambda address: add_port(
            address.replace(_ALL_INTERFACES, _LOOPBACK)
        )
        return server


def listen_on_loopback() -> None:
    """From now on, for the servers that Beam's runners on this machine start."""
    for module in (worker_handlers, local_job_service, abstract_job_service):
        module.grpc = _LoopbackGrpc()
