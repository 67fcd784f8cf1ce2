"""What the commands share: recordings on stdin, the gallery's place, what they load."""

import glob
import io
import json
import struct
import subprocess
import sys
import tempfile
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from tests.bad_recordings import encoded
from tests.serving.commands.support_commands import HIGH, LOW, Swar
from tests.serving.support_endpoint import RATE, voice


def test_help_loads_nothing_heavy() -> None:
    code = (
        "import sys; from typer.testing import CliRunner; from pipeline.cli import app;"
        "assert CliRunner().invoke(app, ['identify', '--help']).exit_code == 0;"
        "print({'tensorflow', 'grpc', 'lancedb', 'numpy', 'gradio'} & set(sys.modules))"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[3],
    )
    assert ended.stdout.strip() == "set()"


@pytest.mark.parametrize(
    ("command", "heavy"),
    [
        (["verify", "a.wav", "a.wav"], {"lancedb", "pyarrow", "pandas", "tensorflow"}),
        (["verify", "--pairs", "pairs.tsv"], {"lancedb", "pyarrow", "pandas", "tensorflow"}),
        (["embed", "calls", "--output", "calls.parquet"], {"lancedb", "tensorflow"}),
    ],
)
def test_a_command_loads_only_the_libraries_that_it_needs(
    tmp_path: Path, command: list[str], heavy: set[str]
) -> None:
    (tmp_path / "calls").mkdir()
    for path in (tmp_path / "a.wav", tmp_path / "calls" / "b.wav"):
        soundfile.write(path, voice(120.0, 3.0), RATE)
    (tmp_path / "pairs.tsv").write_text("a.wav\ta.wav\n")
    code = f"""
import atexit, os, sys
from pipeline.cli import main
from tests.serving.support_endpoint import FakeModel, grpc_endpoint
atexit.register(lambda: print({heavy} & set(sys.modules)))
os.chdir(sys.argv.pop(1))
with grpc_endpoint(FakeModel()) as url:
    sys.argv = ["swar", *sys.argv[1:], "--url", url]
    main()
"""
    ended = subprocess.run(
        [sys.executable, "-c", code, tmp_path, *command],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[3],
    )
    assert ended.stdout.splitlines()[-1] == "set()"


@pytest.mark.parametrize(
    "arguments", [["verify", "here.wav", "missing.wav"], ["enroll", "Sita", "missing.wav"]]
)
def test_a_missing_recording_is_named_before_anything_heavy_is_loaded(
    arguments: list[str], tmp_path: Path
) -> None:
    (tmp_path / "here.wav").touch()
    code = (
        "import sys, atexit; sys.argv[0] = 'swar'; from pipeline.cli import main;"
        "heavy = {'tensorflow', 'lancedb'};"
        "atexit.register(lambda: print(heavy & set(sys.modules))); main()"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, cwd=tmp_path
    )
    assert (ended.returncode, ended.stdout) == (2, "set()\n")
    assert ended.stderr == ("swar: error: 'missing.wav' does not exist: name another recording\n")


@pytest.fixture
def piped(monkeypatch: pytest.MonkeyPatch) -> Callable[[bytes], None]:
    """Puts bytes where commands read stdin."""

    def pipe(content: bytes) -> None:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))

    return pipe


def test_an_empty_name_is_not_the_default_gallery(swar: Swar, recording: Any) -> None:
    assert swar("enroll", "Low", recording("low.wav", LOW))[0] == 0
    status, _, err = swar("forget", "Low", "--gallery", "")
    assert (status, "the gallery's name is empty: name a folder" in err) == (2, True)
    assert swar("speakers", "Low")[0] == 0


def test_a_recording_may_come_on_stdin(swar: Swar, recording: Any, piped: Any) -> None:
    low, high = recording("low.wav", LOW), recording("high.wav", HIGH)
    piped(low.read_bytes())
    assert swar("enroll", "Low", "-")[0] == 0
    for status, command in (
        (0, ("verify", "-", low)),
        (1, ("verify", high, "-")),
        (0, ("verify", "-", "--speaker", "Low")),
        (0, ("identify", "-")),
        (0, ("identify", high, "-")),
        (0, ("embed", "-", "--output", "low.parquet")),
    ):
        piped(low.read_bytes())
        assert swar(*command)[0] == status, command
    piped(low.read_bytes())
    assert swar("identify", high, "-")[1].splitlines()[1].startswith("-: Low (")
    assert json.loads(swar("speakers", "Low", "--json")[1])[0]["source"] == "stdin"
    assert not glob.glob(f"{tempfile.gettempdir()}/swar-*/stdin")


def test_the_log_calls_a_recording_on_stdin_stdin(
    swar: Swar, recording: Any, piped: Any, caplog: pytest.LogCaptureFixture
) -> None:
    one_sided = io.BytesIO()
    low = soundfile.read(recording("low.wav", LOW))[0]
    soundfile.write(one_sided, np.stack([low, 0.0 * low], axis=1), RATE, format="WAV")
    swar("enroll", "Low", "low.wav")
    for command in (("identify", "-"), ("embed", "-", "--output", "low.parquet")):
        caplog.clear()
        piped(one_sided.getvalue())
        swar(*command)
        (note,) = [each.getMessage() for each in caplog.records if each.name == "swar.audio"]
        assert note.startswith("stdin: of its 2 channels 1 alone is used")


_VERIFY = """
import os, sys
from pipeline.cli import main
from tests.serving.support_endpoint import FakeModel, grpc_endpoint
os.chdir(sys.argv[1])
with grpc_endpoint(FakeModel()) as url:
    sys.argv = ["swar", "verify", "low.mp3", "low.wav", "--url", url]
    main()
"""


def test_nothing_of_libraries_is_shown(recording: Any, tmp_path: Path) -> None:
    """libmpg123 writes to stderr of an MP3 whose header tells of another size."""
    content = encoded(soundfile.read(recording("low.wav", LOW))[0], RATE, "MP3")
    at = max(content.find(b"Xing"), content.find(b"Info")) + 12
    size = struct.pack(">I", len(content) // 2)
    (tmp_path / "low.mp3").write_bytes(content[:at] + size + content[at + 4 :])
    command = [sys.executable, "-c", _VERIFY, str(tmp_path)]
    ended = subprocess.run(
        command, capture_output=True, text=True, cwd=Path(__file__).parents[3], check=True
    )
    assert ended.stdout.startswith("same speaker")
    assert ended.stderr == ""


def test_what_is_no_recording_on_stdin_is_one_line(
    swar: Swar, recording: Any, piped: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("serving.defaults.MAX_RECORDING_BYTES", 2**20)
    low = recording("low.wav", LOW)
    for content, command, message in (
        (b"", ("verify", "-", low), "stdin holds nothing"),
        (b"x" * (2**20 + 1), ("identify", "-"), "stdin holds more than 1 MiB"),
        (b"text", ("verify", low, "-"), "error: stdin: "),
        (b"", ("verify", "-", "-"), "give it once"),
        (b"", ("enroll", "Low", "-", low, "-"), "give it once"),
    ):
        piped(content)
        status, out, err = swar(*command)
        assert (status, out, err.count("\n")) == (2, "", 1)
        assert message in err


def test_nobody_is_waited_for_to_type_a_recording(
    swar: Swar, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", types.SimpleNamespace(isatty=lambda: True))
    for command in (("identify", "-"), ("embed", "-", "--output", "x.parquet")):
        status, _, err = swar(*command)
        assert status == 2
        assert "stdin, which is a terminal: pipe one into it" in err
