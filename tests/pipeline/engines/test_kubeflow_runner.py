"""kfp's client against a small stand-in for the API of Kubeflow Pipelines."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest
from google.protobuf import json_format
from kfp.pipeline_spec import pipeline_spec_pb2

from components.errors import SwarError
from components.recordings.sources import data_digest, list_recordings
from components.settings import AugmentationSettings
from components.spectrogram_pair_gen.recorded_sounds import sounds_digest
from pipeline.engines import kubeflow_runner
from tests.pipeline.engines.support_engines import KUBEFLOW, config

pytestmark = pytest.mark.filterwarnings("ignore:This client only works:FutureWarning")


class _Api(BaseHTTPRequestHandler):
    posted: ClassVar[list[tuple[str, Any]]]
    host = ""
    status = 200  # of what is posted

    def do_GET(self) -> None:
        self._answer(200, {})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.posted.append((self.path, body))
        self._answer(self.status, {"experiment_id": "e1", "run_id": "r1"})

    def _answer(self, status: int, body: dict[str, str]) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(json.dumps(body).encode())

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def api() -> Iterator[type[_Api]]:
    class handler(_Api):  # noqa: N801 - a class of its own for each test
        posted: ClassVar[list[tuple[str, Any]]] = []

    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    handler.host = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield handler
    server.shutdown()
    server.server_close()


@pytest.fixture
def data(tmp_path: Path) -> str:
    (tmp_path / "data" / "asha").mkdir(parents=True)
    (tmp_path / "data" / "asha" / "a.wav").write_bytes(b"RIFF")
    return str(tmp_path / "data")


def test_a_run_is_asked_for_with_everything_that_the_settings_say(
    api: type[_Api], data: str
) -> None:
    settings = config(
        *KUBEFLOW,
        f"engine.kubeflow.host={api.host}",
        "engine.kubeflow.experiment=voices",
        "engine.kubeflow.service_account=trainer",
    )
    assert kubeflow_runner.submit(settings, data=data, show=print) == "r1"
    (experiments, experiment), (runs, run) = api.posted
    assert (experiments, experiment["display_name"]) == ("/apis/v2beta1/experiments", "voices")
    assert (runs, run["experiment_id"]) == ("/apis/v2beta1/runs", "e1")
    assert run["service_account"] == "trainer"
    assert run["runtime_config"] == {
        "pipeline_root": "gs://voices/swar/artifacts",
        "parameters": {
            "data": data,
            "data_digest": data_digest(list_recordings(data)),
            "sounds_digest": sounds_digest(AugmentationSettings()),
            "epochs": settings.trainer.epochs,
        },
    }
    spec = json_format.ParseDict(run["pipeline_spec"], pipeline_spec_pb2.PipelineSpec())
    assert "Trainer" in spec.root.dag.tasks


def test_a_refusal_is_one_line(api: type[_Api], data: str) -> None:
    api.status = 403
    with pytest.raises(SwarError, match=r"^Kubeflow refused the run: 403 Forbidden$"):
        kubeflow_runner.submit(
            config(*KUBEFLOW, f"engine.kubeflow.host={api.host}"), data=data, show=print
        )


def test_an_api_that_does_not_answer_is_told(data: str) -> None:
    nowhere = "http://127.0.0.1:9"
    with pytest.raises(SwarError, match=rf"^Kubeflow does not answer at {nowhere}: "):
        kubeflow_runner.submit(
            config(*KUBEFLOW, f"engine.kubeflow.host={nowhere}"), data=data, show=print
        )


def test_without_a_host_nothing_is_compiled(data: str) -> None:
    with pytest.raises(SwarError, match=r"engine\.kubeflow\.host is not set"):
        kubeflow_runner.submit(config(*KUBEFLOW), data=data, show=print)
