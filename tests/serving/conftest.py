"""A small endpoint, over gRPC and over REST in turn, and a client of it."""

from collections.abc import Iterator

import pytest

from serving.client import Client
from tests.serving.support_endpoint import ENDPOINTS, FakeModel


@pytest.fixture
def model() -> FakeModel:
    return FakeModel()


@pytest.fixture(params=ENDPOINTS)
def url(request: pytest.FixtureRequest, model: FakeModel) -> Iterator[str]:
    with ENDPOINTS[request.param](model) as url:
        yield url


@pytest.fixture
def client(url: str) -> Iterator[Client]:
    with Client(url) as client:
        yield client
