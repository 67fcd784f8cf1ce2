"""How the client gets through to an endpoint, and what it says where it does not."""

import contextlib
import math
import threading
import time
from concurrent import futures

import grpc
import pytest

from components.errors import SwarError
from serving.client import Client
from tests.serving.support_endpoint import (
    ENDPOINTS,
    INVALID,
    NOT_FOUND,
    UNAVAILABLE,
    FakeModel,
    grpc_endpoint,
)


def test_unavailable_is_tried_again(client: Client, model: FakeModel) -> None:
    model.refusals = [UNAVAILABLE, UNAVAILABLE]
    assert client.model_digest() == "model-1"
    assert len(model.calls) == 3


def test_attempts_end(url: str, model: FakeModel) -> None:
    model.refusals = [UNAVAILABLE] * 9
    with Client(url, attempts=3) as client, pytest.raises(SwarError) as raised:
        client.model_digest()
    assert len(model.calls) == 3
    assert url in str(raised.value)
    assert "the model is loading" in str(raised.value)


def test_what_a_server_drops_for_want_of_room_is_sent_again(
    client: Client, model: FakeModel
) -> None:
    """In a flood of calls gRPC cancels what it cannot take, and a stand-in what came slowly."""
    model.refusals = [(grpc.StatusCode.CANCELLED, 408, "The request never came")] * 2
    assert client.model_digest() == "model-1"


def test_a_refusal_is_passed_on_at_once_and_in_one_line(client: Client, model: FakeModel) -> None:
    model.refusals = [INVALID]
    with pytest.raises(SwarError, match=r"input size does not match signature") as raised:
        client.model_digest()
    assert len(model.calls) == 1
    assert "\n" not in str(raised.value)


def test_an_unknown_model_is_named(url: str, model: FakeModel) -> None:
    model.refusals = [NOT_FOUND]
    message = r"model 'other' version 7.*--model-name.*not found"
    with Client(url, model="other", version=7) as client, pytest.raises(SwarError, match=message):
        client.model_digest()
    assert model.asked_for == [("other", 7, None)]


def test_a_label_is_asked_for(url: str, model: FakeModel) -> None:
    with Client(url, label="canary") as client:
        client.model_digest()
    assert model.asked_for == [("swar", None, "canary")]
    with pytest.raises(SwarError, match="not by both"):
        Client(url, version=1, label="canary")


def test_the_deadline_holds(url: str, model: FakeModel) -> None:
    model.pause.clear()
    started = time.monotonic()
    message = r"within 0\.3 s.*--deadline"
    with Client(url, deadline_seconds=0.3) as client, pytest.raises(SwarError, match=message):
        client.model_digest()
    model.pause.set()
    assert time.monotonic() - started < 3.0


@pytest.mark.parametrize("scheme", ["grpc", "http"])
def test_nobody_there_names_the_url_and_the_remedy(scheme: str) -> None:
    url = f"{scheme}://127.0.0.1:9"
    with Client(url, attempts=2) as client, pytest.raises(SwarError) as raised:
        client.model_digest()
    assert str(raised.value).startswith(f"no endpoint answers at {url}: start one with `swar serve")


def test_a_server_that_is_still_not_there_at_the_deadline_is_an_error(url: str) -> None:
    nobody = f"{url.rpartition(':')[0]}:9"
    started = time.monotonic()
    # Of half a second one pause, which is drawn, may be more than is left behind the first attempt.
    with Client(nobody, deadline_seconds=2.0) as client, pytest.raises(SwarError) as raised:
        client.model_digest()
    assert 0.2 < time.monotonic() - started < 5.0
    assert str(raised.value).startswith(f"no endpoint answers at {nobody}")


def test_a_long_wait_is_told_once(
    url: str, model: FakeModel, caplog: pytest.LogCaptureFixture
) -> None:
    model.refusals = [UNAVAILABLE] * 9
    with caplog.at_level("INFO", "swar.progress"), Client(url) as client:
        assert client.model_digest() == "model-1"
    assert caplog.messages in ([], [f"waiting for {url}, for 60 s at most"])
    assert len(model.calls) == 10


def test_a_server_that_starts_late_is_found(model: FakeModel) -> None:
    with grpc_endpoint(FakeModel()) as url:
        port = int(url.rpartition(":")[2])
    with contextlib.ExitStack() as stack, Client(url) as client:
        start = threading.Timer(0.3, lambda: stack.enter_context(grpc_endpoint(model, port)))
        start.start()
        assert client.model_digest() == model.digest
        start.join()


@pytest.mark.parametrize(
    "url",
    ["", "localhost:8500", "grpc://", "grpc://host", "ftp://host", "grpc://host:1/path", "http://"],
)
def test_a_wrong_url_says_what_a_right_one_is(url: str) -> None:
    with pytest.raises(SwarError, match=r"--url .* grpc://HOST:PORT"):
        Client(url)


@pytest.mark.parametrize("scheme", ["grpc", "grpcs", "http", "https"])
def test_a_port_that_there_is_not_is_named(scheme: str) -> None:
    with pytest.raises(SwarError, match=r"--url '.*:99999' is not an endpoint: Port out of range"):
        Client(f"{scheme}://127.0.0.1:99999")


@pytest.mark.parametrize("seconds", [-1.0, math.nan, math.inf, 1e10])
def test_a_deadline_that_no_clock_has_is_refused(seconds: float) -> None:
    with pytest.raises(SwarError, match=r"a deadline of .* s: give one of 0 to 1,000,000 s"):
        Client("http://127.0.0.1:1", deadline_seconds=seconds)


def test_bytes_that_are_no_message_are_refused() -> None:
    server = grpc.server(futures.ThreadPoolExecutor(1))
    handler = grpc.unary_unary_rpc_method_handler(lambda request, context: b"\xff\xff\xff")
    server.add_generic_rpc_handlers(
        [
            grpc.method_handlers_generic_handler(
                "tensorflow.serving.PredictionService", {"Predict": handler}
            )
        ]
    )
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    message = "does not answer 'describe' as a Swar model does"
    with Client(f"grpc://127.0.0.1:{port}") as client, pytest.raises(SwarError, match=message):
        client.model_digest()
    server.stop(0).wait()


@pytest.mark.parametrize(("served", "asked"), [("rest", "grpc"), ("grpc", "http")])
def test_the_wrong_kind_of_server_is_one_clear_line(
    model: FakeModel, served: str, asked: str
) -> None:
    with ENDPOINTS[served](model) as right:
        url = f"{asked}://{right.rpartition('/')[2]}"
        message = f"no endpoint answers at {url}"
        started = time.monotonic()
        with Client(url) as client, pytest.raises(SwarError, match=message):
            client.model_digest()
        assert time.monotonic() - started < 5.0  # nothing to wait for
