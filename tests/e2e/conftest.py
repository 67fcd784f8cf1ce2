"""The small run that the tests share, and ways to run again."""

import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from components.speech_example_gen import planning
from pipeline import cli
from pipeline.config import Config, load_config
from pipeline.local import runner
from pipeline.output.summary import RunSummary
from pipeline.sample_data.speech import write_sample_speech
from tests.e2e.support_runs import (
    CONFIG,
    SECONDS,
    SETTINGS,
    SHARD_SECONDS,
    SPEAKERS,
    Ended,
    arguments,
)


@dataclass(frozen=True)
class Run:
    """A finished run of the small pipeline."""

    config: Config
    data: Path
    output: Path
    summary: RunSummary

    @property
    def published(self) -> Path:
        """The folder of the version that it published."""
        assert self.summary.published_model is not None
        return Path(self.summary.published_model)


@pytest.fixture(scope="session", autouse=True)
def _small_shards() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(planning, "SHARD_SECONDS", SHARD_SECONDS)
        yield


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Sample speech, run to the end. Shared: what changes it uses `rerun`."""
    folder = tmp_path_factory.mktemp("finished")
    data, output = folder / "data", folder / "output"
    write_sample_speech(data, speakers=SPEAKERS, seconds=SECONDS)
    config = load_config(CONFIG, SETTINGS)
    return Run(config, data, output, runner.run(config, data=str(data), output=output))


@pytest.fixture
def swar(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Callable[[list[str]], Ended]:
    """Runs a command line in this process."""

    def run(argv: list[str]) -> Ended:
        monkeypatch.setattr(sys, "argv", ["swar", *argv])
        capfd.readouterr()
        with pytest.raises(SystemExit) as ended:
            cli.main()
        assert isinstance(ended.value.code, int)
        return Ended(ended.value.code, *capfd.readouterr())

    return run


@pytest.fixture
def rerun(
    finished: Run, swar: Callable[[list[str]], Ended], tmp_path: Path
) -> Iterator[Callable[..., Ended]]:
    """Runs the finished pipeline again, with more settings; afterwards all is as it was."""
    folder, copy = finished.output.parent, tmp_path / "copy"
    shutil.copytree(folder, copy)
    yield lambda *settings: swar(arguments(finished.data, finished.output, *settings))
    shutil.rmtree(folder)
    shutil.copytree(copy, folder)
