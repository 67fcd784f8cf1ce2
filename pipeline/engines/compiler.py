"""Compiles the pipeline for Vertex AI and Kubeflow Pipelines: the same YAML for both."""

import os
import tempfile
from pathlib import Path
from typing import Final

from google.protobuf.message import Message
from kfp.pipeline_spec.pipeline_spec_pb2 import PipelineDeploymentConfig
from tfx.dsl.components.base.base_component import BaseComponent
from tfx.dsl.input_resolution.strategies.latest_blessed_model_strategy import (
    LatestBlessedModelStrategy,
)
from tfx.orchestration.data_types import RuntimeParameter
from tfx.orchestration.kubeflow.v2 import kubeflow_v2_dag_runner

from components.atomic_write import new_file
from components.errors import SwarError
from components.recordings.sources import data_digest, list_recordings
from components.spectrogram_pair_gen.recorded_sounds import sounds_digest
from pipeline.config import Config
from pipeline.engines import vertex
from pipeline.engines.beam_options import engine_beam_arguments
from pipeline.engines.settings import EngineSettings, needed
from pipeline.pipeline import EngineWays, create_pipeline

DATA, DATA_DIGEST, SOUNDS_DIGEST, EPOCHS = "data", "data_digest", "sounds_digest", "epochs"
KUBEFLOW_GPU: Final = "nvidia.com/gpu"
# Lives as long as the container: there is no folder that outlives it.
CONTAINER_CHECKPOINTS: Final = "/tmp/swar-checkpoints"
ResourceSpec: Final = PipelineDeploymentConfig.PipelineContainerSpec.ResourceSpec


def compile_pipeline(config: Config, path: Path) -> None:
    """Writes the specification of the pipeline; the file is complete or the old one.

    Its runtime parameters are those of `run_parameters`, all without a default.

    Raises SwarError: a setting is missing or does not fit, or the file cannot be written.
    """
    engine = config.engine
    pipeline = create_pipeline(
        config,
        data=RuntimeParameter(DATA, ptype=str),
        data_digest=RuntimeParameter(DATA_DIGEST, ptype=str),
        sounds_digest=RuntimeParameter(SOUNDS_DIGEST, ptype=str),
        epochs=RuntimeParameter(EPOCHS, ptype=int),
        output=needed(engine, "root"),
        beam_pipeline_args=engine_beam_arguments(engine),
        ways=_ways(config),
    )
    for component in pipeline.components:
        if isinstance(component, BaseComponent):
            component.with_platform_config(_resources(engine, component.id))
    runner_config = kubeflow_v2_dag_runner.KubeflowV2DagRunnerConfig(
        default_image=needed(engine, "image"), use_pipeline_spec_2_1=True
    )
    try:
        with new_file(path) as file, tempfile.TemporaryDirectory() as folder:
            kubeflow_v2_dag_runner.KubeflowV2DagRunner(
                runner_config, output_dir=folder, output_filename="pipeline.yaml"
            ).run(pipeline)
            file.write(Path(folder, "pipeline.yaml").read_bytes())
    except OSError as error:
        raise SwarError(f"cannot write {path}: {error.strerror}") from error


def run_parameters(config: Config, data: str) -> dict[str, str | int]:
    """The values of the runtime parameters for a folder or manifest of recordings, or a pattern.

    The data, and the folders of recorded sounds, are listed here and now, and the digests of the
    lists are part of the caches' keys: a new file or a changed one makes another digest. Raises
    SwarError, see `list_recordings` and `sounds_digest`.
    """
    data = data if "://" in data else os.path.abspath(data)
    listing = list_recordings(
        data,
        config.speech.rolling_spans,
        follow_outside_links=config.speech.follow_outside_links,
    )
    return {
        DATA: data,
        DATA_DIGEST: data_digest(listing),
        SOUNDS_DIGEST: sounds_digest(config.pairs.augmentation),
        EPOCHS: config.trainer.epochs,
    }


def _ways(config: Config) -> EngineWays:
    engine = config.engine
    match engine.name:
        case "vertex":
            return EngineWays(
                baseline=LatestBlessedModelStrategy,
                checkpoints=_checkpoints(engine),
                vertex_job=vertex.vertex_job(engine, config.name),
                vertex_endpoint=vertex.vertex_endpoint(engine),
            )
        case "kubeflow":
            # Kubeflow's own backend runs containers and importers, but no resolver.
            return EngineWays(baseline=engine.kubeflow.baseline, checkpoints=_checkpoints(engine))


def _checkpoints(engine: EngineSettings) -> str:
    root = needed(engine, "root")
    if "://" not in root:
        return os.path.join(root, "checkpoints")
    if engine.name == "vertex" and root.startswith("gs://"):
        # Vertex mounts the buckets in every container.
        return f"/gcs/{root.removeprefix('gs://')}/checkpoints"
    return CONTAINER_CHECKPOINTS


def _resources(engine: EngineSettings, node_id: str) -> Message:
    training = engine.training
    if node_id != "Trainer" or training.machine_type is not None:
        return ResourceSpec(cpu_limit=engine.tasks.cpus, memory_limit=engine.tasks.memory_gigabytes)
    resources = ResourceSpec(cpu_limit=training.cpus, memory_limit=training.memory_gigabytes)
    if training.gpus:
        default = vertex.GPU_TYPE if engine.name == "vertex" else KUBEFLOW_GPU
        resources.accelerator.type = training.gpu_type or default
        resources.accelerator.count = training.gpus
    return resources
