"""The request that would go to Vertex AI, made by Google's client and not sent."""

from typing import Any

import google.auth
import pytest
from google.api_core.exceptions import PermissionDenied
from google.auth.credentials import AnonymousCredentials
from google.auth.exceptions import DefaultCredentialsError
from google.cloud import aiplatform_v1
from google.cloud.aiplatform.utils import gcs_utils
from google.protobuf import json_format
from kfp.pipeline_spec import pipeline_spec_pb2

from components.errors import SwarError
from pipeline.engines import compiler, vertex_runner
from tests.pipeline.engines.support_engines import VERTEX, config

NOISY = ("pairs.augmentation.noise_probability=0.5",)
LISTED = {
    "data": "gs://voices/data",
    "data_digest": "d" * 64,
    "sounds_digest": "s" * 64,
    "epochs": 4,
}


@pytest.fixture(autouse=True)
def _no_bucket(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vertex_runner, "run_parameters", lambda *_: LISTED)
    monkeypatch.setattr(
        gcs_utils, "create_gcs_bucket_for_pipeline_artifacts_if_it_does_not_exist", lambda **_: None
    )


@pytest.fixture
def requests(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What create_pipeline_job is called with; afterwards its answer is raised, if one is."""
    asked: list[dict[str, Any]] = []

    def create(_: object, **request: Any) -> aiplatform_v1.PipelineJob:
        asked.append(request)
        answer = request["pipeline_job"]
        answer.name = f"{request['parent']}/pipelineJobs/{request['pipeline_job_id']}"
        return answer

    monkeypatch.setattr(aiplatform_v1.PipelineServiceClient, "create_pipeline_job", create)
    monkeypatch.setattr(google.auth, "default", lambda _: (AnonymousCredentials(), None))
    return asked


def test_a_run_is_asked_for_with_everything_that_the_settings_say(
    requests: list[dict[str, Any]],
) -> None:
    page = vertex_runner.submit(config(*VERTEX), data="gs://voices/data", show=print)
    (request,) = requests
    assert request["parent"] == "projects/voice-project/locations/europe-west4"
    job = request["pipeline_job"]
    assert isinstance(job, aiplatform_v1.PipelineJob)
    assert job.display_name == "swar-demo"
    assert job.service_account.startswith("trainer@")
    assert (job.labels["team"], job.labels["cost"]) == ("voice", "research")
    assert job.runtime_config.gcs_output_directory == "gs://voices/swar/artifacts"
    assert dict(job.runtime_config.parameter_values) == LISTED
    sent = aiplatform_v1.PipelineJob.to_dict(job)["pipeline_spec"]
    spec = json_format.ParseDict(sent, pipeline_spec_pb2.PipelineSpec())
    assert set(spec.root.input_definitions.parameters) == set(LISTED)
    assert page.startswith("https://console.cloud.google.com/vertex-ai/")


def test_what_will_be_paid_for_is_shown_before_it_is_sent(
    requests: list[dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    settings = (
        *VERTEX,
        "engine.training.gpus=2",
        "engine.training.gpu_type=NVIDIA_L4",
        "tuner.trials=3",
    )
    vertex_runner.submit(config(*settings), data="gs://voices/data", show=print)
    shown = dict(line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines())
    image = config(*settings).engine.image
    assert shown["training"] == f"8 CPUs, 32 GB, 2 x NVIDIA_L4, 2 retries, {image}"
    assert shown["steps"] == f"4 CPUs, 16 GB, 2 retries, {image}"
    assert shown["search"] == "3 trials of 3 epochs, as training"
    assert shown["engine"] == "Vertex AI, voice-project, europe-west4"
    assert shown["labels"] == "team=voice, cost=research"
    assert shown["published"] == "gs://voices/swar/published"
    assert {name: shown[name] for name in LISTED} == {
        name: str(value) for name, value in LISTED.items()
    }


@pytest.mark.parametrize(
    ("settings", "data", "message"),
    [
        ((*VERTEX, "engine.root=/mnt"), "gs://d", r"engine\.root '/mnt' must lie in a bucket"),
        (VERTEX, "/data", r"the data '/data' must lie in a bucket"),
        (
            (*VERTEX, *NOISY, "pairs.augmentation.noise_folder=/noise"),
            "gs://d",
            r"pairs\.augmentation\.noise_folder '/noise' must lie in a bucket",
        ),
    ],
)
def test_what_vertex_does_not_reach_is_told(
    settings: tuple[str, ...], data: str, message: str
) -> None:
    with pytest.raises(SwarError, match=message):
        vertex_runner.submit(config(*settings), data=data, show=print)


def test_a_refusal_is_one_line(
    requests: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionDenied("no")

    monkeypatch.setattr(aiplatform_v1.PipelineServiceClient, "create_pipeline_job", refuse)
    with pytest.raises(SwarError, match=r"^Vertex refused the run: 403 no$"):
        vertex_runner.submit(config(*VERTEX), data="gs://voices/data", show=print)


def test_without_credentials_one_line_says_how_to_get_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def none(_: object) -> None:
        raise DefaultCredentialsError("none")

    monkeypatch.setattr(google.auth, "default", none)
    with pytest.raises(SwarError, match="gcloud auth application-default login"):
        vertex_runner.submit(config(*VERTEX), data="gs://voices/data", show=print)


def test_the_values_are_those_of_the_listing() -> None:
    assert set(LISTED) == {
        compiler.DATA,
        compiler.DATA_DIGEST,
        compiler.SOUNDS_DIGEST,
        compiler.EPOCHS,
    }
