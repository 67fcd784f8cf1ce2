"""`swar serve`: a local stand-in for TensorFlow Serving.

For development, tests and small installations. It answers as TF Serving is documented to, so that
clients need not know which of the two they call.
"""

import asyncio
import contextlib
import logging
import os
import signal
import threading
import time
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import grpc
from aiohttp import web

from components.errors import SwarError
from components.quiet import real_stderr, tensorflow_quiet
from components.terminal import PrintableFormatter
from serving import defaults
from serving.open_files import quiet_where_files_run_out
from serving.standin import rpc
from serving.standin.batcher import Batcher, Batching
from serving.standin.connections import CrowdedPort
from serving.standin.hosts import check_host
from serving.standin.limits import SHARED_SECONDS, Budget, Limits
from serving.standin.rest import Connections, RestApi
from serving.standin.status import Metrics
from serving.standin.store import ModelStore

log = logging.getLogger("swar.serving")

_ENDING_SECONDS: Final = 5.0
"""The part of the grace period in which cut-off requests end."""
_BACKLOG: Final = 128
# aiohttp would write a traceback for every request that is no HTTP.
_http_log = logging.getLogger("swar.serving.http")
_http_log.setLevel(logging.CRITICAL)
# So would grpc, for every client that goes while its answer is sent.
logging.getLogger("grpc._cython.cygrpc").addFilter(
    lambda record: "ExecuteBatchError" not in record.getMessage()
)


@dataclass(frozen=True)
class Ports:
    """Where a running stand-in listens."""

    rest: int
    grpc: int


@dataclass(frozen=True)
class ServerSettings:
    """What a stand-in serves, and how. Port 0 takes a free one."""

    model_dir: Path
    """Folder of `<version>/saved_model.pb`, such as a run's `published`."""
    model_name: str = defaults.MODEL_NAME
    """What requests call the model."""
    host: str = "127.0.0.1"
    rest_port: int = 8501
    grpc_port: int = 8500
    open_to_network: bool = False
    """Whether the host may be an address that other machines reach."""
    public_hosts: Collection[str] = ()
    """Names that REST requests may have as their Host, beside addresses and localhost."""
    version: int | None = None
    """The only version that is served; None for the latest."""
    labels: Mapping[str, int] = field(default_factory=dict)
    """Label to version; these versions are served beside the latest."""
    allow_reload: bool = False
    """Whether callers may move the labels (HandleReloadConfigRequest)."""
    poll_seconds: float = 1.0
    """Between two looks for new versions."""
    grace_seconds: float = 60.0
    """From a signal to the end, even if requests still run."""
    limits: Limits = field(default_factory=Limits)
    batching: Batching = field(default_factory=Batching)


def serve(settings: ServerSettings, *, on_ready: Callable[[], None] = lambda: None) -> None:
    """Serves a model until SIGTERM or SIGINT, then finishes the requests that it has.

    Args:
        settings: what is served, and where.
        on_ready: called when the model is loaded and the ports are open, before the log says so,
            or before an error is raised.

    Raises:
        SwarError: there is no model that loads, a port is taken, or the host is not allowed.
    """
    check_host(settings.host, settings.open_to_network)
    handler = logging.StreamHandler(real_stderr())
    handler.setFormatter(PrintableFormatter("%(asctime)s %(message)s"))
    log.addHandler(handler)
    log.setLevel(logging.WARNING)
    log.propagate = False
    with contextlib.ExitStack() as starting:
        starting.callback(on_ready)
        starting.enter_context(tensorflow_quiet())
        asyncio.run(_serve(settings, starting))


async def _serve(settings: ServerSettings, starting: contextlib.ExitStack) -> None:
    stopped = asyncio.Event()

    def stop() -> None:
        log.warning("stopping, after the requests that are being answered")
        threading.Thread(target=_end_after, args=(settings.grace_seconds,), daemon=True).start()
        stopped.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop)
    async with running(settings) as ports:
        starting.close()
        log.setLevel(logging.INFO)
        if not stopped.is_set():
            log.info(
                "serving %s at http://%s:%d and grpc://%s:%d: a stand-in for TensorFlow Serving",
                settings.model_name,
                settings.host,
                ports.rest,
                settings.host,
                ports.grpc,
            )
        await stopped.wait()


def _end_after(seconds: float) -> None:
    """Ends the process: Python would wait for its threads, which may never end."""
    time.sleep(seconds)
    log.warning("ended, though the model still runs %g s after the signal", seconds)
    os._exit(1)


@contextlib.asynccontextmanager
async def running(settings: ServerSettings) -> AsyncIterator[Ports]:
    """A stand-in that listens as long as the context lasts, with its model loaded.

    Raises SwarError if there is no model that loads, or a port is taken.
    """
    metrics = Metrics(settings.model_name)
    limits = settings.limits
    budget = Budget(limits.max_bytes_in_flight, SHARED_SECONDS)
    batcher = Batcher(settings.batching)
    grace_seconds = max(0.0, settings.grace_seconds - _ENDING_SECONDS)
    public_hosts = {name.lower() for name in (settings.host, *settings.public_hosts)}
    asyncio.get_running_loop().set_exception_handler(quiet_where_files_run_out)
    async with ModelStore(
        settings.model_dir,
        settings.model_name,
        settings.labels,
        settings.poll_seconds,
        settings.version,
    ) as store:
        api = RestApi(store, batcher, metrics, budget, limits, public_hosts)
        runner = web.AppRunner(
            api.application,
            handler_cancellation=True,  # a request whose client has gone is dropped
            access_log=None,
            logger=_http_log,
            keepalive_timeout=limits.idle_seconds,
            shutdown_timeout=grace_seconds,
        )
        await runner.setup()
        crowded = CrowdedPort(limits.affordable_connections())
        server = rpc.build(
            store, batcher, metrics, budget, limits, crowded, allow_reload=settings.allow_reload
        )
        async with contextlib.AsyncExitStack() as stack:
            stack.callback(batcher.close)
            stack.push_async_callback(_stop, server, runner, grace_seconds)
            rest_port = await stack.enter_async_context(
                _listen_rest(runner, api.connections, settings.host, settings.rest_port)
            )
            grpc_port = await _listen_grpc(server, settings.host, settings.grpc_port)
            watching = asyncio.create_task(crowded.watch(grpc_port))
            stack.callback(watching.cancel)
            yield Ports(rest_port, grpc_port)


async def _stop(server: grpc.aio.Server, runner: web.AppRunner, grace_seconds: float) -> None:
    await asyncio.gather(server.stop(grace_seconds), runner.cleanup())


class _New(asyncio.Protocol):
    """An accepted connection; once made, it passes to its handler."""

    def __init__(self, handler: web.RequestHandler, connections: Connections) -> None:
        self._handler = handler
        self._connections = connections

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport.set_protocol(self._handler)
        self._handler.connection_made(transport)
        self._connections.made(self._handler)


@contextlib.asynccontextmanager
async def _listen_rest(
    runner: web.AppRunner, connections: Connections, host: str, port: int
) -> AsyncIterator[int]:
    def connection() -> asyncio.Protocol:
        assert runner.server is not None
        return _New(runner.server(), connections)

    try:
        server = await asyncio.get_running_loop().create_server(
            connection, host, port, backlog=_BACKLOG
        )
    except OSError as error:
        raise SwarError(
            f"cannot listen on {host}:{port} for REST ({error.strerror}); choose another port"
        ) from error
    try:
        yield int(server.sockets[0].getsockname()[1])
    finally:
        server.close()


async def _listen_grpc(server: grpc.aio.Server, host: str, port: int) -> int:
    address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    try:
        bound = server.add_insecure_port(address)
    except RuntimeError as error:
        raise SwarError(f"cannot listen on {address} for gRPC; choose another port") from error
    await server.start()
    return int(bound)
