"""An endpoint's interfaces, with bodies as bytes that can be spoilt, and slow connections."""

import asyncio
import base64
import contextlib
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import aiohttp
import grpc

from serving import wire
from serving.predict_pb2 import PredictResponse
from serving.server import Ports

HOST = "127.0.0.1"
MODEL = wire.ModelSpec("swar")
DROP_BYTES, DROP_SECONDS = 4096, 0.05

Inputs = Mapping[str, Sequence[bytes]]


@dataclass(frozen=True)
class Reply:
    """An endpoint's reply."""

    refused: str | None
    """HTTP status, or the name of gRPC's code; None where the request was answered."""
    outputs: dict[str, list[Any]]
    """Strings as str, numbers as the interface gives them."""
    version: int | None = None
    """Version of the model; None over REST."""


class Interface(Protocol):
    """gRPC or REST."""

    def body(self, signature: str, inputs: Inputs) -> bytes:
        """A request as it travels."""

    async def send(self, body: bytes) -> Reply:
        """Sends a request. Raises ConnectionError if the connection breaks before an answer."""


class Grpc:
    """PredictionService, over a channel's own connection."""

    def __init__(self, channel: grpc.aio.Channel, spec: wire.ModelSpec = MODEL) -> None:
        self._call = channel.unary_unary(wire.PREDICT_METHOD)
        self._spec = spec

    def body(self, signature: str, inputs: Inputs) -> bytes:
        """See Interface."""
        serialised: bytes = wire.predict_request(self._spec, signature, inputs).SerializeToString()
        return serialised

    async def send(self, body: bytes) -> Reply:
        """See Interface."""
        try:
            response = PredictResponse.FromString(await self._call(body))
        except grpc.aio.AioRpcError as error:
            if error.code() == grpc.StatusCode.UNAVAILABLE:
                raise ConnectionError(error.details()) from error
            return Reply(error.code().name, {})
        outputs = {
            name: [_text(value) for value in values.tolist()]
            for name, values in wire.predict_outputs(response).items()
        }
        return Reply(None, outputs, response.model_spec.version.value)


class Rest:
    """`:predict` by columns, on a port."""

    def __init__(
        self, session: aiohttp.ClientSession, port: int, spec: wire.ModelSpec = MODEL
    ) -> None:
        which = "" if spec.version is None else f"/versions/{spec.version}"
        which += "" if spec.label is None else f"/labels/{spec.label}"
        self._url = f"http://{HOST}:{port}/v1/models/{spec.name}{which}:predict"
        self._session = session

    def body(self, signature: str, inputs: Inputs) -> bytes:
        """See Interface."""
        columns = {
            name: [{"b64": base64.b64encode(value).decode()} for value in values]
            for name, values in inputs.items()
        }
        return json.dumps({"signature_name": signature, "inputs": columns}).encode()

    async def send(self, body: bytes) -> Reply:
        """See Interface."""
        try:
            async with self._session.post(self._url, data=body) as response:
                answer = await response.json(content_type=None)
                if response.status == 200:
                    return Reply(None, answer["outputs"])
                return Reply(str(response.status), {})
        except aiohttp.ClientError as error:
            raise ConnectionError(repr(error)) from error


def _text(value: Any) -> Any:
    return value.decode() if isinstance(value, bytes) else value


@contextlib.asynccontextmanager
async def grpc_connection(port: int) -> AsyncIterator[grpc.aio.Channel]:
    """A channel that shares its connection with no other one."""
    options = [("grpc.use_local_subchannel_pool", 1), ("grpc.enable_http_proxy", 0)]
    async with grpc.aio.insecure_channel(f"{HOST}:{port}", options=options) as channel:
        yield channel


@contextlib.asynccontextmanager
async def slow_line(ports: Ports) -> AsyncIterator[Ports]:
    """Ports that slowly pass what they get to the endpoint, in small pieces.

    Clients must have closed their connections when it ends.
    """
    connections: set[asyncio.Task[Any] | None] = set()

    async def listen(port: int) -> asyncio.Server:
        async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            connections.add(asyncio.current_task())
            with contextlib.suppress(ConnectionError):
                there, back = await asyncio.open_connection(HOST, port)
                await asyncio.gather(_pass_on(reader, back, DROP_SECONDS), _pass_on(there, writer))

        return await asyncio.start_server(connected, HOST, 0)

    rest, grpc_server = await listen(ports.rest), await listen(ports.grpc)
    try:
        yield Ports(*(server.sockets[0].getsockname()[1] for server in (rest, grpc_server)))
    finally:
        rest.close()
        grpc_server.close()
        await asyncio.gather(*filter(None, connections))


async def _pass_on(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, pause_seconds: float = 0.0
) -> None:
    with contextlib.closing(writer):
        while drop := await reader.read(DROP_BYTES):
            writer.write(drop)
            await writer.drain()
            await asyncio.sleep(pause_seconds)


async def send_half(port: int, body: bytes, wait_seconds: float) -> None:
    """Breaks a REST request off in the middle of its body."""
    _, writer = await asyncio.open_connection(HOST, port)
    head = f"POST /v1/models/{MODEL.name}:predict HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: "
    writer.write(f"{head}{len(body)}\r\n\r\n".encode() + body[: len(body) // 2])
    await writer.drain()
    await asyncio.sleep(wait_seconds)
    writer.transport.abort()


@dataclass(frozen=True)
class Lines:
    """All connections to a running endpoint."""

    ports: Ports
    session: aiohttp.ClientSession
    channel: grpc.aio.Channel
    grpc: Grpc
    rest: Rest
    slow: tuple[Grpc, Rest]

    def both(
        self, spec: wire.ModelSpec, grpc_code: str, http_status: str
    ) -> list[tuple[Interface, str]]:
        """Both interfaces to a model, a version or a label, each with its refusal's code."""
        over_rest = Rest(self.session, self.ports.rest, spec)
        return [(Grpc(self.channel, spec), grpc_code), (over_rest, http_status)]


@contextlib.asynccontextmanager
async def lines(ports: Ports) -> AsyncIterator[Lines]:
    """Connects to an endpoint."""
    async with (
        slow_line(ports) as slow_ports,
        grpc_connection(ports.grpc) as channel,
        grpc_connection(slow_ports.grpc) as slow_channel,
        aiohttp.ClientSession() as session,
    ):
        yield Lines(
            ports,
            session,
            channel,
            Grpc(channel),
            Rest(session, ports.rest),
            (Grpc(slow_channel), Rest(session, slow_ports.rest)),
        )
