"""Beam's options on engines other than this machine."""

from components.errors import SwarError
from pipeline.engines.settings import EngineSettings, needed
from pipeline.local.beam import BEAM_PLUGIN, beam_arguments


def engine_beam_arguments(engine: EngineSettings) -> list[str]:
    """Arguments of the Beam components. Raises SwarError for a missing setting."""
    match engine.beam.runner:
        case "dataflow":
            return _dataflow(engine)
        case "portable":
            return _portable(engine)
        case "task":
            return beam_arguments(engine.beam.task_workers)


def _dataflow(engine: EngineSettings) -> list[str]:
    """By default the workers use the tasks' image, so code and libraries are the same."""
    dataflow, google = engine.beam.dataflow, engine.google
    root = needed(engine, "root")
    if not root.startswith("gs://"):
        raise SwarError(f"Dataflow keeps its files in a bucket: engine.root {root!r} is no gs://")
    arguments = [
        "--runner=DataflowRunner",
        f"--project={needed(engine, 'google.project')}",
        f"--region={needed(engine, 'google.region')}",
        f"--temp_location={root}/beam/temp",
        f"--staging_location={root}/beam/staging",
        "--autoscaling_algorithm=THROUGHPUT_BASED",
        f"--max_num_workers={dataflow.max_workers}",
        f"--worker_machine_type={dataflow.machine_type}",
        f"--disk_size_gb={dataflow.disk_gigabytes}",
        f"--sdk_container_image={dataflow.sdk_container_image or needed(engine, 'image')}",
        "--sdk_location=container",
        BEAM_PLUGIN,
    ]
    if google.service_account:
        arguments.append(f"--service_account_email={google.service_account}")
    if dataflow.setup_file:
        arguments.append(f"--setup_file={dataflow.setup_file}")
    return arguments + [f"--labels={label}" for label in google.labels]


def _portable(engine: EngineSettings) -> list[str]:
    """For the job servers of Flink and Spark, which speak the same protocol."""
    worker_pool = engine.beam.portable.worker_pool
    return [
        "--runner=PortableRunner",
        f"--job_endpoint={needed(engine, 'beam.portable.job_endpoint')}",
        f"--environment_type={'EXTERNAL' if worker_pool else 'DOCKER'}",
        f"--environment_config={worker_pool or needed(engine, 'image')}",
        # Without this, TFX packages itself for the workers of each component.
        f"--sdk_container_image={needed(engine, 'image')}",
        BEAM_PLUGIN,
    ]
