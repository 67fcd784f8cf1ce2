"""`swar submit`."""

from pathlib import Path

from pipeline.config import Config


def submit(config: Config, *, data: str, execute_locally: Path | None) -> bool:
    """Runs the pipeline where the settings say, or on this machine. Each imports only its own.

    Returns False if the model is known not to be blessed: an engine tells that later.
    """
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
