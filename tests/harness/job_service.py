"""Beam's own job service for the portable protocol, for several workers, which may be killed.

`python -m tests.harness.job_service STAGING PORT WORKERS` runs jobs on a pool of workers without
Flink or Spark. It has no authentication, and listens on this machine only.
"""

import contextlib
import sys
import time

from apache_beam.portability.api import beam_fn_api_pb2
from apache_beam.runners.portability import local_job_service
from apache_beam.runners.portability.fn_api_runner import fn_runner, worker_handlers

from components.compat.beam_loopback import listen_on_loopback
from components.errors import SwarError

# Beam passes errors of workers on as text; the line is found in it.
_DIED = (
    "a worker is gone\n"
    f"{SwarError.__module__}.{SwarError.__name__}: a worker of Beam was killed, as happens when "
    "memory runs out: give the workers more memory, and start again"
)


class _NoticingConnection(worker_handlers.ControlConnection):
    """Answers for a worker whose connection breaks: Beam's own would wait for it for ever."""

    _is_broken = False

    def _read(self) -> None:
        # gRPC raises when the other side is gone, or just ends.
        with contextlib.suppress(Exception):
            super()._read()
        self._is_broken = True
        self._answer_for_the_dead()

    def push(self, req):  # Beam overloads it
        future = super().push(req)
        if self._is_broken:  # asked before `_read` saw the end, or after
            self._answer_for_the_dead()
        return future

    def _answer_for_the_dead(self) -> None:
        for number in list(self._futures_by_id):
            future = self._futures_by_id.pop(number, None)
            if future is not None:
                future.set(beam_fn_api_pb2.InstructionResponse(instruction_id=number, error=_DIED))


def serve(staging: str, port: int, workers: int) -> None:
    """Runs jobs until the process ends.

    Args:
        staging: folder for what jobs bring with them.
        port: where it listens.
        workers: of a pool, for each job; Beam's own service has one, whatever is asked for.
    """
    worker_handlers.ControlConnection = _NoticingConnection
    listen_on_loopback()

    class Job(local_job_service.BeamJob):
        def _invoke_runner(self) -> fn_runner.RunnerResult:
            self.set_state(local_job_service.beam_job_api_pb2.JobState.RUNNING)
            runner = fn_runner.FnApiRunner(provision_info=self._provision_info)
            runner._num_workers = workers
            return runner.run_via_runner_api(self._pipeline_proto, self.pipeline_options())

    service = local_job_service.LocalJobServicer(staging, beam_job_type=Job)
    service.start_grpc_server(port)
    while True:
        time.sleep(60)


if __name__ == "__main__":
    serve(sys.argv[1], port=int(sys.argv[2]), workers=int(sys.argv[3]))
