"""`swar compile` and `swar submit`. Each imports only what it needs, when it runs."""

from pathlib import Path

from components.quiet import libraries_quiet
from pipeline.config import Config


def compile_to(config: Config, path: Path) -> None:
    """Writes the compiled pipeline. Raises SwarError, see `compile_pipeline`."""
    with libraries_quiet():
        from pipeline.engines.compiler import compile_pipeline

        compile_pipeline(config, path)


def submit(config: Config, *, data: str) -> str:
    """Starts a run on the engine that the settings name.

    Returns the address of the run's page on Vertex, the run's identifier on Kubeflow. Raises
    SwarError.
    """
    with libraries_quiet():
        match config.engine.name:
            case "vertex":
                from pipeline.engines import vertex_runner

                return vertex_runner.submit(config, data=data)
            case "kubeflow":
                from pipeline.engines import kubeflow_runner

                return kubeflow_runner.submit(config, data=data)
