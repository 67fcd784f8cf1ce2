"""What `swar submit` will start, in lines for the user who pays for it."""

from collections.abc import Iterator, Mapping

from pipeline.config import Config
from pipeline.engines.compiler import gpu_type
from pipeline.engines.settings import needed


def plan(config: Config, parameters: Mapping[str, str | int]) -> str:
    """Where each step runs and what `swar submit` adds to the compiled pipeline.

    Args:
        config: all settings; those below `engine` say where it runs.
        parameters: the runtime parameters and their values.
    """
    lines = list(_lines(config, parameters))
    width = max(len(name) for name, _ in lines)
    return "\n".join(f"{name:<{width}}  {value}" for name, value in lines)


def _lines(config: Config, parameters: Mapping[str, str | int]) -> Iterator[tuple[str, str]]:
    engine = config.engine
    tasks, training, google = engine.tasks, engine.training, engine.google
    image = needed(engine, "image")
    if engine.name == "vertex":
        yield "engine", f"Vertex AI, {needed(engine, 'google.project')}, {google.region}"
        yield "account", google.service_account or "Google's default for the service"
        yield "labels", ", ".join(google.labels) or "none"
    else:
        kubeflow = engine.kubeflow
        yield "engine", f"Kubeflow Pipelines, {kubeflow.host}, namespace {kubeflow.namespace}"
        yield "account", kubeflow.service_account or "the namespace's default"
        yield "experiment", kubeflow.experiment
    yield "steps", f"{_size(tasks.cpus, tasks.memory_gigabytes)}, {tasks.retries} retries, {image}"
    machine = training.machine_type or _size(training.cpus, training.memory_gigabytes)
    gpus = f"{training.gpus} x {gpu_type(engine)}" if training.gpus else "no GPU"
    training_image = training.image or image
    yield "training", f"{machine}, {gpus}, {training.retries} retries, {training_image}"
    if config.tuner.trials:
        yield "search", f"{config.tuner.trials} trials of {config.tuner.epochs} epochs, as training"
    yield "Beam", engine.beam.runner
    yield "artifacts", f"{needed(engine, 'root')}/artifacts"
    endpoint = engine.vertex.endpoint.name if engine.name == "vertex" else None
    yield "published", f"endpoint {endpoint}" if endpoint else f"{engine.root}/published"
    for name, value in parameters.items():
        yield name, str(value)


def _size(cpus: float, memory_gigabytes: float) -> str:
    return f"{cpus:g} CPUs, {memory_gigabytes:g} GB"
