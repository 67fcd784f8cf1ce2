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

from components.speech_example_gen import planning
from pipeline.config import Config, load_config
from pipeline.engines.beam_options import engine_beam_arguments
from pipeline.failures import user_error
from pipeline.pipeline import PAIR_SCHEMA
from tests.e2e.support_runs import CONFIG, SETTINGS, SHARD_SECONDS
from tests.harness import job_service, worker_trap
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


def run(data: str, output: Path) -> None:
    """Speech, pairs and statistics of them, each by jobs of the job service.

    In the first job that writes speech a worker is killed, and all is done once more.
    """
    planning.SHARD_SECONDS = SHARD_SECONDS
    config = load_config(CONFIG, [*SETTINGS, *ENGINE])
    with _services(output) as trap:
        trap.touch()
        try:
            _run_components(config, data, output)
        except RuntimeError as error:
            (output / "killed.txt").write_text(str(user_error(error)))
        _run_components(config, data, output)


def _run_components(config: Config, data: str, output: Path) -> None:
    # The default of a minute ends the streams of a job that a busy machine takes longer for.
    beam = [*engine_beam_arguments(config.engine), "--job_server_timeout=600"]
    speech, _ = run_speech(data, output, config.speech, beam)
    pairs = run_pairs(
        speech, output, config.speech.sample_rate, config.spectrogram, config.pairs, beam
    )
    run_statistics(pairs, PAIR_SCHEMA.read_text(), output, beam)


@contextlib.contextmanager
def _services(output: Path) -> Iterator[Path]:
    """The job service and the worker pool, each listening; where the trap's file goes."""
    output.mkdir()
    start_up = output / "start_up"
    start_up.mkdir()
    trap = output / "trap"
    # Workers of a pool are not told of --beam_plugin: on older systems TFDV needs it.
    (start_up / "sitecustomize.py").write_text(
        "import components.compat.beam_worker\n"
        f"import {worker_trap.__name__} as trap; trap.arm({str(trap)!r})\n"
    )
    environment = dict(os.environ)
    # The pool starts its workers as `python`.
    environment["PATH"] = f"{Path(sys.executable).parent}:{environment['PATH']}"
    environment["PYTHONPATH"] = f"{start_up}:{Path(__file__).parents[2]}"
    pool = ["-m", "apache_beam.runners.worker.worker_pool_main", f"--service_port={POOL_PORT}"]
    jobs = ["-m", job_service.__name__, str(output / "staging"), str(JOB_PORT), str(WORKERS)]
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
        yield trap


def _await(port: int) -> None:
    deadline = time.monotonic() + 300
    while True:
        with contextlib.suppress(ConnectionRefusedError):
            socket.create_connection(("localhost", port)).close()
            return
        if time.monotonic() > deadline:
            raise TimeoutError(f"nothing listens on port {port}")
        time.sleep(0.2)


if __name__ == "__main__":
    run(sys.argv[1], Path(sys.argv[2]))
