"""No port of Beam's is open to other machines (the audit's H7 and L12)."""

import grpc
from apache_beam.runners.portability import abstract_job_service, local_job_service
from apache_beam.runners.portability.fn_api_runner import worker_handlers

from components.compat.beam_loopback import listen_on_loopback
from tests.listening import listening_addresses


class Workers:
    def register_worker_handler(self, handler):
        pass


def addresses(monkeypatch, *, patched):
    before = listening_addresses()
    for module in (worker_handlers, local_job_service, abstract_job_service):
        monkeypatch.setattr(module, "grpc", grpc)
    if patched:
        listen_on_loopback()
    server = worker_handlers.GrpcServer(None, None, Workers())
    try:
        return [ip for ip, port in listening_addresses() - before]
    finally:
        server.close()


def test_servers_for_workers_listen_on_loopback(monkeypatch):
    found = addresses(monkeypatch, patched=True)
    assert len(found) >= 4
    assert all(ip.is_loopback for ip in found)


def test_beam_needs_the_change_still(monkeypatch):
    """Where this fails, Beam does it by itself: components/compat/beam_loopback.py can go."""
    assert not all(ip.is_loopback for ip in addresses(monkeypatch, patched=False))
