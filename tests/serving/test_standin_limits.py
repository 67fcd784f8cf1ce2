"""What the stand-in holds at most, and whom it answers: the audit's H3, M1, M2, L1 and L7."""

import asyncio
import contextlib
import http.client
import json
import os
import resource
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
import tensorflow as tf
from tensorflow_serving.apis import (
    model_management_pb2,
    model_service_pb2_grpc,
)

from components.errors import SwarError
from pipeline import cli
from serving import server
from serving.server import ServerSettings, serve
from serving.standin.batcher import Batcher, Batching
from serving.standin.hosts import check_host, is_own_name
from serving.standin.limits import Limits
from serving.standin.servable import Servable
from tests.serving.support_standin import (
    PREDICT,
    call,
    post,
    predict_request,
    prediction,
    refusal,
    served,
)

ROOT = Path(__file__).resolve().parents[2]


def test_an_empty_queue_has_the_bound_too(models):
    async def work():
        servable = Servable(1, models / "1")
        signature = servable.signature("half_plus")
        with contextlib.closing(servable), contextlib.closing(Batcher(Batching(4, 0, 1, 8))) as run:
            await run.run(servable, signature, {"x": np.zeros(9, np.float32)})

    with pytest.raises(tf.errors.InvalidArgumentError, match=r"size 9 is larger .* 8"):
        asyncio.run(work())


@pytest.mark.parametrize("sent", [b"", b"P", b"POST / HTTP/1.1\r\nHost: localhost\r\nX: "])
def test_a_silent_connection_is_closed(models, sent):
    with (
        served(models, limits={"idle_seconds": 0.3}) as ports,
        socket.create_connection(("127.0.0.1", ports.rest), 10) as connection,
    ):
        connection.sendall(sent)
        started = time.monotonic()
        connection.settimeout(10)
        assert connection.recv(100) == b""
        assert time.monotonic() - started < 5


@pytest.mark.parametrize("sent", [b"", b"POST ", b"whole", b"half"])
def test_of_too_many_connections_the_one_that_has_waited_longest_is_closed(models, sent):
    """Whatever it waits for: a request, the rest of one, or the next."""
    head = b"Host: localhost\r\nContent-Length: 20\r\n\r\n"
    opened = {
        b"whole": b"GET /v1/models/swar HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"half": b"POST " + PREDICT.encode() + b" HTTP/1.1\r\n" + head,
    }
    spin = {"signature_name": "spin", "instances": [600_000]}
    with (
        served(models, limits={"max_connections": 3}) as ports,
        contextlib.closing(http.client.HTTPConnection("127.0.0.1", ports.rest, timeout=60)) as busy,
        contextlib.ExitStack() as stack,
    ):
        busy.request("POST", PREDICT, json.dumps(spin))
        time.sleep(0.3)
        kept = []
        for _ in range(6):
            kept.append(
                stack.enter_context(socket.create_connection(("127.0.0.1", ports.rest), 10))
            )
            kept[-1].sendall(opened.get(sent, sent))
            time.sleep(0.1)
        assert call(ports, "/v1/models/swar")[0] == 200
        for connection in kept[:-2]:
            connection.settimeout(10)
            with contextlib.suppress(ConnectionResetError):
                while connection.recv(1000):
                    pass
        assert busy.getresponse().status == 200  # it waited for the model


def test_fewer_connections_where_fewer_files_may_be_open(monkeypatch):
    raised = []
    monkeypatch.setattr(resource, "setrlimit", lambda which, limits: raised.append(limits))
    monkeypatch.setattr(resource, "getrlimit", lambda which: (256, 256))
    assert Limits().affordable_connections() == 42
    raised.clear()
    monkeypatch.setattr(resource, "getrlimit", lambda which: (256, 4096))
    assert Limits().affordable_connections() == 256
    assert raised == [(896, 4096)]


def half_posted(ports, size):
    connection = socket.create_connection(("127.0.0.1", ports.rest), 10)
    head = f"POST {PREDICT} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {size + 1}\r\n\r\n"
    connection.sendall(head.encode() + b" " * size)
    return connection


def test_bodies_in_flight_have_a_bound_over_both_interfaces(models):
    limits = {"max_bytes_in_flight": 2_000_000, "body_seconds": 1.0}
    with served(models, limits=limits) as ports, prediction(ports) as stub:
        held = [half_posted(ports, 950_000) for _ in range(2)]
        time.sleep(0.3)
        status, answer = call(ports, PREDICT, b" " * 900_000)
        assert status == 503
        assert "in flight" in answer["error"]
        code, details = refusal(stub.Predict, predict_request(audio=[b"a" * 900_000]))
        assert code == grpc.StatusCode.UNAVAILABLE
        assert "in flight" in details
        # What is short finds room, and what is held is given back.
        assert call(ports, PREDICT, {"instances": ["abc"]})[0] == 200
        time.sleep(1.5)
        assert stub.Predict(predict_request(audio=[b"a" * 900_000]), timeout=30).outputs
        for connection in held:
            connection.close()


def test_bodies_that_never_end_keep_nobody_out(models, monkeypatch):
    """They hold all the bytes there are: the one that has been sent for longest gives way."""
    monkeypatch.setattr(server, "SHARED_SECONDS", 1.0)
    with served(models, limits={"max_bytes_in_flight": 2_000_000}) as ports:
        held = [half_posted(ports, 950_000) for _ in range(2)]
        time.sleep(1.2)
        status, answer = call(ports, PREDICT, b" " * 900_000)
        assert status == 400
        assert "JSON" in answer["error"]
        first, second = held
        first.settimeout(10)
        assert b" 408 " in first.recv(1000)
        second.setblocking(False)
        with pytest.raises(BlockingIOError):
            second.recv(1)
        for connection in held:
            connection.close()


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Host": "evil.example"}, 403),
        ({"Host": "127.0.0.1.evil.example"}, 403),
        ({"Host": "evil.example:8501"}, 403),
        ({"Host": "[::1"}, 403),
        ({"Host": "127.0.0.1", "Origin": "http://evil.example"}, 403),
        ({"Host": "127.0.0.1", "Origin": "null", "Content-Type": "text/plain"}, 403),
        ({"Host": "localhost:8501"}, 200),
        ({"Host": "[::1]:8501"}, 200),
        ({"Host": "192.0.2.7"}, 200),
        ({"Host": "swar.corp"}, 200),
    ],
)
def test_other_hosts_and_web_sites_are_refused(models, headers, status):
    with served(models, public_hosts=["Swar.Corp"]) as ports:
        assert post(ports, b'{"instances": ["abc"]}', headers)[0] == status


def test_names_that_stand_for_this_machine():
    assert is_own_name("127.0.0.1:8501", ())
    assert is_own_name("localhost", ())
    assert not is_own_name("", ())
    assert not is_own_name("localhost.evil.example", ())
    assert not is_own_name("0x7f.1", ())


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.7", "swar.corp", ""])
def test_the_network_needs_a_word_of_consent(tmp_path, host):
    with pytest.raises(SwarError, match="--open-to-network"):
        serve(ServerSettings(tmp_path, host=host))
    check_host(host, is_open_to_network=True)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.2", "::1", "localhost"])
def test_loopback_needs_none(host):
    check_host(host, is_open_to_network=False)


def test_serve_has_options_for_it(models, monkeypatch):
    settings: list[Any] = []
    monkeypatch.setattr(server, "serve", lambda given, **_: settings.append(given))
    options = ["--open-to-network", "--public-host", "swar.corp", "--allow-reload"]
    for given in ([], options):
        ports = ["--rest-port", "0", "--grpc-port", "0"]
        monkeypatch.setattr(sys, "argv", ["swar", "serve", str(models), *ports, *given])
        with pytest.raises(SystemExit):
            cli.main()
    closed, opened = settings
    assert (closed.open_to_network, closed.public_hosts, closed.allow_reload) == (False, (), False)
    assert (opened.open_to_network, opened.public_hosts) == (True, ("swar.corp",))
    assert opened.allow_reload


def reload_request(labels, base_path=""):
    request = model_management_pb2.ReloadConfigRequest()
    config = request.config.model_config_list.config.add(name="swar", base_path=base_path)
    for label in labels:
        config.version_labels[label] = 1
    return request


def reloaded(ports, request):
    with grpc.insecure_channel(f"127.0.0.1:{ports.grpc}") as channel:
        method = model_service_pb2_grpc.ModelServiceStub(channel).HandleReloadConfigRequest
        return refusal(method, request)


def test_labels_cannot_be_moved_unless_that_is_allowed(ports):
    code, details = reloaded(ports, reload_request(["stable"]))
    assert code == grpc.StatusCode.PERMISSION_DENIED
    assert "--allow-reload" in details


def test_a_reload_names_no_other_folder_and_no_flood_of_labels(models):
    with served(models, allow_reload=True) as ports:
        for request, told in (
            (reload_request(["stable"], "/etc"), "base_path"),
            (reload_request(map(str, range(10_000))), "more than 16 labels"),
        ):
            code, details = reloaded(ports, request)
            assert code == grpc.StatusCode.INVALID_ARGUMENT
            assert told in details


SERVE = (
    "import sys; from pathlib import Path; from serving.server import ServerSettings, serve; "
    "from serving.standin.limits import Limits; "
    "serve(ServerSettings(Path(sys.argv[1]), rest_port=0, grpc_port=0, grace_seconds=2.0))"
)


@contextlib.contextmanager
def process(models, *, files=None):
    """A stand-in in a process of its own: (process, its REST port, its log's lines)."""
    before = (lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))) if files else None
    started = subprocess.Popen(
        [sys.executable, "-c", SERVE, str(models)],
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        preexec_fn=before,
    )
    watchdog = threading.Timer(120, started.kill)
    watchdog.start()
    lines: list[str] = []
    log = started.stderr
    try:
        assert log is not None
        for line in log:
            if "http://" in line:
                break
        rest = int(line.split("http://127.0.0.1:")[1].split()[0])
        reading = threading.Thread(target=lambda: lines.extend(log), daemon=True)
        reading.start()
        yield started, rest, lines
    finally:
        watchdog.cancel()
        started.kill()
        started.wait()


@pytest.mark.slow
def test_it_stops_within_its_grace_period_whatever_runs(models):
    with process(models) as (started, rest, lines):
        connection = http.client.HTTPConnection("127.0.0.1", rest, timeout=30)
        body = json.dumps({"signature_name": "spin", "instances": [2_000_000_000]})
        connection.request("POST", PREDICT, body)
        time.sleep(1.0)
        begun = time.monotonic()
        os.kill(started.pid, signal.SIGTERM)
        started.wait(30)
        assert time.monotonic() - begun < 6
        connection.close()
    assert not any("Traceback" in line for line in lines)


def _answers_within_seconds(port, seconds):
    """Whether it answers; while it has not noticed that others have gone, it may refuse."""
    ends_at = time.monotonic() + seconds
    while time.monotonic() < ends_at:
        with contextlib.suppress(OSError, http.client.HTTPException):
            client = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
            client.request("GET", "/v1/models/swar")
            return client.getresponse().status == 200
        time.sleep(0.5)
    return False


@pytest.mark.slow
def test_more_connections_than_files_neither_stop_it_nor_fill_its_log(models):
    with process(models, files=256) as (_, rest, lines):
        held = []
        for _ in range(300):
            with contextlib.suppress(OSError):
                held.append(socket.create_connection(("127.0.0.1", rest), 10))
                held[-1].sendall(b"P")
        time.sleep(3.0)
        for connection in held[::2]:
            connection.close()
        assert _answers_within_seconds(rest, 20.0)
        assert sum(map(len, lines)) < 2_000
        for each in held:
            each.close()
