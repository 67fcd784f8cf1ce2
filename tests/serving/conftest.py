"""Small endpoints: one without TensorFlow, over gRPC and over REST in turn, and the stand-in."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from serving.client import Client
from tests.serving.support_endpoint import ENDPOINTS, FakeModel

if TYPE_CHECKING:
    from serving.server import Ports


@pytest.fixture
def model(monkeypatch: pytest.MonkeyPatch) -> FakeModel:
    # Its voices are nearer to each other than those of the model that the limits are of.
    monkeypatch.setattr("serving.enrolment_gate.LARGEST_DIFFERENCE_AT_A_CHANGE", 1.3)
    monkeypatch.setattr("serving.enrolment_gate.LARGEST_DIFFERENCE_OF_TURNS", 1.3)
    return FakeModel()


@pytest.fixture(params=ENDPOINTS)
def url(request: pytest.FixtureRequest, model: FakeModel) -> Iterator[str]:
    with ENDPOINTS[request.param](model) as url:
        yield url


@pytest.fixture
def client(url: str) -> Iterator[Client]:
    with Client(url) as client:
        yield client


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of versions with one small model."""
    from tests.serving.support_standin import write_model  # imports TensorFlow

    folder = tmp_path_factory.mktemp("models")
    write_model(folder, 1)
    return folder


@pytest.fixture(scope="module")
def ports(models: Path) -> Iterator["Ports"]:
    """Of a stand-in that serves it."""
    from tests.serving.support_standin import served

    with served(models) as ports:
        yield ports
