"""The data components and TFDV on Beam's portable protocol, with two external workers.

The first try loses one of them while it writes; the second writes to the same place, as an engine
does that runs a task again.
"""

import subprocess
import sys
from pathlib import Path

import pytest

from components import features
from tests.e2e.conftest import Run
from tests.e2e.support_runs import Store, counted, digests, split_files
from tests.harness import portable_beam

pytestmark = [pytest.mark.slow, pytest.mark.long]


@pytest.fixture(scope="module")
def prepared(finished: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that the portable run wrote to."""
    isolated = portable_beam.IN_OWN_NETWORK
    if subprocess.run([*isolated, "true"], capture_output=True).returncode:
        pytest.skip("needs unshare and ip, and the right to a network namespace")
    output = tmp_path_factory.mktemp("portable") / "output"
    command = [sys.executable, "-m", portable_beam.__name__, str(finished.data), str(output)]
    ended = subprocess.run(
        [*isolated, *command],
        cwd=Path(__file__).parents[2],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert ended.returncode == 0, ended.stdout[-5000:]
    return output


@pytest.fixture(scope="module")
def by_one(finished: Run) -> dict[str, Path]:
    """Where the artifacts lie of the finished run, which had one worker in its own process."""
    return {key: Path(item.uri) for key, item in Store(finished.output).outputs().items()}


@pytest.mark.parametrize("key", ["speech", "rejects", "pairs"])
def test_the_bytes_are_those_of_the_local_runner_although_a_worker_was_killed(
    prepared: Path, by_one: dict[str, Path], key: str
) -> None:
    assert digests(prepared / key) == digests(by_one[key])


def test_tfdv_counts_the_same(prepared: Path, by_one: dict[str, Path]) -> None:
    ours, theirs = split_files(prepared / "statistics"), split_files(by_one["statistics"])
    assert set(ours) == set(features.PAIR_SPLITS)
    for split, (path,) in ours.items():
        assert counted(path) == counted(theirs[split][0])


def test_a_killed_worker_ends_the_job_in_one_line(prepared: Path) -> None:
    assert (prepared / "killed.txt").read_text() == (
        "a worker of Beam was killed, as happens when memory runs out: "
        "give the workers more memory, and start again"
    )
    assert not (prepared / "trap").exists()


def test_every_job_had_two_workers_of_the_pool(prepared: Path) -> None:
    started = (prepared / "pool.log").read_text().count("Starting worker with command")
    # Two passes over the recordings, of which the second was cut short; then all, with the pairs
    # and the statistics.
    jobs = 2 + 4
    assert started == portable_beam.WORKERS * jobs
