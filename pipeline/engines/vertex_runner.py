"""Runs the pipeline on Vertex AI Pipelines."""

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Final

import google.auth
from google.api_core.exceptions import GoogleAPIError
from google.auth.credentials import Credentials
from google.auth.exceptions import GoogleAuthError
from google.cloud import aiplatform

from components.errors import SwarError
from pipeline.config import Config
from pipeline.engines.compiler import compile_pipeline, run_parameters
from pipeline.engines.plan import plan
from pipeline.engines.settings import needed
from pipeline.engines.vertex import labels

_SCOPE: Final = "https://www.googleapis.com/auth/cloud-platform"


def submit(config: Config, *, data: str, show: Callable[[str], None]) -> str:
    """Compiles the pipeline and starts a run of it.

    Args:
        config: all settings; those below `engine` say where it runs.
        data: folder or manifest of recordings, which the tasks reach by the same name.
        show: called with the plan before the run is started.

    Returns the address of the run's page. Raises SwarError: a setting is missing, the data
    are at fault, or Google Cloud refuses.
    """
    engine = config.engine
    root = needed(engine, "root")
    folders = [
        (f"pairs.augmentation.{name}_folder", folder)
        for name, folder in config.pairs.augmentation.folders.items()
    ]
    for what, path in (("engine.root", root), ("the data", data), *folders):
        if not path.startswith("gs://"):
            raise SwarError(
                f"{what} {path!r} must lie in a bucket, gs://…: Vertex reaches no other"
            )
    credentials = _credentials()
    with tempfile.TemporaryDirectory() as folder:
        spec = Path(folder, "pipeline.yaml")
        compile_pipeline(config, spec)
        parameters = run_parameters(config, data)
        show(plan(config, parameters))
        try:
            job = aiplatform.PipelineJob(
                display_name=config.name,
                template_path=str(spec),
                pipeline_root=f"{root}/artifacts",
                parameter_values=parameters,
                labels=labels(engine),
                project=needed(engine, "google.project"),
                location=needed(engine, "google.region"),
                credentials=credentials,
            )
            job.submit(service_account=engine.google.service_account)
        except (GoogleAPIError, GoogleAuthError) as error:
            raise SwarError(f"Vertex refused the run: {error}") from error
    return str(job._dashboard_uri())


def _credentials() -> Credentials:
    """Read first, since listing a bucket without them takes minutes to fail."""
    try:
        credentials, _ = google.auth.default([_SCOPE])
    except GoogleAuthError as error:
        raise SwarError("no Google credentials: gcloud auth application-default login") from error
    return credentials
