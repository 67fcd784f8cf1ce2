"""`swar serve`: a local stand-in for TensorFlow Serving.

For development, tests and small installations; it answers as TF Serving documents it, so that
clients need not know which of the two they talk to.
"""

import asyncio
import contextlib
import logging
import signal
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import grpc
from aiohttp import web

from components.errors import SwarError
from serving import defaults
from serving.standin import rpc
from serving.standin.batcher import Batcher, Batching
from serving.standin.rest import RestApi
from serving.standin.status import Metrics
from serving.standin.store import ModelStore

log = logging.getLogger("swar.serving")

_GRACE_SECONDS: Final = 60.0


@dataclass(frozen=True)
class Ports:
    """Where a running stand-in listens."""

    rest: int
    grpc: int


@dataclass(frozen=True)
class ServerSettings:
    """What a stand-in serves, and how. Port 0 takes a free one."""

    model_dir: Path
    """Folder of `<version>/saved_model.pb`, as a run's `published`."""
    model_name: str = defaults.MODEL_NAME
    """What requests call the model."""
    host: str = "127.0.0.1"
    rest_port: int = 8501
    grpc_port: int = 8500
    labels: Mapping[str, int] = field(default_factory=dict)
    """Label to version; these versions are served beside the latest."""
    poll_seconds: float = 1.0
    """How often new versions are looked for."""
    max_request_bytes: int = 64 * 2**20
    """Longest request, of REST and of gRPC."""
    batching: Batching = field(default_factory=Batching)


def serve(settings: ServerSettings) -> None:
    """Serves a model until SIGTERM or SIGINT, then finishes the requests that it has.

    Raises SwarError where there is no model that loads, or a port is taken.
    """
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    log.propagate = False
    # Its Python loader of graphs is the one TF Serving has in C++, and warns that it is old.
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    asyncio.run(_serve(settings))


async def _serve(settings: ServerSettings) -> None:
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    log.info("stand-in for TensorFlow Serving: loading %s", settings.model_dir)
    async with running(settings) as ports:
        log.info(
            "stand-in for TensorFlow Serving: model %s at http://%s:%d and grpc://%s:%d",
            settings.model_name,
            settings.host,
            ports.rest,
            settings.host,
            ports.grpc,
        )
        await stopped.wait()
        log.info("stopping, after the requests that are being answered")


@contextlib.asynccontextmanager
async def running(settings: ServerSettings) -> AsyncIterator[Ports]:
    """A stand-in that listens as long as the context lasts, with its model loaded.

    Raises SwarError where there is no model that loads, or a port is taken.
    """
    metrics = Metrics(settings.model_name)
    limit = settings.max_request_bytes
    batcher = Batcher(settings.batching)
    async with ModelStore(
        settings.model_dir, settings.model_name, settings.labels, settings.poll_seconds
    ) as store:
        api = RestApi(store, batcher, metrics, max_request_bytes=limit)
        runner = web.AppRunner(
            api.application,
            handler_cancellation=True,  # a request whose client has gone is dropped
            access_log=None,
            shutdown_timeout=_GRACE_SECONDS,
        )
        await runner.setup()
        server = rpc.build(store, batcher, metrics, max_request_bytes=limit)
        try:
            yield Ports(
                await _listen_rest(runner, settings.host, settings.rest_port),
                await _listen_grpc(server, settings.host, settings.grpc_port),
            )
        finally:
            await asyncio.gather(server.stop(_GRACE_SECONDS), runner.cleanup())
            batcher.close()


async def _listen_rest(runner: web.AppRunner, host: str, port: int) -> int:
    try:
        await web.TCPSite(runner, host, port).start()
    except OSError as error:
        raise SwarError(
            f"cannot listen on {host}:{port} for REST ({error.strerror}); choose another port"
        ) from error
    return int(runner.addresses[0][1])


async def _listen_grpc(server: grpc.aio.Server, host: str, port: int) -> int:
    address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    try:
        bound = server.add_insecure_port(address)
    except RuntimeError as error:
        raise SwarError(f"cannot listen on {address} for gRPC; choose another port") from error
    await server.start()
    return int(bound)
