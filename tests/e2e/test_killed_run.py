"""A run that is killed in each of its components in turn, and each time started again."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from components.model.digest import DIGESTS
from components.model.files import MODEL_CARD
from pipeline.code_digest import SOURCE_ROOT
from tests.e2e.conftest import Run
from tests.e2e.support_runs import (
    EPOCHS,
    EVALUATOR,
    NODES,
    PAIRS,
    PUSHER,
    REPORT,
    SERVING_CHECK,
    SPEECH,
    STATISTICS,
    STEPS_PER_EPOCH,
    TRAINER,
    VALIDATOR,
    Ended,
    KillPoint,
    Store,
    arguments,
    digests,
    split_files,
    states,
    swar_killed_at,
)
from tests.harness.forks import start_fork

pytestmark = pytest.mark.slow
# Each lies where something of the component is written, and something is not yet.
POINTS = (
    KillPoint(SPEECH, "components.speech_example_gen.executor._example", 10),
    KillPoint(PAIRS, "components.spectrogram_pair_gen.shards._example", 100),
    KillPoint(STATISTICS, "apache_beam.io.filebasedsink.FileBasedSink.finalize_write", 1),
    KillPoint(VALIDATOR, "components.example_validator.executor._read_anomalies"),
    KillPoint(
        TRAINER,
        "components.trainer.monitor.TrialMonitor.on_train_batch_end",
        STEPS_PER_EPOCH + STEPS_PER_EPOCH // 2,
    ),
    KillPoint(SERVING_CHECK, "tfx.utils.io_utils.write_string_file"),
    KillPoint(EVALUATOR, "tensorflow_model_analysis.load_validation_result"),
    KillPoint(PUSHER, "tfx.utils.io_utils.copy_file"),
    KillPoint(REPORT, "components.verification_report.executor.report_files"),
)
UP_TO_THE_PUSHER = POINTS[:-1]
SECONDS_TO_HANG = 300
STAGING = ".tmp-"


class Killed:
    """What was seen after each start, and the output folder at the end."""

    def __init__(self, data: Path, folder: Path) -> None:
        self.output = folder / "output"
        self.ended: dict[str, Ended] = {}
        self.published: dict[str, list[str]] = {}
        argv = arguments(data, self.output)
        for point in POINTS:
            process = start_fork(swar_killed_at, point, argv, folder)
            process.join(SECONDS_TO_HANG)
            assert process.exitcode is not None, f"{point} hangs"
            said = ((folder / name).read_text() for name in ("out", "err"))
            self.ended[point.component] = Ended(process.exitcode, *said)
            versions = self.output / "published"
            self.published[point.component] = (
                sorted(path.name for path in versions.iterdir()) if versions.exists() else []
            )
        last = subprocess.run(
            [sys.executable, "-c", "from pipeline.cli import main; main()", *argv],
            capture_output=True,
            text=True,
            cwd=SOURCE_ROOT,
        )
        self.last = Ended(last.returncode, last.stdout, last.stderr)


@pytest.fixture(scope="module")
def killed(finished: Run, tmp_path_factory: pytest.TempPathFactory) -> Killed:
    return Killed(finished.data, tmp_path_factory.mktemp("killed"))


@pytest.mark.parametrize("point", POINTS, ids=lambda point: point.component)
def test_a_start_continues_from_the_last_finished_component(
    killed: Killed, point: KillPoint
) -> None:
    ended = killed.ended[point.component]
    assert ended.status == -signal.SIGKILL
    assert ended.err == ""
    before = {other.component for other in POINTS[: POINTS.index(point)]}
    seen = ended.states()
    assert seen.pop(point.component) == "running"
    if before:
        # What the last kill interrupted is done now, and what was done before is cached.
        interrupted = POINTS[POINTS.index(point) - 1].component
        begun = NODES[: NODES.index(point.component)]
        assert seen == {node: states(interrupted)[node] for node in begun}


@pytest.mark.parametrize("point", UP_TO_THE_PUSHER, ids=lambda point: point.component)
def test_no_version_is_seen_before_it_is_whole(killed: Killed, point: KillPoint) -> None:
    names = killed.published[point.component]
    assert [name for name in names if not name.startswith(STAGING)] == []
    assert bool(names) == (point.component == PUSHER)


def test_the_training_resumes_in_the_epoch_where_it_was(killed: Killed) -> None:
    def epochs(component: str) -> list[str]:
        lines = killed.ended[component].lines(TRAINER)
        return [line.split(":")[0] for line in lines if line.startswith("epoch") and "loss" in line]

    assert epochs(TRAINER) == [f"epoch 1/{EPOCHS}"]
    assert epochs(SERVING_CHECK) == [f"epoch {epoch}/{EPOCHS}" for epoch in range(2, EPOCHS + 1)]


def test_the_last_start_ends_in_a_published_model(killed: Killed, finished: Run) -> None:
    assert (killed.last.status, killed.last.err) == (0, "")
    assert killed.last.states() == states(REPORT)
    (version,) = (killed.output / "published").iterdir()
    assert killed.published[REPORT] == [version.name]  # it did not wait for its report
    contents = digests(version)
    assert set(contents) == set(digests(finished.published))
    outputs = Store(killed.output).outputs()
    del contents[DIGESTS]  # written at publishing
    assert contents == digests(Path(outputs["model"].uri) / "Format-Serving")
    assert (version / MODEL_CARD).is_file()
    assert list((killed.output / "checkpoints").iterdir()) == []


def test_the_terminal_shows_progress_and_nothing_else(killed: Killed) -> None:
    log, *lines = killed.last.out.splitlines()
    assert log.startswith(f"log: {killed.output}/logs/")
    progress = [line for line in lines if line.split(":")[0].strip() in NODES]
    assert lines[: len(progress)] == progress
    assert len(progress) == 2 * len(NODES)
    assert lines[len(progress)].strip() == "swar-demo: data"


def test_each_component_finished_once(killed: Killed) -> None:
    executions = Store(killed.output).executions()
    complete = {node: executions[node, "COMPLETE"] for node in NODES if node != "Baseline"}
    assert set(complete.values()) == {1}


@pytest.mark.parametrize("key", ["speech", "pairs"])
def test_what_was_half_written_was_not_taken_for_whole(
    killed: Killed, finished: Run, key: str
) -> None:
    ours, theirs = (
        split_files(Path(Store(output).outputs()[key].uri))
        for output in (killed.output, finished.output)
    )
    assert {split: [path.name for path in files] for split, files in ours.items()} == {
        split: [path.name for path in files] for split, files in theirs.items()
    }
    for split, files in ours.items():
        assert [path.read_bytes() for path in files] == [
            path.read_bytes() for path in theirs[split]
        ]
