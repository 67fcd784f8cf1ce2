"""The data components on Beam's portable protocol, as Flink, Spark and Dataflow speak it.

Run as a script within a network of its own: Beam's services listen on all interfaces.
The driver (this process), the job service and each worker are processes that share
nothing but the file system.
"""

import contextlib
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from apache_beam.runners.portability import local_job_service
from apache_beam.runners.portability.fn_api_runner import fn_runner

from components.speech_example_gen import survey
from pipeline.beam_options import engine_beam_arguments
from pipeline.config import Config, load_config
from pipeline.pipeline import PAIR_SCHEMA
from tests.e2e.support_runs import CONFIG, SETTINGS, SHARD_SECONDS
from tests.support_executors import run_pairs, run_speech, run_statistics

WORKERS = 2
JOB_PORT, POOL_PORT = 8099, 50000
IN_OWN_NETWORK = (
    "unshare", "--map-root-user", "--net", "--uts",
    "sh", "-c", 'hostname localhost && ip link set lo up && exec "$@"', "sh",
)  # fmt: skip
ENGINE = (
    f"engine.image=registry.example/swar@sha256:{'0' * 64}",
    "engine.beam.runner=portable",
    f"engine.beam.portable.job_endpoint=localhost:{JOB_PORT}",
    f"engine.beam.portable.worker_pool=localhost:{POOL_PORT}",
)


class _JobOfTwoWorkers(local_job_service.BeamJob):
    """Beam's own has one worker, whatever is asked for."""

    def _invoke_runner(self) -> fn_runner.RunnerResult:
        self.set_state(local_job_service.beam_job_api_pb2.JobState.RUNNING)
        runner = fn_runner.FnApiRunner(provision_info=self._provision_info)
        runner._num_workers = WORKERS
        return runner.run_via_runner_api(self._pipeline_proto, self.pipeline_options())


def serve_jobs(staging: str) -> None:
    """Beam's job service, with two workers for each job."""
    service = local_job_service.LocalJobServicer(staging, beam_job_type=_JobOfTwoWorkers)
    service.start_grpc_server(JOB_PORT)
    while True:
        time.sleep(60)


def run(data: str, output: Path) -> None:
    """Speech, pairs and statistics of them, each by jobs of the job service."""
    survey.SHARD_SECONDS = SHARD_SECONDS
    config = load_config(CONFIG, [*SETTINGS, *ENGINE])
    with _services(output):
        _run_components(config, data, output)


def _run_components(config: Config, data: str, output: Path) -> None:
    beam = engine_beam_arguments(config.engine)
    speech, _ = run_speech(data, output, config.speech, beam)
    pairs = run_pairs(
        speech, output, config.speech.sample_rate, config.spectrogram, config.pairs, beam
    )
    run_statistics(pairs, PAIR_SCHEMA.read_text(), output, beam)


@contextlib.contextmanager
def _services(output: Path) -> Iterator[None]:
    """The job service and the worker pool, each listening."""
    output.mkdir()
    start_up = output / "start_up"
    start_up.mkdir()
    # Workers of a pool are not told of --beam_plugin: on older systems TFDV needs it.
    (start_up / "sitecustomize.py").write_text("import components.beam_worker\n")
    environment = dict(os.environ)
    # The pool starts its workers as `python`.
    environment["PATH"] = f"{Path(sys.executable).parent}:{environment['PATH']}"
    environment["PYTHONPATH"] = f"{start_up}:{Path(__file__).parents[2]}"
    pool = ["-m", "apache_beam.runners.worker.worker_pool_main", f"--service_port={POOL_PORT}"]
    jobs = ["-m", __spec__.name, "serve", str(output / "staging")]
    with contextlib.ExitStack() as started:
        for name, command in (("pool", pool), ("jobs", jobs)):
            log = started.enter_context((output / f"{name}.log").open("wb"))
            process = subprocess.Popen(
                [sys.executable, *command], env=environment, stdout=log, stderr=subprocess.STDOUT
            )
            started.callback(process.wait)
            started.callback(process.terminate)
        for port in (JOB_PORT, POOL_PORT):
            _await(port)
        yield


def _await(port: int) -> None:
    deadline = time.monotonic() + 120
    while True:
        with contextlib.suppress(ConnectionRefusedError):
            socket.create_connection(("localhost", port)).close()
            return
        if time.monotonic() > deadline:
            raise TimeoutError(f"nothing listens on port {port}")
        time.sleep(0.2)


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["serve", staging]:
            serve_jobs(staging)
        case [data, output]:
            run(data, Path(output))
