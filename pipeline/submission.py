"""`swar compile` and `swar submit`. Each imports only what it needs, when it runs."""

import contextlib
import importlib.util
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from components.errors import SwarError
from pipeline.config import Config
from pipeline.terminal import output_to


def compile_to(config: Config, path: Path) -> None:
    """Writes the compiled pipeline. Raises SwarError, see `compile_pipeline`."""
    _check_kfp()
    with _quiet():
        from pipeline.compiler import compile_pipeline

        compile_pipeline(config, path)


def submit(config: Config, *, data: str, execute_locally: Path | None) -> bool:
    """Runs the pipeline where the settings say, or on this machine.

    Returns False if the model is known not to be blessed: an engine tells that later. Raises
    SwarError and RunFailed.
    """
    _check_kfp()
    with _quiet() as terminal:
        if execute_locally is not None:
            from pipeline import local_execution

            return local_execution.execute_locally(
                config, data=data, output=execute_locally, terminal=terminal
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


def _check_kfp() -> None:
    # TFX's compiler and its containers' entry point import it, TFX's extra for it ends at 3.11.
    if importlib.util.find_spec("kfp") is None:
        raise SwarError("kfp is not installed, TFX brings it on Python 3.11 only: use Python 3.11")
