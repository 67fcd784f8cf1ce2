"""Runs commands in an empty folder, against a small endpoint."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import soundfile

from pipeline import cli
from tests.serving.commands.support_commands import OF_MODEL, Swar
from tests.serving.support_endpoint import RATE, FakeModel, grpc_endpoint, voice


@pytest.fixture
def swar(
    model: FakeModel,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Iterator[Swar]:
    """Runs a command in an empty folder: exit status, what it prints, what it complains of."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "home"))
    with grpc_endpoint(model) as url:

        def run(command: str, *arguments: Any) -> tuple[int, str, str]:
            is_named = command not in OF_MODEL or {"--url", "--model"} & set(arguments)
            at = () if is_named else ("--url", url)
            monkeypatch.setattr(sys, "argv", ["swar", command, *map(str, arguments), *at])
            with pytest.raises(SystemExit) as ended:
                cli.main()
            printed = capsys.readouterr()
            return int(ended.value.code or 0), printed.out, printed.err

        yield run


@pytest.fixture
def recording(tmp_path: Path) -> Callable[..., Path]:
    def write(name: str, pitch: float, seconds: float = 6.0) -> Path:
        soundfile.write(tmp_path / name, voice(pitch, seconds, seed=len(name)), RATE)
        return tmp_path / name

    return write
