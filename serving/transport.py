"""How a signature is called: TF Serving's gRPC and REST interfaces, each behind `predict`."""

import base64
import http.client
import io
import socket
import time
from collections.abc import Mapping
from typing import Any, Final, Protocol
from urllib.parse import quote, urlsplit

import grpc
import numpy as np
import urllib3

from components.errors import SwarError
from serving import wire
from serving.credentials import Credentials, content
from serving.predict_pb2 import PredictRequest, PredictResponse
from serving.wire import Input, ModelSpec, Tensor, one_line, parse_json

MAX_ANSWER_BYTES: Final = 16 * 2**20
"""Of an endpoint's answer, with its header; a Swar model's answers have some KiB."""
_CHUNK_BYTES: Final = 2**16
_RETRIED_HTTP_STATUSES: Final = (408, 429, 502, 503)
# In gRPC's messages about a connection: the other side speaks no gRPC, or no TLS.
_LASTING: Final = ("Failed parsing HTTP/2", "security handshaker")
# Likewise: one side does not accept the other's certificate.
_UNTRUSTED: Final = ("SSL_ERROR_SSL", "Hostname Verification")
_CHANNEL_OPTIONS: Final = (
    ("grpc.max_receive_message_length", MAX_ANSWER_BYTES),
    ("grpc.max_send_message_length", -1),
    ("grpc.enable_http_proxy", 0),  # a proxy would be taken from the environment
    # If a name stands for several servers, all of them are called in turn.
    ("grpc.service_config", '{"loadBalancingConfig": [{"round_robin": {}}]}'),
    # The next attempt notices a server that has started, not one a minute later.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 2_000),
)


class Unavailable(Exception):
    """The server is not there, or cannot take the request now.

    Args:
        message: of the library or the server.
        is_passing: whether another attempt may succeed, as while a server starts; False if
            another kind of server answers, or one without TLS.
    """

    def __init__(self, message: str, *, is_passing: bool = True) -> None:
        super().__init__(message)
        self.is_passing = is_passing


class Transport(Protocol):
    """One way to call a signature."""

    def predict(
        self, signature: str, inputs: Mapping[str, Input], timeout_seconds: float
    ) -> dict[str, Tensor]:
        """The signature's outputs.

        Raises:
            Unavailable: no server took the request.
            TimeoutError: no answer in time.
            SwarError: the server refused; its message in one line.
            ValueError: the answer is not what TF Serving answers.
        """

    def close(self) -> None:
        """Closes the connections."""


def connect(url: str, spec: ModelSpec, credentials: Credentials) -> Transport:
    """The transport that a URL's scheme names: grpc, grpcs, http or https.

    Raises:
        SwarError: the URL has another scheme, lacks a port, or has parts that are not sent, such as
            a password; or the credentials cannot be used with it.
    """
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:  # such as an unclosed bracket, or port 99999
        raise SwarError(f"--url {one_line(url)!r} is not an endpoint: {error}") from error
    if "@" in parts.netloc or parts.query or parts.fragment:
        raise SwarError(
            "--url has more in it than scheme, host, port and path: leave out user, password, "
            "query and fragment, which are not sent; --token-file names a token"
        )
    is_rpc, is_rest = parts.scheme in ("grpc", "grpcs"), parts.scheme in ("http", "https")
    # Without a port gRPC takes 443, which is wrong without encryption.
    is_complete = bool(parts.hostname) and (parts.scheme != "grpc" or port is not None)
    if not is_complete or not (is_rest or (is_rpc and not parts.path.strip("/"))):
        raise SwarError(
            f"--url {one_line(url)!r} is not an endpoint: give grpc://HOST:PORT, http://HOST:PORT, "
            "or grpcs:// and https:// with encryption"
        )
    if credentials and not parts.scheme.endswith("s"):
        raise SwarError(
            f"{parts.scheme}:// is not encrypted: certificates and tokens need {parts.scheme}s://"
        )
    credentials.check()
    if is_rest:
        return RestTransport(url, spec, credentials)
    return GrpcTransport(parts.netloc, spec, credentials, encrypted=parts.scheme == "grpcs")


class GrpcTransport:
    """PredictionService."""

    def __init__(
        self, target: str, spec: ModelSpec, credentials: Credentials, *, encrypted: bool
    ) -> None:
        self._spec = spec
        self._credentials = credentials
        self._target = target
        if encrypted:
            files = (credentials.ca, credentials.key, credentials.certificate)
            tls = grpc.ssl_channel_credentials(*map(content, files))
            self._channel = grpc.secure_channel(target, tls, options=_CHANNEL_OPTIONS)
        else:
            self._channel = grpc.insecure_channel(target, options=_CHANNEL_OPTIONS)
        self._call = self._channel.unary_unary(
            wire.PREDICT_METHOD,
            request_serializer=PredictRequest.SerializeToString,
            response_deserializer=PredictResponse.FromString,
        )

    def predict(
        self, signature: str, inputs: Mapping[str, Input], timeout_seconds: float
    ) -> dict[str, Tensor]:
        """See Transport."""
        request = wire.predict_request(self._spec, signature, inputs)
        try:
            response = self._call(
                request,
                timeout=timeout_seconds,
                metadata=list(self._credentials.authorization().items()),
            )
        except grpc.RpcError as error:
            raise self._failure(error.code(), error.details() or "") from error
        return wire.predict_outputs(response)

    def _failure(self, code: grpc.StatusCode, details: str) -> Exception:
        if any(text in details for text in _UNTRUSTED):
            return _untrusted(f"grpcs://{self._target}", details)
        too_many = code is grpc.StatusCode.RESOURCE_EXHAUSTED and "Concurrent RPC" in details
        # No client cancels here: a server does, if it is too busy to take a call.
        if too_many or code in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED):
            return Unavailable(details, is_passing=not any(text in details for text in _LASTING))
        if code is grpc.StatusCode.DEADLINE_EXCEEDED:
            return TimeoutError(details)
        if code is grpc.StatusCode.NOT_FOUND:
            return _not_found(self._spec, details)
        if code is grpc.StatusCode.INTERNAL and "deserializing" in details:
            return ValueError(details)
        return SwarError(f"the endpoint refused: {code.name}: {one_line(details)}")

    def close(self) -> None:
        """See Transport."""
        self._channel.close()


class _BoundedStream(io.RawIOBase):
    """A connection's bytes; raises ValueError if too many, TimeoutError if too late."""

    def __init__(self, connection: socket.socket, stream: io.RawIOBase) -> None:
        self._connection = connection
        self._stream = stream
        # urllib3 sets what is left of the request's time, which would otherwise start again with
        # each byte.
        self._ends_at = time.monotonic() + (connection.gettimeout() or 0.0)
        self._left_bytes = MAX_ANSWER_BYTES

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        left_seconds = self._ends_at - time.monotonic()
        if left_seconds <= 0.0:
            raise TimeoutError("the answer takes too long")
        self._connection.settimeout(left_seconds)
        count: int | None = self._stream.readinto(buffer)
        self._left_bytes -= count or 0
        if self._left_bytes < 0:
            raise ValueError(f"an answer of more than {MAX_ANSWER_BYTES} bytes")
        return count

    def close(self) -> None:
        self._stream.close()
        super().close()


class _BoundedResponse(http.client.HTTPResponse):
    """An answer of bounded length and time, header included."""

    def __init__(self, sock: socket.socket, *given: Any, **named: Any) -> None:
        super().__init__(sock, *given, **named)
        self.fp = io.BufferedReader(_BoundedStream(sock, self.fp.detach()))


class _HttpConnection(urllib3.connection.HTTPConnection):
    response_class = _BoundedResponse


class _HttpsConnection(urllib3.connection.HTTPSConnection):
    response_class = _BoundedResponse


class _HttpPool(urllib3.HTTPConnectionPool):
    ConnectionCls = _HttpConnection


class _HttpsPool(urllib3.HTTPSConnectionPool):
    ConnectionCls = _HttpsConnection


class RestTransport:
    """TF Serving's `:predict` with columns of inputs and outputs."""

    def __init__(self, url: str, spec: ModelSpec, credentials: Credentials) -> None:
        self._spec = spec
        self._credentials = credentials
        which = ""
        if spec.version is not None:
            which = f"/versions/{spec.version}"
        elif spec.label is not None:
            which = f"/labels/{quote(spec.label, safe='')}"
        name = quote(spec.name, safe="")
        self._address = f"{url.rstrip('/')}/v1/models/{name}{which}:predict"
        self._pool = urllib3.PoolManager(
            retries=False,
            ca_certs=credentials.ca and str(credentials.ca),
            cert_file=credentials.certificate and str(credentials.certificate),
            key_file=credentials.key and str(credentials.key),
        )
        self._pool.pool_classes_by_scheme = {"http": _HttpPool, "https": _HttpsPool}

    def predict(
        self, signature: str, inputs: Mapping[str, Input], timeout_seconds: float
    ) -> dict[str, Tensor]:
        """See Transport."""
        body = {
            "signature_name": signature,
            "inputs": {name: _as_json(value) for name, value in inputs.items()},
        }
        try:
            response = self._pool.request(
                "POST",
                self._address,
                json=body,
                timeout=urllib3.Timeout(total=timeout_seconds),
                headers=self._credentials.authorization(),
                preload_content=False,
            )
            answer = _read(response)
        except (urllib3.exceptions.NewConnectionError, urllib3.exceptions.ProtocolError) as error:
            is_http = not any(isinstance(each, http.client.BadStatusLine) for each in error.args)
            raise Unavailable(str(error), is_passing=is_http) from error
        except urllib3.exceptions.TimeoutError as error:
            raise TimeoutError(str(error)) from error
        except urllib3.exceptions.SSLError as error:
            raise _untrusted(self._address, str(error)) from error
        except urllib3.exceptions.HTTPError as error:
            raise SwarError(f"the endpoint cannot be called: {one_line(str(error))}") from error
        if response.status != 200:
            raise self._failure(response.status, answer)
        return _columns(answer)

    def _failure(self, status: int, body: bytes) -> Exception:
        try:
            message = str(parse_json(body)["error"])
        except (ValueError, KeyError, TypeError):
            message = body.decode("utf-8", "replace")
        if status in _RETRIED_HTTP_STATUSES:
            return Unavailable(f"HTTP {status}: {message}")
        if status == 504:
            return TimeoutError(message)
        if status == 404:
            return _not_found(self._spec, message)
        return SwarError(f"the endpoint refused: HTTP {status}: {one_line(message)}")

    def close(self) -> None:
        """See Transport."""
        self._pool.clear()


def _as_json(value: Input) -> Any:
    if isinstance(value, np.ndarray):
        return value.tolist()
    return [{"b64": base64.b64encode(item).decode()} for item in value]


def _columns(body: bytes) -> dict[str, Tensor]:
    """The outputs of an answer; TF Serving also writes NaN and Infinity into JSON."""
    try:
        outputs = parse_json(body)["outputs"]
        return {name: _column(values) for name, values in outputs.items()}
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"no columns of outputs in {body[:100]!r}") from error


def _read(response: urllib3.BaseHTTPResponse) -> bytes:
    """An answer's body, not decompressed."""
    body = bytearray()
    try:
        while chunk := response.read1(_CHUNK_BYTES, decode_content=False):
            body += chunk
    except BaseException:
        response.close()
        raise
    response.release_conn()
    return bytes(body)


def _column(values: Any) -> Tensor:
    array = np.array(values)
    if array.dtype.kind == "U":
        return np.array([str(value).encode() for value in values], dtype=object)
    return array


def _not_found(spec: ModelSpec, message: str) -> SwarError:
    return SwarError(
        f"the endpoint has no {spec}: name one that it serves, see --model-name "
        f"(it says: {one_line(message)})"
    )


def _untrusted(address: str, message: str) -> SwarError:
    return SwarError(
        f"{address} cannot be called with TLS ({one_line(message)}): its certificate has to be "
        "valid, name that host and be signed by one of --ca; if it asks for a client's, give "
        "--certificate and --key"
    )
