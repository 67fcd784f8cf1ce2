"""Settings of where `swar submit` runs the pipeline; they hold no secrets.

The engines' own clients find their credentials: Google's in its application default
credentials, kfp's in its configuration.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, Final, Literal, Self

from pydantic import Field, model_validator

from components.errors import SwarError
from components.settings import Count, Positive, PositiveCount, Settings

Image = Annotated[str, Field(pattern=r"^[^\s@]+@sha256:[0-9a-f]{64}$")]
"""Image named by its digest: a tag may later name other code, and caches would be stale."""
Label = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]{0,62}=[a-z0-9_-]{0,63}$")]
Folder = Annotated[str, Field(pattern=r"[^/]$")]
Address = Annotated[str, Field(pattern=r"^[^\s/]+:[0-9]{1,5}$")]
"""host:port."""


class TaskSettings(Settings):
    """Resources of each task's container, except those of the Trainer and Tuner."""

    cpus: Positive = 4.0
    memory_gigabytes: Positive = 16.0
    retries: Count = 2
    """Retries of a failed task: the first after a minute, each later one after twice as long."""


class TrainingSettings(Settings):
    """Resources of the training; several GPUs share each step (MirroredStrategy)."""

    image: Image | None = None
    """The same code as in `engine.image`, with CUDA. None: `engine.image`."""
    cpus: Positive = 8.0
    memory_gigabytes: Positive = 32.0
    retries: Count = 2
    """As of other tasks. A restarted training continues from its state, if that was kept."""
    gpus: Count = 1
    """Number of GPUs. The Trainer fails if TensorFlow sees fewer."""
    gpu_type: str | None = None
    """On Vertex an accelerator; None: NVIDIA_TESLA_T4. On Kubeflow a resource of Kubernetes; None:
    nvidia.com/gpu."""
    machine_type: str | None = None
    """On Vertex: train in a custom job on such a machine with the GPUs, not in the Trainer's
    container. cpus and memory_gigabytes then apply to the Tuner alone."""


class DataflowSettings(Settings):
    """Workers of Dataflow, as many as the work needs."""

    max_workers: PositiveCount = 20
    machine_type: str = "n1-standard-2"
    disk_gigabytes: PositiveCount = 50
    sdk_container_image: Image | None = None
    """None: the pipeline's own image."""
    setup_file: str | None = None
    """Path of a setup.py in the pipeline's image, for a worker image without Swar."""


class PortableSettings(Settings):
    """A job server of Beam's portable protocol: that of Flink or of Spark."""

    job_endpoint: Address | None = None
    worker_pool: Address | None = None
    """Its address for each worker. None: the workers start the pipeline's image by Docker."""


class BeamSettings(Settings):
    """Where the Beam components do their work."""

    runner: Literal["task", "dataflow", "portable"] = "task"
    """task: the components' own containers."""
    task_workers: PositiveCount = 1
    """Processes in a task's container."""
    dataflow: DataflowSettings = DataflowSettings()
    portable: PortableSettings = PortableSettings()


class GoogleSettings(Settings):
    """Google Cloud project and account of Vertex and Dataflow."""

    project: str | None = None
    region: str | None = None
    service_account: str | None = None
    """Its e-mail address. None: Google's default for the service."""
    labels: tuple[Label, ...] = ()
    """key=value."""


class EndpointSettings(Settings):
    """A Vertex endpoint that gets each blessed model, in place of `published` below the root."""

    name: str | None = None
    """None: no endpoint."""
    serving_image: str | None = None
    """Image of TensorFlow Serving that keeps to Vertex's rules."""
    machine_type: str = "n1-standard-4"
    min_replicas: PositiveCount = 1
    max_replicas: PositiveCount = 3

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if (self.name is None) != (self.serving_image is None):
            raise ValueError("an endpoint needs both a name and a serving_image")
        if self.max_replicas < self.min_replicas:
            raise ValueError(
                f"max_replicas {self.max_replicas} is below min_replicas {self.min_replicas}"
            )
        return self


class VertexSettings(Settings):
    """Vertex AI Pipelines."""

    endpoint: EndpointSettings = EndpointSettings()


class KubeflowSettings(Settings):
    """Kubeflow Pipelines 2 on the user's own cluster."""

    host: str | None = None
    """URL of its API."""
    namespace: str = "kubeflow"
    experiment: str = "swar"
    service_account: str | None = None
    """Service account of Kubernetes."""
    baseline: str | None = None
    """URI of an earlier run's `model` artifact. A new model must not be much worse."""


class EngineSettings(Settings):
    """Everything that `swar compile` and `swar submit` need beyond the pipeline itself."""

    name: Literal["vertex", "kubeflow"] = "vertex"
    image: Image | None = None
    root: Folder | None = None
    """Folder that all tasks reach, for artifacts, checkpoints and published models."""
    tasks: TaskSettings = TaskSettings()
    training: TrainingSettings = TrainingSettings()
    beam: BeamSettings = BeamSettings()
    google: GoogleSettings = GoogleSettings()
    vertex: VertexSettings = VertexSettings()
    kubeflow: KubeflowSettings = KubeflowSettings()

    @model_validator(mode="after")
    def _a_custom_job_is_vertex(self) -> Self:
        if self.name == "kubeflow" and self.training.machine_type is not None:
            raise ValueError("engine.training.machine_type is of Vertex: Kubeflow has no machines")
        return self

    @model_validator(mode="after")
    def _gpus_have_the_engine_s_names(self) -> Self:
        gpu_type = self.training.gpu_type
        pattern, kind = _GPU_TYPES[self.name]
        if gpu_type is not None and not re.fullmatch(pattern, gpu_type):
            raise ValueError(
                f"engine.training.gpu_type {gpu_type!r} is nothing that {self.name} has: "
                f"name {kind}"
            )
        return self


# Names are checked against the list of Google's client when the pipeline is compiled.
_GPU_TYPES: Final = {
    "vertex": (r"[A-Z0-9_]+", "an accelerator of Vertex AI, such as NVIDIA_TESLA_T4 or NVIDIA_L4"),
    "kubeflow": (r"[a-z0-9.-]+/[\w.-]+", "a resource of Kubernetes, such as nvidia.com/gpu"),
}
# Placeholders that examples have for a user's own names.
_PLACEHOLDER: Final = re.compile(
    r"<[^<>]*>|\$\{?\w+|\{\{|…|(?i:\b(?:your[-_]\w*|change-?me|todo)\b)"
    r"|\b(?:PROJECT|REGION|BUCKET|REGISTRY|REPOSITORY|NAME|DIGEST|HOST|JOBSERVER)\b"
)
_REMEDIES: Final = {
    "image": "name the image that holds Swar by its digest, NAME@sha256:DIGEST",
    "root": "name a folder that every task can reach, such as gs://BUCKET/swar",
    "google.project": "name the Google Cloud project that pays",
    "google.region": "name a Google Cloud region, such as europe-west4",
    "beam.portable.job_endpoint": "name the HOST:PORT of Flink's or Spark's Beam job server",
    "kubeflow.host": "name the URL of Kubeflow Pipelines' API",
}


def needed(engine: EngineSettings, key: str) -> str:
    """The value of a setting below `engine`. Raises SwarError if it is not set."""
    value: Any = engine
    for part in key.split("."):
        value = getattr(value, part)
    if value is None:
        raise SwarError(f"engine.{key} is not set: {_REMEDIES[key]}")
    return str(value)


def check_placeholders(engine: EngineSettings, data: str | None = None) -> None:
    """Raises SwarError for a value that still has a placeholder, such as `gs://BUCKET/swar`.

    Args:
        engine: settings, of which all texts are checked.
        data: path of the recordings; None if it is not known yet.
    """
    given = {f"engine.{key}": text for key, text in _texts(engine.model_dump())}
    if data is not None and "://" in data:  # a local folder may have any name
        given["--data"] = data
    for key, text in given.items():
        if match := _PLACEHOLDER.search(text):
            raise SwarError(f'{key} is {text!r}: put your own in place of "{match[0]}"')


def _texts(value: Any, key: str = "") -> Iterator[tuple[str, str]]:
    """The dotted key and the value of each text in a tree of settings."""
    match value:
        case str():
            yield key, value
        case Mapping():
            for name, child in value.items():
                yield from _texts(child, f"{key}.{name}" if key else name)
        case Sequence():
            for index, child in enumerate(value):
                yield from _texts(child, f"{key}[{index}]")
