"""`swar compile` and `swar submit`. Each imports only what it needs, when it runs."""

import importlib.util
from pathlib import Path

from components.errors import SwarError
from pipeline.config import Config


def compile_to(config: Config, path: Path) -> None:
    """Writes the compiled pipeline. Raises SwarError, see `compile_pipeline`."""
    _check_kfp()
    from pipeline.compiler import compile_pipeline

    compile_pipeline(config, path)


def submit(config: Config, *, data: str, execute_locally: Path | None) -> bool:
    """Runs the pipeline where the settings say, or on this machine.

    Returns False if the model is known not to be blessed: an engine tells that later. Raises
    SwarError and RunFailed.
    """
    _check_kfp()
    if execute_locally is not None:
        from pipeline import local_execution

        return local_execution.execute_locally(config, data=data, output=execute_locally)
    match config.engine.name:
        case "vertex":
            from pipeline import vertex_runner

            told = vertex_runner.submit(config, data=data)
        case "kubeflow":
            from pipeline import kubeflow_runner

            told = kubeflow_runner.submit(config, data=data)
    print(told)
    return True


def _check_kfp() -> None:
    # TFX's compiler and its containers' entry point import it, TFX's extra for it ends at 3.11.
    if importlib.util.find_spec("kfp") is None:
        raise SwarError("kfp is not installed, TFX brings it on Python 3.11 only: use Python 3.11")
