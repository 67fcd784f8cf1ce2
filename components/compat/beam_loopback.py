"""Makes Beam's servers for worker processes listen on this machine and answer only their workers.

Beam 2.77 binds them to all interfaces (`[::]:0`) without a login: the first to connect is taken
for a worker, gets code and data, and answers with pickled values. Workers on this machine call
`localhost`, where its other users can connect too. So a worker's id, which it gets from its
environment and sends with every call, ends with a secret word of this process.
Needed until Beam has a setting for the address: tests/components/compat/test_beam_loopback.py
tells when.
"""

import hmac
import secrets
from collections.abc import Sequence
from typing import Any, Final

import grpc
from apache_beam.runners.portability import abstract_job_service, local_job_service
from apache_beam.runners.portability.fn_api_runner import worker_handlers

_ALL_INTERFACES: Final = "[::]:"
_LOOPBACK: Final = "localhost:"
_WORKER_ID: Final = "worker_id"
WORD: Final = secrets.token_hex(16)
"""Secret end of every worker's id."""


class _WorkersAlone(grpc.ServerInterceptor):
    """Refuses calls without WORD."""

    def intercept_service(self, continuation: Any, details: grpc.HandlerCallDetails) -> Any:
        sent = dict(details.invocation_metadata).get(_WORKER_ID, "")
        if hmac.compare_digest(str(sent)[-len(WORD) :].encode(), WORD.encode()):
            return continuation(details)
        return grpc.stream_stream_rpc_method_handler(_refuse)


def _refuse(_: object, context: grpc.ServicerContext) -> None:
    context.abort(grpc.StatusCode.UNAUTHENTICATED, "not a worker of this pipeline")


class _LoopbackGrpc:
    """The module `grpc`, with servers on loopback in place of all interfaces."""

    def __init__(self, interceptors: Sequence[grpc.ServerInterceptor]) -> None:
        self._interceptors = interceptors

    def __getattr__(self, name: str) -> Any:
        return getattr(grpc, name)

    def server(self, *arguments: Any, **options: Any) -> grpc.Server:
        """As `grpc.server`."""
        server = grpc.server(*arguments, interceptors=self._interceptors, **options)
        add_port = server.add_insecure_port
        server.add_insecure_port = lambda address: add_port(
            address.replace(_ALL_INTERFACES, _LOOPBACK)
        )
        return server


def listen_on_loopback(*, workers_alone: bool = False) -> None:
    """Makes servers that Beam's runners start on this machine from now on listen on loopback.

    Args:
        workers_alone: whether they refuse callers whose `worker_id` does not end with WORD; a job
            service must not.
    """
    for module in (worker_handlers, local_job_service, abstract_job_service):
        module.grpc = _LoopbackGrpc([_WorkersAlone()] if workers_alone else [])
