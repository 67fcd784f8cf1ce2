"""Compiles the pipeline for Vertex AI and Kubeflow Pipelines: the same YAML for both."""

import os
import tempfile
from pathlib import Path
from typing import Any, Final

from google.protobuf import json_format
from google.protobuf.message import Message
from kfp.dsl.structures import RetryPolicy
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
from pipeline.pipeline import EngineOptions, create_pipeline

DATA, DATA_DIGEST, SOUNDS_DIGEST, EPOCHS = "data", "data_digest", "sounds_digest", "epochs"
KUBEFLOW_GPU: Final = "nvidia.com/gpu"
RETRY_SECONDS: Final = 60  # until the first retry; each later one waits twice as long
MOST_RETRY_SECONDS: Final = 3_600
# Lost with the container, where no folder outlives it.
CONTAINER_CHECKPOINTS: Final = "/tmp/swar-checkpoints"
TRAINING: Final = ("Tuner", "Trainer")  # the nodes that get GPUs
ResourceSpec: Final = PipelineDeploymentConfig.PipelineContainerSpec.ResourceSpec


def compile_pipeline(config: Config, path: Path) -> None:
    """Writes the specification of the pipeline; on an error an old file stays as it was.

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
        engine=_engine_options(config),
    )
    in_containers = [node for node in pipeline.components if isinstance(node, BaseComponent)]
    for component in in_containers:
        component.with_platform_config(_resources(engine, component.id))
    runner_config = kubeflow_v2_dag_runner.KubeflowV2DagRunnerConfig(
        default_image=_images(engine), use_pipeline_spec_2_1=True
    )
    job = kubeflow_v2_dag_runner.KubeflowV2DagRunner(runner_config).run(pipeline, write_out=False)
    for component in in_containers:
        # TFX's compiler writes no retry policy.
        task = job["pipelineSpec"]["root"]["dag"]["tasks"][component.id]
        task["retryPolicy"] = _retry_policy(engine, component.id)
    try:
        with new_file(path) as file, tempfile.TemporaryDirectory() as folder:
            written = Path(folder, "pipeline.yaml")
            kubeflow_v2_dag_runner._write_pipeline_spec_to_file(job, None, str(written))
            file.write(written.read_bytes())
    except OSError as error:
        raise SwarError(f"cannot write {path}: {error.strerror}") from error


def run_parameters(config: Config, data: str) -> dict[str, str | int]:
    """The values of the runtime parameters for a folder or manifest of recordings, or a pattern.

    Lists the data and the folders of recorded sounds now. The digests of the lists are part of
    the cache keys, so a new or changed file changes these. Raises SwarError, see
    `list_recordings` and `sounds_digest`.
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


def gpu_type(engine: EngineSettings) -> str:
    """The engine's name of the training's GPUs. Raises SwarError for one that Vertex lacks."""
    if engine.name == "vertex":
        return vertex.gpu_type(engine)
    return engine.training.gpu_type or KUBEFLOW_GPU


def _images(engine: EngineSettings) -> dict[str, str]:
    """The default image, and the training's image for the nodes that train in it."""
    image, training = needed(engine, "image"), engine.training
    images = {kubeflow_v2_dag_runner._DEFAULT_IMAGE_PATH_KEY: image}
    if training.image:
        images |= {node: training.image for node in TRAINING if _trains_itself(engine, node)}
    return images


def _retry_policy(engine: EngineSettings, node_id: str) -> dict[str, Any]:
    policy = RetryPolicy(
        max_retry_count=(engine.training if node_id in TRAINING else engine.tasks).retries,
        backoff_duration=f"{RETRY_SECONDS}s",
        backoff_max_duration=f"{MOST_RETRY_SECONDS}s",
    )
    message: dict[str, Any] = json_format.MessageToDict(policy.to_proto())
    return message


def _trains_itself(engine: EngineSettings, node_id: str) -> bool:
    """Whether the node trains in its own container: not in a custom job, or not at all."""
    in_custom_job = node_id == "Trainer" and engine.training.machine_type is not None
    return node_id in TRAINING and not in_custom_job


def _engine_options(config: Config) -> EngineOptions:
    engine = config.engine
    match engine.name:
        case "vertex":
            return EngineOptions(
                baseline=LatestBlessedModelStrategy,
                checkpoints=_checkpoints(engine),
                gpus=engine.training.gpus,
                vertex_job=vertex.vertex_job(engine, config.name),
                vertex_endpoint=vertex.vertex_endpoint(engine),
            )
        case "kubeflow":
            # Kubeflow's own backend runs containers and importers, but no resolver.
            return EngineOptions(
                baseline=engine.kubeflow.baseline,
                checkpoints=_checkpoints(engine),
                gpus=engine.training.gpus,
            )


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
    if not _trains_itself(engine, node_id):
        return ResourceSpec(cpu_limit=engine.tasks.cpus, memory_limit=engine.tasks.memory_gigabytes)
    resources = ResourceSpec(cpu_limit=training.cpus, memory_limit=training.memory_gigabytes)
    if training.gpus:
        resources.accelerator.type = gpu_type(engine)
        resources.accelerator.count = training.gpus
    return resources
