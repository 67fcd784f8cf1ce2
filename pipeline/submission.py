"""`swar compile` and `swar submit`. Each imports only what it needs, when it runs."""

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from components.errors import SwarError
from pipeline.config import Config
from pipeline.terminal import output_to


def compile_to(config: Config, path: Path) -> None:
    """Writes the compiled pipeline. Raises SwarError, see `compile_pipeline`."""
    with _quiet():
        from pipeline.compiler import compile_pipeline

        compile_pipeline(config, path)


def submit(config: Config, *, data: str, execute_locally: Path | None, in_image: bool) -> bool:
    """Runs the pipeline where the settings say, or on this machine, there in its image or not.

    Returns False if the model is known not to be blessed: an engine tells that later. Raises
    SwarError and RunFailed.
    """
    if in_image and execute_locally is None:
        raise SwarError("--in-image goes with --execute-locally: an engine always uses the image")
    with _quiet() as terminal:
        if execute_locally is not None:
            from pipeline import local_execution

            return local_execution.execute_locally(
                config,
                data=data,
                output=execute_locally,
                in_image=in_image,
                terminal=terminal,
            )
        match config.engine.name:
            case "vertex":
                from pipeline import vertex_runner

                told = vertex_runner.submit(config, data=data)
            case "kubeflow":
                from pipeline import kubeflow_runner

                told = kubeflow_runner.submit(config, data=data)
        print(told, file=terminal)
    return True


@contextlib.contextmanager
def _quiet() -> Iterator[TextIO]:
    """Keeps the libraries' chatter from the terminal, which it yields."""
    with tempfile.TemporaryDirectory() as folder, output_to(Path(folder, "log.txt")) as terminal:
        yield terminal
