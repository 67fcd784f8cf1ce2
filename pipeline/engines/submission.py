"""`swar compile` and `swar submit`. Each imports only what it needs, when it runs."""

from pathlib import Path

from components.errors import SwarError
from components.paths import check_present
from components.quiet import libraries_quiet
from components.terminal import say
from pipeline.config import Config
from pipeline.engines.settings import check_placeholders


def compile_to(config: Config, path: Path) -> None:
    """Writes the compiled pipeline.

    Raises SwarError, see `check_placeholders` and `compile_pipeline`.
    """
    check_placeholders(config.engine)
    if not path.parent.is_dir():
        raise SwarError(f"cannot write {path}: {path.parent} is no folder")
    with libraries_quiet():
        from pipeline.engines.compiler import compile_pipeline

        compile_pipeline(config, path)


def submit(config: Config, *, data: str) -> str:
    """Starts a run on the engine that the settings name.

    Shows on stderr what it starts. Returns the address of the run's page on Vertex, the run's
    identifier on Kubeflow. Raises SwarError.
    """
    check_placeholders(config.engine, data)
    check_present(data)
    with libraries_quiet() as stderr:

        def show(text: str) -> None:
            say(text, stream=stderr)

        match config.engine.name:
            case "vertex":
                from pipeline.engines import vertex_runner

                return vertex_runner.submit(config, data=data, show=show)
            case "kubeflow":
                from pipeline.engines import kubeflow_runner

                return kubeflow_runner.submit(config, data=data, show=show)
