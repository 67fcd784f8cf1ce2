"""The custom configs of TFX's Vertex components."""

import json
from typing import Any, Final

from google.cloud.aiplatform_v1 import AcceleratorType, CustomJobSpec
from google.protobuf import json_format
from tfx.extensions.google_cloud_ai_platform import constants
from tfx.extensions.google_cloud_ai_platform.trainer.executor import TRAINING_ARGS_KEY

from components.errors import SwarError
from pipeline.engines.settings import EngineSettings, needed

DEFAULT_GPU_TYPE: Final = "NVIDIA_TESLA_T4"


def gpu_type(engine: EngineSettings) -> str:
    """The GPU's name. Raises SwarError for one that Vertex does not have."""
    name = engine.training.gpu_type or DEFAULT_GPU_TYPE
    # TPUs are not GPUs: the Trainer would fail when it counts GPUs.
    known = [kind.name for kind in AcceleratorType if kind.name.startswith("NVIDIA_")]
    if name not in known:
        raise SwarError(
            f"engine.training.gpu_type {name!r} is no GPU of Vertex AI: name one of "
            f"{', '.join(known)}"
        )
    return name


def vertex_job(engine: EngineSettings, display_name: str) -> dict[str, Any] | None:
    """The Trainer's custom config; None if it trains in its own container.

    Raises SwarError for settings that a custom job does not accept.
    """
    training, google = engine.training, engine.google
    if training.machine_type is None:
        return None
    machine: dict[str, Any] = {"machine_type": training.machine_type}
    if training.gpus:
        machine["accelerator_type"] = gpu_type(engine)
        machine["accelerator_count"] = training.gpus
    pool = {
        "machine_spec": machine,
        "replica_count": 1,
        "container_spec": {"image_uri": training.image or needed(engine, "image")},
    }
    job_spec: dict[str, Any] = {"worker_pool_specs": [pool]}
    if google.service_account:
        job_spec["service_account"] = google.service_account
    try:
        CustomJobSpec.from_json(json.dumps(job_spec))
    except json_format.ParseError as error:
        raise SwarError(f"Vertex does not take the settings of engine.training: {error}") from error
    return {
        **_enabled(engine),
        TRAINING_ARGS_KEY: {
            "project": needed(engine, "google.project"),
            "display_name": display_name,
            "job_spec": job_spec,
            "labels": labels(engine),
        },
    }


def vertex_endpoint(engine: EngineSettings) -> dict[str, Any] | None:
    """The Pusher's custom config; None if it publishes below the root."""
    endpoint = engine.vertex.endpoint
    if endpoint.name is None:
        return None
    return {
        **_enabled(engine),
        constants.VERTEX_CONTAINER_IMAGE_URI_KEY: endpoint.serving_image,
        constants.SERVING_ARGS_KEY: {
            "project_id": needed(engine, "google.project"),
            "endpoint_name": endpoint.name,
            "machine_type": endpoint.machine_type,
            "min_replica_count": endpoint.min_replicas,
            "max_replica_count": endpoint.max_replicas,
            "labels": labels(engine),
        },
    }


def labels(engine: EngineSettings) -> dict[str, str]:
    """The labels of Google Cloud resources."""
    parts = (label.partition("=") for label in engine.google.labels)
    return {key: value for key, _, value in parts}


def _enabled(engine: EngineSettings) -> dict[str, Any]:
    return {
        constants.ENABLE_VERTEX_KEY: True,
        constants.VERTEX_REGION_KEY: needed(engine, "google.region"),
    }
