import ipaddress
import os
from pathlib import Path

import apache_beam as beam
import pytest
from apache_beam.options.pipeline_options import PipelineOptions

from pipeline.local.beam import beam_arguments
from tests.listening import listening_addresses


def _run(workers: int, folder: Path) -> set[tuple[str, str]]:
    """The processes that mapped four elements, and whether each had the plugin before."""

    def look(_: int) -> str:
        import os
        import sys

        return f"{os.getpid()} {'components.compat.beam_worker' in sys.modules}"

    with beam.Pipeline(options=PipelineOptions(beam_arguments(workers))) as pipeline:
        _ = (
            pipeline
            | beam.Create(range(4))
            | beam.Reshuffle()
            | beam.Map(look)
            | beam.io.WriteToText(str(folder / "seen"))
        )
    lines = [line for path in folder.glob("seen*") for line in path.read_text().splitlines()]
    assert len(lines) == 4
    return {(process, loaded) for process, loaded in (line.split() for line in lines)}


def test_one_worker_is_this_process(tmp_path: Path) -> None:
    assert {process for process, _ in _run(1, tmp_path)} == {str(os.getpid())}


@pytest.mark.slow
def test_worker_processes_are_called_on_this_machine_only(tmp_path: Path) -> None:
    before = listening_addresses()

    def look(_: int, driver: int) -> str:
        return " ".join(f"{ip}" for ip, _ in listening_addresses(driver))

    with beam.Pipeline(options=PipelineOptions(beam_arguments(2))) as pipeline:
        _ = (
            pipeline
            | beam.Create(range(4))
            | beam.Reshuffle()
            | beam.Map(look, os.getpid())
            | beam.io.WriteToText(str(tmp_path / "seen"))
        )
    seen = {ip for path in tmp_path.glob("seen*") for ip in path.read_text().split()}
    assert seen - {f"{ip}" for ip, _ in before}
    assert all(ipaddress.ip_address(ip).is_loopback for ip in seen)


@pytest.mark.slow
def test_worker_processes_import_the_plugin_when_they_start(tmp_path: Path) -> None:
    seen = _run(2, tmp_path)
    assert {loaded for _, loaded in seen} == {"True"}
    assert str(os.getpid()) not in {process for process, _ in seen}
