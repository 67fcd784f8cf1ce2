"""Gives Beam's worker processes on this machine the pipeline's options, and makes them always end.

Needed until Beam does both, which 2.77 does not: tests/pipeline/local/test_beam.py and
test_killed_worker.py tell when. Then `beam_arguments` can name Beam's own runner, and this module
can be removed.
"""

import threading
from typing import Final

from apache_beam import Pipeline
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.portability import python_urns
from apache_beam.portability.api import beam_fn_api_pb2, beam_provision_api_pb2
from apache_beam.runners.portability.fn_api_runner import worker_handlers
from apache_beam.runners.portability.fn_api_runner.fn_runner import (
    ExtendedProvisionInfo,
    FnApiRunner,
    RunnerResult,
)
from apache_beam.runners.portability.portable_runner import JobServiceHandle
from apache_beam.runners.runner import PipelineRunner

from components.compat.beam_loopback import WORD, listen_on_loopback
from components.errors import SwarError

_POLL_SECONDS: Final = 0.2
# Beam passes errors of workers on as text, including this one.
_DIED: Final = (
    f"{SwarError.__module__}.{SwarError.__name__}: a worker process of Beam was killed, as happens "
    "when memory runs out: use fewer --beam-workers"
)


class ProcessesRunner(PipelineRunner):
    """FnApiRunner that passes the pipeline's options to its worker processes.

    `--runner=FnApiRunner` passes none, so that `--beam_plugin` has no effect;
    `--runner=DirectRunner` passes them, but first tries to download another engine.
    """

    def run_pipeline(self, pipeline: Pipeline, options: PipelineOptions) -> RunnerResult:
        """Runs a pipeline with `--direct_num_workers` processes."""
        listen_on_loopback(workers_alone=True)
        encoded = JobServiceHandle.encode_pipeline_options(options.get_all_options())
        provision = ExtendedProvisionInfo(
            beam_provision_api_pb2.ProvisionInfo(pipeline_options=encoded)
        )
        return FnApiRunner(provision_info=provision).run_pipeline(pipeline, options)


@worker_handlers.WorkerHandler.register_environment(python_urns.SUBPROCESS_SDK, bytes)
class _StoppableProcess(worker_handlers.SubprocessSdkWorkerHandler):
    """A worker process that also ends if the pipeline ends before it has connected.

    Beam 2.77 tells only connected workers to stop and then waits for all of them: a pipeline
    whose first element fails while another worker is still starting would wait for ever. So
    would one whose worker is killed, since nothing answers its requests.
    """

    @property
    def worker_id(self) -> str:
        """Beam's id with WORD, by which its servers recognise their workers."""
        return self._worker_id

    @worker_id.setter
    def worker_id(self, counted: str) -> None:
        self._worker_id = f"{counted}_{WORD}"

    def start_worker(self) -> None:
        super().start_worker()
        self._closed = threading.Event()
        threading.Thread(target=self._answer_for_the_dead, daemon=True).start()

    def close(self) -> None:
        self._closed.set()
        self.control_conn.push(worker_handlers.BeamFnControlServicer._DONE_MARKER)
        super().close()

    def _answer_for_the_dead(self) -> None:
        self.worker_thread.join()
        while not self._closed.wait(_POLL_SECONDS):
            for future in list(self.control_conn._futures_by_id.values()):
                future.set(
                    beam_fn_api_pb2.InstructionResponse(
                        instruction_id=future.instruction_id, error=_DIED
                    )
                )
