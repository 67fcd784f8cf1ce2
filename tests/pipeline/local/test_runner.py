import fcntl
import json
import logging
import os
import re
from pathlib import Path
from types import SimpleNamespace

import pytest

from components.errors import SwarError
from pipeline.config import Config, load_config
from pipeline.console import Progress
from pipeline.failures import RunFailed, user_error
from pipeline.local import runner
from pipeline.output.summary import RunSummary

CONFIG = Config(name="swar")


def _summarise(job: runner._Job, progress: Progress) -> RunSummary:
    return RunSummary(
        pipeline=job.config.name,
        config_digest=job.config.digest(),
        data=job.data,
        data_digest=job.data_digest,
        spans=[],
        recordings=len(job.listing.recordings),
        rejects={},
        examples={"eval": 3},
        metrics={"eval": {"eer": 0.1}},
        blessed=True,
        not_blessed_because=[],
        published_model=None,
        states={name: item.state for name, item in progress.components.items()},
        seconds={},
        artifacts="",
        log=str(job.log),
    )


@pytest.fixture
def nodes(monkeypatch: pytest.MonkeyPatch) -> list[BaseException]:
    """Replaces TFX by one component, which raises what the list holds."""
    raised: list[BaseException] = []

    def run_nodes(_: object) -> None:
        logging.getLogger("absl").info("Component %s is running.", "Trainer")
        os.write(2, b"noise from C++\n")
        if raised:
            raise raised[0]
        logging.getLogger("absl").info("Component %s is finished.", "Trainer")

    pipeline = SimpleNamespace(components=[SimpleNamespace(id="Trainer")])
    monkeypatch.setattr(runner, "_pipeline", lambda _: pipeline)
    monkeypatch.setattr(runner, "_run_nodes", run_nodes)
    monkeypatch.setattr(runner, "_summarise", _summarise)
    return raised


@pytest.fixture
def data(tmp_path: Path) -> str:
    """A folder with one recording, which nothing decodes."""
    recording = tmp_path / "data" / "asha" / "a.wav"
    recording.parent.mkdir(parents=True)
    recording.write_bytes(b"RIFF")
    return str(tmp_path / "data")


def test_a_run_is_quiet_and_leaves_log_and_summary(
    tmp_path: Path, data: str, nodes: list[BaseException], capfd: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "new" / "out"
    summary = runner.run(CONFIG, data=data, output=output)
    assert (summary.recordings, summary.states) == (1, {"Trainer": "done"})
    captured = capfd.readouterr()
    assert captured.err == ""
    _, running, done = captured.out.splitlines()
    assert running == "Trainer: running"
    assert re.fullmatch(r"Trainer: done, \d+\.\d s", done)
    assert "noise from C++" in Path(summary.log).read_text()
    written = json.loads((output / "summary.json").read_text())
    assert RunSummary(**written) == summary


def test_a_relative_data_folder_is_the_same_data(
    tmp_path: Path, data: str, nodes: list[BaseException], monkeypatch: pytest.MonkeyPatch
) -> None:
    absolute = runner.run(CONFIG, data=data, output=tmp_path / "out")
    monkeypatch.chdir(tmp_path)
    relative = runner.run(CONFIG, data="data", output=Path("out"))
    assert (relative.data, relative.data_digest) == (absolute.data, absolute.data_digest)


@pytest.mark.parametrize("error", [ValueError("bad shape"), SwarError("no speech, add some")])
def test_what_ends_a_run_is_in_the_log_with_its_traceback(
    tmp_path: Path, data: str, nodes: list[BaseException], error: Exception
) -> None:
    nodes.append(error)
    with pytest.raises(RunFailed, match=r"^Trainer failed .*; the traceback is in ") as raised:
        runner.run(CONFIG, data=data, output=tmp_path / "out")
    (log,) = (tmp_path / "out" / "logs").iterdir()
    assert str(raised.value).endswith(str(log))
    assert "Traceback (most recent call last)" in log.read_text()
    assert user_error(raised.value) == (str(error) if isinstance(error, SwarError) else None)
    assert not (tmp_path / "out" / "summary.json").exists()


def test_after_an_interrupt_the_folder_is_free(
    tmp_path: Path, data: str, nodes: list[BaseException]
) -> None:
    nodes.append(KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        runner.run(CONFIG, data=data, output=tmp_path / "out")
    nodes.clear()
    assert runner.run(CONFIG, data=data, output=tmp_path / "out").blessed


def test_two_runs_do_not_share_an_output_folder(
    tmp_path: Path, data: str, nodes: list[BaseException]
) -> None:
    (tmp_path / "out").mkdir()
    with (tmp_path / "out" / ".lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(SwarError, match=r"another run is writing to .*/out: wait for it"):
            runner.run(CONFIG, data=data, output=tmp_path / "out")


@pytest.mark.parametrize(
    ("output", "message"), [("data/out", "lies in the data"), ("out [1]", r"holds \[ and \]")]
)
def test_an_output_where_none_can_be_is_told_before_anything_is_written(
    tmp_path: Path, data: str, nodes: list[BaseException], output: str, message: str
) -> None:
    with pytest.raises(SwarError, match=message):
        runner.run(CONFIG, data=data, output=tmp_path / output)
    assert not (tmp_path / output).exists()


@pytest.mark.parametrize(
    ("folder", "message"),
    [
        ("none", r"noise_folder '.*none' does not exist"),
        ("data", r"a\.wav' is no recording that can be used"),
        (".", r"the output folder .* lies in the data"),
    ],
)
def test_a_wrong_folder_of_noise_is_told_before_anything_is_written(
    tmp_path: Path, data: str, nodes: list[BaseException], folder: str, message: str
) -> None:
    noisy = load_config(
        "demo",
        [
            "pairs.augmentation.noise_probability=0.5",
            f"pairs.augmentation.noise_folder={tmp_path / folder}",
        ],
    )
    with pytest.raises(SwarError, match=message):
        runner.run(noisy, data=data, output=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_an_output_that_is_no_folder_is_told(
    tmp_path: Path, data: str, nodes: list[BaseException]
) -> None:
    (tmp_path / "file").write_text("")
    fault = r"cannot write to the output folder .*/file/out \(.*: Not a directory\): make it"
    with pytest.raises(SwarError, match=fault):
        runner.run(CONFIG, data=data, output=tmp_path / "file" / "out")


def test_damaged_records_are_told_before_anything_runs(
    tmp_path: Path, data: str, nodes: list[BaseException]
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "metadata.sqlite").write_bytes(b"not what SQLite wrote" * 100)
    with pytest.raises(
        SwarError, match=r"out/metadata\.sqlite is damaged \(file is not .*bring it"
    ):
        runner.run(CONFIG, data=data, output=out)
    assert not list((out / "logs").iterdir())
