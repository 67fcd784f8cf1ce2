"""No port of Beam's is open to other machines (the audit's H7 and L12)."""

import contextlib

import grpc
import pytest
from apache_beam.portability.api import beam_fn_api_pb2, beam_fn_api_pb2_grpc
from apache_beam.runners.portability import abstract_job_service, local_job_service
from apache_beam.runners.portability.fn_api_runner import worker_handlers

from components.compat.beam_loopback import WORD, listen_on_loopback
from tests.listening import listening_addresses


class Workers:
    def register_worker_handler(self, handler):
        pass


@contextlib.contextmanager
def worker_server(monkeypatch, **options):
    """Beam's servers for workers, as after `listen_on_loopback(**options)`."""
    for module in (worker_handlers, local_job_service, abstract_job_service):
        monkeypatch.setattr(module, "grpc", grpc)
    if options:
        listen_on_loopback(**options)
    server = worker_handlers.GrpcServer(None, None, Workers())
    try:
        yield server
    finally:
        server.close()


def addresses(monkeypatch, **options):
    before = listening_addresses()
    with worker_server(monkeypatch, **options):
        return [ip for ip, port in listening_addresses() - before]


def test_servers_for_workers_listen_on_loopback(monkeypatch):
    found = addresses(monkeypatch, workers_alone=False)
    assert len(found) >= 4
    assert all(ip.is_loopback for ip in found)


def test_beam_needs_the_change_still(monkeypatch):
    """Where this fails, Beam does it by itself: components/compat/beam_loopback.py can go."""
    assert not all(ip.is_loopback for ip in addresses(monkeypatch))


def answers(port, service, method, metadata, timeout):
    """What comes of a call without a message: the code of the error."""
    with grpc.insecure_channel(f"localhost:{port}") as channel:
        call = getattr(getattr(beam_fn_api_pb2_grpc, f"{service}Stub")(channel), method)
        with pytest.raises(grpc.RpcError) as caught:
            list(call(iter(()), metadata=metadata, timeout=timeout))
    return caught.value.code()


SERVICES = [
    ("control_port", "BeamFnControl", "Control"),
    ("data_port", "BeamFnData", "Data"),
    ("state_port", "BeamFnState", "State"),
    ("logging_port", "BeamFnLogging", "Logging"),
]


@pytest.mark.parametrize(
    "metadata",
    [
        [],
        [("worker_id", "")],
        [("worker_id", "worker_0")],
        [("worker_id", f"worker_0_{'0' * len(WORD)}")],
        [("worker_id", f"worker_0_{WORD[:-1]}")],
        [("worker_id", f"worker_0_{WORD}x")],
        [("worker-id", f"worker_0_{WORD}")],
        [("worker_id", f"worker_0_{WORD}"), ("worker_id", "worker_0")],
    ],
    ids=range(8),
)
def test_who_does_not_know_the_word_is_no_worker(monkeypatch, metadata):
    """Other users of the machine reach its loopback too."""
    refused = {grpc.StatusCode.UNAUTHENTICATED}
    with worker_server(monkeypatch, workers_alone=True) as server:
        for port, service, method in SERVICES:
            assert {answers(getattr(server, port), service, method, metadata, 60)} == refused
        with grpc.insecure_channel(f"localhost:{server.control_port}") as channel:
            describe = beam_fn_api_pb2_grpc.BeamFnControlStub(channel).GetProcessBundleDescriptor
            with pytest.raises(grpc.RpcError) as caught:
                describe(beam_fn_api_pb2.GetProcessBundleDescriptorRequest(), metadata=metadata)
    assert caught.value.code() == grpc.StatusCode.UNAUTHENTICATED


def test_a_worker_is_asked_what_it_waits_for(monkeypatch):
    """It is answered nothing until there is work: the call lasts until its time is over."""
    with worker_server(monkeypatch, workers_alone=True) as server:
        metadata = [("worker_id", f"worker_0_{WORD}")]
        code = answers(server.control_port, "BeamFnControl", "Control", metadata, 2)
    assert code == grpc.StatusCode.DEADLINE_EXCEEDED
