"""Runs the pipeline on Kubeflow Pipelines 2."""

import tempfile
from collections.abc import Callable
from pathlib import Path

import kfp
import kfp_server_api
import urllib3

from components.errors import SwarError
from pipeline.config import Config
from pipeline.engines.compiler import compile_pipeline, run_parameters
from pipeline.engines.plan import plan
from pipeline.engines.settings import needed


def submit(config: Config, *, data: str, show: Callable[[str], None]) -> str:
    """Compiles the pipeline and starts a run of it.

    Args:
        config: all settings; those below `engine` say where it runs.
        data: folder or manifest of recordings, which the tasks reach by the same name.
        show: called with the plan before the run is started.

    Returns the run's identifier. Raises SwarError: a setting is missing, the data are at
    fault, or the API cannot be reached or refuses.
    """
    engine, kubeflow = config.engine, config.engine.kubeflow
    host = needed(engine, "kubeflow.host")
    with tempfile.TemporaryDirectory() as folder:
        spec = Path(folder, f"{config.name}.yaml")
        compile_pipeline(config, spec)
        parameters = run_parameters(config, data)
        show(plan(config, parameters))
        try:
            run = kfp.Client(
                host=host, namespace=kubeflow.namespace
            ).create_run_from_pipeline_package(
                str(spec),
                arguments=parameters,
                experiment_name=kubeflow.experiment,
                namespace=kubeflow.namespace,
                pipeline_root=f"{needed(engine, 'root')}/artifacts",
                service_account=kubeflow.service_account,
            )
        except kfp_server_api.ApiException as error:
            raise SwarError(f"Kubeflow refused the run: {error.status} {error.reason}") from error
        except (urllib3.exceptions.HTTPError, TimeoutError) as error:
            raise SwarError(f"Kubeflow does not answer at {host}: {error}") from error
    return str(run.run_id)
