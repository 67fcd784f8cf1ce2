"""What Beam itself makes of the arguments."""

import pytest
from apache_beam.options import pipeline_options as beam_options
from apache_beam.options.pipeline_options_validator import PipelineOptionsValidator
from apache_beam.runners.dataflow.dataflow_runner import DataflowRunner
from apache_beam.runners.portability.portable_runner import PortableRunner
from apache_beam.transforms import environments
from tfx.utils import dependency_utils

from components.errors import SwarError
from pipeline.engines.beam_options import engine_beam_arguments
from pipeline.local.beam import beam_arguments
from tests.pipeline.engines.support_engines import COMMON, GOOGLE, IMAGE, VERTEX, config

DATAFLOW = (*VERTEX, "engine.beam.runner=dataflow")
FLINK = (
    *COMMON,
    "engine.beam.runner=portable",
    "engine.beam.portable.job_endpoint=flink-jobserver:8099",
)
SPARK = (
    *COMMON,
    "engine.beam.runner=portable",
    "engine.beam.portable.job_endpoint=spark-jobserver:8099",
    "engine.beam.portable.worker_pool=localhost:50000",
)


def _arguments(*settings: str) -> list[str]:
    return engine_beam_arguments(config(*settings).engine)


def _options(arguments: list[str]) -> beam_options.PipelineOptions:
    return beam_options.PipelineOptions(arguments)


def test_dataflow_takes_every_option() -> None:
    arguments = _arguments(*DATAFLOW, "engine.beam.dataflow.max_workers=7")
    # A dry run: Beam would ask the bucket for its policy otherwise.
    options = _options([*arguments, "--job_name=swar", "--dry_run=True"])
    assert PipelineOptionsValidator(options, DataflowRunner()).validate() == []
    result = options.get_all_options(drop_default=True)
    assert result["runner"] == "DataflowRunner"
    assert (result["project"], result["region"]) == ("voice-project", "europe-west4")
    assert (result["temp_location"], result["staging_location"]) == (
        "gs://voices/swar/beam/temp",
        "gs://voices/swar/beam/staging",
    )
    assert (result["autoscaling_algorithm"], result["max_num_workers"]) == ("THROUGHPUT_BASED", 7)
    assert (result["machine_type"], result["disk_size_gb"]) == ("n1-standard-2", 50)
    assert (result["sdk_container_image"], result["sdk_location"]) == (IMAGE, "container")
    assert result["service_account_email"].startswith("trainer@")
    assert result["labels"] == ["team=voice", "cost=research"]
    assert result["beam_plugins"] == ["components.compat.beam_worker"]
    assert {argument.partition("=")[0].removeprefix("--") for argument in arguments} - set(
        result
    ) == {"worker_machine_type", "beam_plugin"}  # Beam's other names of two that are above


def test_dataflow_with_an_image_of_its_own_and_a_setup_file() -> None:
    image = f"registry.example/beam@sha256:{'cd' * 32}"
    result = _options(
        _arguments(
            *DATAFLOW,
            f"engine.beam.dataflow.sdk_container_image={image}",
            "engine.beam.dataflow.setup_file=/opt/swar/setup.py",
        )
    ).get_all_options(drop_default=True)
    assert (result["sdk_container_image"], result["setup_file"]) == (image, "/opt/swar/setup.py")


@pytest.mark.parametrize(
    ("settings", "job_server", "urn", "payload"),
    [
        (FLINK, "flink-jobserver:8099", "beam:env:docker:v1", IMAGE.encode()),
        (SPARK, "spark-jobserver:8099", "beam:env:external:v1", b"localhost:50000"),
    ],
)
def test_flink_and_spark_get_a_job_server_and_workers(
    settings: tuple[str, ...], job_server: str, urn: str, payload: bytes
) -> None:
    options = _options(_arguments(*settings))
    portable = options.view_as(beam_options.PortableOptions)
    assert PipelineOptionsValidator(options, PortableRunner()).validate() == []
    assert portable.job_endpoint == job_server
    environment = environments.Environment.from_options(portable).to_runner_api(None)
    assert environment.urn == urn
    assert payload in environment.payload


@pytest.mark.parametrize("settings", [COMMON, DATAFLOW, FLINK, SPARK])
def test_tfx_does_not_pack_itself_up_for_workers_that_have_it(settings: tuple[str, ...]) -> None:
    arguments = _arguments(*settings)
    assert dependency_utils.make_beam_dependency_flags(list(arguments)) == arguments


@pytest.mark.parametrize("workers", [1, 2])
def test_nor_for_the_processes_of_this_machine(workers: int) -> None:
    arguments = beam_arguments(workers)
    assert dependency_utils.make_beam_dependency_flags(list(arguments)) == arguments


def test_in_the_tasks_container_beam_is_what_it_is_here() -> None:
    assert _arguments(*COMMON) == beam_arguments(1)
    assert "--direct_num_workers=4" in _arguments(*COMMON, "engine.beam.task_workers=4")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (("engine.beam.runner=dataflow", *GOOGLE), r"engine\.root is not set"),
        ((*DATAFLOW, "engine.root=/mnt/swar"), "no gs://"),
        ((*COMMON, "engine.beam.runner=dataflow"), r"engine\.google\.project is not set"),
        ((*COMMON, "engine.beam.runner=portable"), r"job_endpoint is not set: .*job server"),
    ],
)
def test_what_is_missing_is_told(settings: tuple[str, ...], message: str) -> None:
    with pytest.raises(SwarError, match=message):
        _arguments(*settings)
