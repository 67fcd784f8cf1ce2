"""What the stand-in holds at most of gRPC: connections, calls, and answers that are not read."""

import contextlib
import gc
import os
import socket
import struct
import threading
import time

import grpc
import numpy as np
import pytest
from tensorflow_serving.apis import predict_pb2

from benchmarks.process_memory import resident_bytes
from serving.standin import connections, rpc
from tests.serving.support_standin import (
    PREDICT_METHOD,
    predict_request,
    prediction,
    refusal,
    served,
)


def test_a_silent_grpc_connection_is_closed(models):
    with (
        served(models, limits={"idle_seconds": 0.3}) as ports,
        socket.create_connection(("127.0.0.1", ports.grpc), 10) as connection,
    ):
        connection.sendall(b"PRI")
        connection.settimeout(15)
        while connection.recv(1000):
            pass


def test_a_grpc_connection_between_calls_is_closed_later(models):
    preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\4\0\0\0\0\0"  # empty SETTINGS
    with (
        served(models, limits={"idle_seconds": 0.2, "rpc_idle_seconds": 1.5}) as ports,
        socket.create_connection(("127.0.0.1", ports.grpc), 10) as connection,
    ):
        started = time.monotonic()
        connection.sendall(preface)
        connection.settimeout(15)
        while connection.recv(1000):
            pass
        assert time.monotonic() - started > 1.0


def test_a_grpc_request_that_never_comes_ends(models):
    with (
        served(models, limits={"body_seconds": 0.3}) as ports,
        grpc.insecure_channel(f"127.0.0.1:{ports.grpc}") as channel,
    ):
        silent = channel.stream_unary(
            PREDICT_METHOD,
            response_deserializer=predict_pb2.PredictResponse.FromString,
        )
        never = threading.Event()

        def requests():
            never.wait(60)
            yield b""

        started = time.monotonic()
        with pytest.raises(grpc.RpcError) as caught:
            silent(requests(), timeout=50)
        never.set()
    assert caught.value.code() == grpc.StatusCode.CANCELLED
    assert time.monotonic() - started < 30


@pytest.mark.parametrize("silent", [12, 200])
def test_grpc_requests_that_never_come_keep_nobody_waiting(models, monkeypatch, silent):
    """More of them than are read at once."""
    monkeypatch.setattr(rpc, "SHARED_SECONDS", 1.0)
    with (
        served(models) as ports,
        prediction(ports) as stub,
        calls_without_a_message(ports, silent),
    ):
        time.sleep(0.3)
        started = time.monotonic()
        assert stub.Predict(predict_request(audio=[b"abc"]), timeout=30).outputs
        assert time.monotonic() - started < 10


def test_of_too_many_calls_the_one_that_has_waited_for_its_client_longest_ends(models):
    """For ever kept out otherwise is everyone but a client who makes calls and sends nothing."""
    with served(models, limits={"max_rpcs": 8}) as ports, prediction(ports) as stub:
        slow = predict_request("spin", steps=np.full(1, 400_000, np.int32))
        running = [stub.Predict.future(slow, timeout=60) for _ in range(2)]
        time.sleep(0.3)
        for _ in range(3):
            with calls_without_a_message(ports, 40):
                time.sleep(0.1)
                started = time.monotonic()
                assert stub.Predict(predict_request(audio=[b"abc"]), timeout=30).outputs
                assert time.monotonic() - started < 10
        for each in running:  # which waited for the model alone
            assert each.result(60).outputs


def test_refusals_that_are_not_read_keep_nobody_out(models):
    """Calls of no method, over a connection that is not read at all."""
    with served(models, limits={"max_rpcs": 8}) as ports, prediction(ports) as stub:
        assert stub.Predict(predict_request(audio=[b"abc"]), timeout=30).outputs
        with http2_connection(ports) as connection:
            connection.settimeout(1.0)
            with contextlib.suppress(OSError):
                for stream in range(1, 200_000, 2):
                    connection.sendall(http2_frame(1, 5, stream, packed_headers("/no/method")))
            started = time.monotonic()
            assert stub.Predict(predict_request(audio=[b"abc"]), timeout=30).outputs
            assert time.monotonic() - started < 10


def test_of_too_many_grpc_connections_those_without_a_call_are_closed(models):
    spin = predict_request("spin", steps=np.full(1, 1_000_000, np.int32))
    with (
        served(models, limits={"max_connections": 3}) as ports,
        prediction(ports) as busy,
        contextlib.ExitStack() as stack,
    ):
        running = busy.Predict.future(spin, timeout=60)
        time.sleep(0.3)
        oldest = stack.enter_context(http2_connection(ports))
        time.sleep(0.5)  # they are looked at now and then
        for _ in range(2):
            stack.enter_context(http2_connection(ports))
        oldest.settimeout(10)
        with contextlib.suppress(ConnectionResetError):
            while oldest.recv(1000):
                pass
        for _ in range(20):
            stack.enter_context(http2_connection(ports))
            time.sleep(0.05)
        own = [("grpc.use_local_subchannel_pool", 1)]  # a connection of its own
        with grpc.insecure_channel(f"127.0.0.1:{ports.grpc}", own) as channel:
            predict = channel.unary_unary(PREDICT_METHOD)
            request = predict_request(audio=[b"abc"]).SerializeToString()
            assert predict(request, timeout=30, wait_for_ready=True)
        assert running.result(60).outputs


def test_grpc_connections_have_a_limit(models):
    with served(models, limits={"max_connections": 2}) as ports:
        kept = [socket.create_connection(("127.0.0.1", ports.grpc), 10) for _ in range(12)]
        time.sleep(1.0)
        closed = 0
        for connection in kept:
            connection.settimeout(0.2)
            with contextlib.suppress(TimeoutError, OSError):
                closed += not connection.recv(1) or 0
        assert closed >= 8
        for connection in kept:
            connection.close()


@pytest.mark.parametrize(
    ("message", "code"),
    [
        (b"\x0a\xff\xff" + bytes(32 * 2**20), "INVALID_ARGUMENT"),
        (b"\x42\x00" * 2**24, "INVALID_ARGUMENT"),
        (
            predict_request(model="nobody", audio=[bytes(32 * 2**20)]).SerializeToString(),
            "NOT_FOUND",
        ),
        (
            predict_request("no_such", audio=[bytes(32 * 2**20)]).SerializeToString(),
            "FAILED_PRECONDITION",
        ),
    ],
    ids=["no message", "fields", "no model", "no signature"],
)
def test_a_long_message_that_was_refused_is_not_kept(models, message, code):
    """Not even until Python looks for circles of objects."""
    with (
        served(models, limits={"max_request_bytes": 64 * 2**20}) as ports,
        grpc.insecure_channel(f"127.0.0.1:{ports.grpc}") as channel,
    ):
        predict = channel.unary_unary(PREDICT_METHOD)
        held = []
        gc.collect()
        gc.disable()
        try:
            for _ in range(6):
                with pytest.raises(grpc.RpcError) as caught:
                    predict(message, timeout=30)
                assert caught.value.code().name == code
                del caught
                held.append(resident_bytes(os.getpid()))
        finally:
            gc.enable()
    assert held[-1] - held[0] < 3 * len(message)


def http2_frame(kind, flags, stream, content):
    return struct.pack("!I", len(content))[1:] + struct.pack("!BBI", kind, flags, stream) + content


def packed_headers(method=PREDICT_METHOD):
    headers = {
        ":method": "POST",
        ":scheme": "http",
        ":path": method,
        ":authority": "localhost",
        "te": "trailers",
        "content-type": "application/grpc",
    }
    return b"".join(
        b"\0" + b"".join(bytes([len(text)]) + text.encode() for text in header)
        for header in headers.items()
    )


def http2_connection(ports, window=65_535):
    """A connection of HTTP/2, with a window for answers of so many bytes."""
    connection = socket.create_connection(("127.0.0.1", ports.grpc), 10)
    settings = struct.pack("!HI", 4, window)  # SETTINGS_INITIAL_WINDOW_SIZE
    connection.sendall(
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
        + http2_frame(4, 0, 0, settings)
        + http2_frame(4, 1, 0, b"")
    )
    return connection


def calls_without_a_message(ports, calls):
    """A connection with so many calls of Predict, to which nothing is sent."""
    connection = http2_connection(ports)
    for stream in range(1, 2 * calls, 2):
        connection.sendall(http2_frame(1, 4, stream, packed_headers()))
    return connection


def sent_by_a_client_that_does_not_read(ports, message, calls=1):
    """Calls of Predict over a connection whose window for answers is of no bytes."""
    body = struct.pack("!BI", 0, len(message)) + message
    parts = [body[start : start + 16_384] for start in range(0, len(body), 16_384)]
    connection = http2_connection(ports, window=0)
    arriving = connection.makefile("rb")
    for stream in range(1, 2 * calls, 2):
        connection.sendall(
            http2_frame(1, 4, stream, packed_headers())
            + b"".join(http2_frame(0, part is parts[-1], stream, part) for part in parts)
        )
        while (frame := arriving.read(9))[3] != 1:  # until the answer begins, with its headers
            arriving.read(int.from_bytes(frame[:3]))
        arriving.read(int.from_bytes(frame[:3]))
    return connection


def when_answered(is_answered):
    """Waits for it, a minute at most; returns how long it took."""
    started = time.monotonic()
    while not is_answered():
        assert time.monotonic() < started + 60
        time.sleep(0.1)
    return time.monotonic() - started


def test_answers_of_grpc_that_are_not_read_count_among_the_bytes_in_flight(models):
    request = predict_request("half_plus", x=np.zeros(40_000, np.float32))
    size = request.ByteSize()
    limits = {"max_bytes_in_flight": 3 * size, "body_seconds": 6.0}
    batching = {"max_rows": 100_000, "max_batch_size": 100_000}
    with served(models, limits=limits, batching=batching) as ports, prediction(ports) as stub:

        def is_answered():
            try:
                return bool(stub.Predict(request, timeout=30).outputs)
            except grpc.RpcError as error:
                assert error.code() == grpc.StatusCode.UNAVAILABLE
                assert "in flight" in error.details()
                return False

        assert is_answered()
        with sent_by_a_client_that_does_not_read(ports, request.SerializeToString()):
            assert not is_answered()
            when_answered(is_answered)  # in the end it is let go


@pytest.mark.parametrize("is_crowded", [False, True])
def test_who_does_not_read_answers_of_grpc_loses_the_connection(models, monkeypatch, is_crowded):
    """Which gRPC would keep with all that is in it; in time, or at once where others wait."""
    ended = []

    def end_connection(peer):
        ended.append(peer)
        connections.end_connection(peer)

    monkeypatch.setattr(rpc, "end_connection", end_connection)
    limits = {"max_rpcs": 2, "body_seconds": 60.0 if is_crowded else 3.0}
    with served(models, limits=limits) as ports, prediction(ports) as stub:
        request = predict_request(audio=[b"abc"])
        assert stub.Predict(request, timeout=30).outputs
        message = request.SerializeToString()
        with sent_by_a_client_that_does_not_read(ports, message, calls=2) as held:
            own_end = "ipv4:{}:{}".format(*held.getsockname())
            if is_crowded:
                assert stub.Predict(request, timeout=30).outputs
            held.settimeout(20)
            with contextlib.suppress(ConnectionResetError):
                while held.recv(1000):
                    pass
        time.sleep(4.0)  # longer than a client has to read
        assert stub.Predict(request, timeout=30).outputs
        assert set(ended) == {own_end}


@pytest.mark.parametrize(
    ("listens_at", "client_at", "peer"),
    [
        ("127.0.0.1", "127.0.0.1", "ipv4:127.0.0.1:{}"),
        ("::1", "::1", "ipv6:%5B::1%5D:{}"),
        ("::", "127.0.0.1", "ipv4:127.0.0.1:{}"),
    ],
)
def test_one_connection_is_ended(listens_at, client_at, peer):
    family = socket.AF_INET6 if ":" in listens_at else socket.AF_INET
    with contextlib.ExitStack() as opened:
        try:
            listening = opened.enter_context(
                socket.create_server(
                    (listens_at, 0), family=family, dualstack_ipv6=listens_at == "::"
                )
            )
        except (OSError, ValueError) as error:
            pytest.skip(f"this machine has no IPv6: {error}")
        ends = []
        for _ in range(2):
            client = socket.create_connection((client_at, listening.getsockname()[1]), 10)
            ends.append((opened.enter_context(client), opened.enter_context(listening.accept()[0])))
        (ended, _), (kept, at_server) = ends
        open_files = len(os.listdir("/dev/fd"))
        connections.end_connection(peer.format(ended.getsockname()[1]))
        assert ended.recv(1) == b""
        connections.end_connection(peer.format(1))  # nobody's
        assert len(os.listdir("/dev/fd")) == open_files
        at_server.sendall(b"a")
        assert kept.recv(1) == b"a"


def test_calls_at_one_time_have_a_limit(models):
    with served(models, limits={"max_rpcs": 2}) as ports, prediction(ports) as stub:
        slow = predict_request("spin", steps=np.full(1, 400_000, np.int32))
        running = [stub.Predict.future(slow, timeout=60) for _ in range(2)]
        time.sleep(0.3)
        code, _ = refusal(stub.Predict, predict_request(audio=[b"abc"]))
        assert code == grpc.StatusCode.RESOURCE_EXHAUSTED
        for each in running:
            assert each.result(60).outputs
        assert stub.Predict(predict_request(audio=[b"abc"]), timeout=30).outputs
