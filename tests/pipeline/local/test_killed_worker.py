"""A worker process that is killed, as the kernel does when memory runs out."""

import os
import signal

import apache_beam as beam
import pytest
from apache_beam.options.pipeline_options import PipelineOptions

from pipeline.failures import user_error
from pipeline.local.beam import beam_arguments

pytestmark = pytest.mark.slow


def _killed(item: int, driver: int) -> int:
    if item == 7 and os.getpid() != driver:
        os.kill(os.getpid(), signal.SIGKILL)
    return item


def test_it_ends_the_run_in_one_line_and_not_never() -> None:
    with (
        pytest.raises(RuntimeError) as raised,
        beam.Pipeline(options=PipelineOptions(beam_arguments(2))) as pipeline,
    ):
        _ = (
            pipeline
            | beam.Create(range(10))
            | beam.Reshuffle()
            | "Work" >> beam.Map(_killed, os.getpid())
        )
    assert user_error(raised.value) == (
        "a worker process of Beam was killed, as happens when memory runs out: "
        "use fewer --beam-workers"
    )
