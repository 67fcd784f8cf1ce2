"""Settings of engines that no test reaches, and what is compiled for them."""

from pathlib import Path

from google.protobuf import json_format
from kfp.pipeline_spec.pipeline_spec_pb2 import PipelineDeploymentConfig, PipelineSpec

from pipeline.config import Config, load_config
from pipeline.engines.compiler import compile_pipeline
from tests.harness.engine import read_spec

IMAGE = f"registry.example/swar@sha256:{'ab' * 32}"
COMMON = ("engine.image=" + IMAGE, "engine.root=gs://voices/swar")
GOOGLE = (
    "engine.google.project=voice-project",
    "engine.google.region=europe-west4",
    "engine.google.service_account=trainer@voice-project.iam.gserviceaccount.com",
    "engine.google.labels=[team=voice, cost=research]",
)
VERTEX = (*COMMON, *GOOGLE)
KUBEFLOW = (*COMMON, "engine.name=kubeflow")


def compiled(folder: Path, *settings: str) -> PipelineSpec:
    """The specification of the demo with these settings."""
    return compiled_of(config(*settings), folder)


def compiled_of(settings: Config, folder: Path) -> PipelineSpec:
    path = folder / "pipeline.yaml"
    compile_pipeline(settings, path)
    return read_spec(path)


def config(*settings: str) -> Config:
    return load_config("demo", settings)


def executors(spec: PipelineSpec) -> dict[str, PipelineDeploymentConfig.ExecutorSpec]:
    """What runs each component, by its name."""
    deployment = json_format.ParseDict(
        json_format.MessageToDict(spec.deployment_spec),
        PipelineDeploymentConfig(),
    )
    return {
        label.removesuffix("_executor"): executor
        for label, executor in deployment.executors.items()
    }


def constant(spec: PipelineSpec, task: str, parameter: str) -> str:
    """A parameter's constant value."""
    given = spec.root.dag.tasks[task].inputs.parameters[parameter]
    return str(given.runtime_value.constant.string_value)
