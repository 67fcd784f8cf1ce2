"""The server as a whole: concurrency, bad clients, ports, signals."""

import asyncio
import concurrent.futures
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import aiohttp
import numpy as np
import pytest

from components.errors import SwarError
from serving import server
from tests.serving.support_standin import call, call_raw, served

PREDICT = "/v1/models/swar:predict"
ROOT = Path(__file__).resolve().parents[2]


async def post(session, ports, body):
    async with session.post(f"http://127.0.0.1:{ports.rest}{PREDICT}", json=body) as answer:
        return answer.status, await answer.json()


def test_concurrent_requests_share_batches(models):
    async def work(ports):
        async with aiohttp.ClientSession() as session:
            bodies = [{"signature_name": "batch_rows", "instances": [i]} for i in range(16)]
            return await asyncio.gather(*(post(session, ports, body) for body in bodies))

    with served(models, batching={"max_batch_size": 4, "batch_timeout_micros": 500_000}) as ports:
        answers = asyncio.run(work(ports))
    assert answers == [(200, {"predictions": [4]})] * 16


def test_answers_go_to_those_who_asked(ports):
    async def work():
        rng = np.random.default_rng(0)
        async with aiohttp.ClientSession() as session:
            asked = [rng.integers(0, 1000, rng.integers(1, 12)).tolist() for _ in range(200)]
            bodies = [{"signature_name": "half_plus", "instances": values} for values in asked]
            answers = await asyncio.gather(*(post(session, ports, body) for body in bodies))
            return asked, answers

    asked, answers = asyncio.run(work())
    for values, (status, answer) in zip(asked, answers, strict=True):
        assert status == 200
        assert answer["predictions"] == [value / 2 + 1 for value in values]


def test_bad_requests_do_not_fail_good_ones(ports):
    async def work():
        async with aiohttp.ClientSession() as session:
            texts = ["one" if i % 3 == 0 else str(i) for i in range(48)]
            bodies = [{"signature_name": "number", "instances": [text]} for text in texts]
            return texts, await asyncio.gather(*(post(session, ports, body) for body in bodies))

    texts, answers = asyncio.run(work())
    for text, (status, answer) in zip(texts, answers, strict=True):
        if text == "one":
            assert status == 400
        else:
            assert (status, answer) == (200, {"predictions": [float(text)]})


def half_a_request(ports):
    connection = socket.create_connection(("127.0.0.1", ports.rest), 10)
    head = f"POST {PREDICT} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n"
    connection.sendall(head.encode() + b'{"instances": ["')
    return connection


def test_a_slow_client_keeps_nobody_waiting(ports):
    with half_a_request(ports):
        started = time.monotonic()
        assert call(ports, PREDICT, {"instances": ["abc"]})[0] == 200
        assert time.monotonic() - started < 5


def test_a_client_that_stalls_is_sent_away(models):
    with served(models, limits={"body_seconds": 0.1}) as ports, half_a_request(ports) as connection:
        connection.settimeout(10)
        assert connection.recv(100).startswith(b"HTTP/1.1 408")


def test_a_client_that_goes_away_is_dropped(models):
    with served(models, batching={"num_batch_threads": 1, "max_batch_size": 1}) as ports:
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            slow = {"signature_name": "spin", "instances": [100_000]}
            first = pool.submit(call, ports, PREDICT, slow)
            time.sleep(0.1)
            connection = socket.create_connection(("127.0.0.1", ports.rest), 10)
            body = b'{"instances": ["abc"]}'
            head = (
                f"POST {PREDICT} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n"
            )
            connection.sendall(head.encode() + body)
            time.sleep(0.1)
            connection.close()
            assert first.result(60)[0] == 200
        metrics = call_raw(ports, "/monitoring/prometheus/metrics")[1].decode()
    assert 'status="OK"} 1' in metrics
    assert 'status="CANCELLED"} 1' in metrics


def test_status_answers_while_the_model_is_busy(ports):
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        slow = {"signature_name": "spin", "instances": [100_000]}
        busy = [pool.submit(call, ports, PREDICT, slow) for _ in range(2)]
        time.sleep(0.1)
        started = time.monotonic()
        assert call(ports, "/v1/models/swar")[0] == 200
        assert time.monotonic() - started < 0.5
        assert not any(future.done() for future in busy)
        assert [future.result(60)[0] for future in busy] == [200, 200]


def test_stopping_finishes_the_requests(models):
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        with served(models) as ports:
            slow = {"signature_name": "spin", "instances": [100_000]}
            answer = pool.submit(call, ports, PREDICT, slow)
            time.sleep(0.2)
            assert not answer.done()
        assert answer.result(1) == (200, {"predictions": [100_000]})


@pytest.mark.parametrize("which", ["rest_port", "grpc_port"])
def test_a_port_that_is_taken(models, which):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        others = {"rest_port": 0, "grpc_port": 0, which: port}
        with pytest.raises(SwarError, match=f"{port}.*another port"):
            server.serve(server.ServerSettings(models, **others))


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_it_after_its_requests(models, number):
    program = (sys.executable, "-c", "from pipeline.cli import main; main()")
    any_port = ("--rest-port", "0", "--grpc-port", "0")
    process = subprocess.Popen(
        [*program, "serve", str(models), *any_port], stderr=subprocess.PIPE, text=True, cwd=ROOT
    )
    assert process.stderr is not None
    watchdog = threading.Timer(120, process.kill)
    watchdog.start()
    try:
        assert process.stderr.readline() == f"warming up {models}\n"
        assert "has no assets.extra/SHA256SUMS" in process.stderr.readline()
        line = process.stderr.readline()  # nothing of TensorFlow's between them
        assert "serving swar at http://" in line and "stand-in for TensorFlow Serving" in line
        rest = int(line.split("http://127.0.0.1:")[1].split()[0])
        ports = server.Ports(rest, 0)
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            slow = {"signature_name": "spin", "instances": [100_000]}
            answer = pool.submit(call, ports, PREDICT, slow)
            time.sleep(0.2)
            os.kill(process.pid, number)
            assert answer.result(60) == (200, {"predictions": [100_000]})
        rest_of_log = process.stderr.read()
        assert process.wait(60) == 0
        assert "stopping" in rest_of_log
        assert "Traceback" not in rest_of_log
    finally:
        watchdog.cancel()
        process.kill()
        process.wait()
