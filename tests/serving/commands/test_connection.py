"""Which model the options and the environment name."""

import contextlib
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pipeline import cli
from tests.serving.commands.support_commands import LOW, Swar
from tests.serving.support_endpoint import FakeModel, grpc_endpoint


def test_no_endpoint_is_status_2(swar: Swar, recording: Any, tmp_path: Path) -> None:
    code = "import sys; sys.argv[0] = 'swar'; from pipeline.cli import main; main()"
    file = recording("a.wav", LOW)
    ended = subprocess.run(
        [
            *(sys.executable, "-c", code, "verify", file, file),
            *("--url", "grpc://127.0.0.1:9", "--deadline", "0.5"),
        ],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[3],
    )
    assert (ended.returncode, ended.stdout) == (2, "")
    assert "no endpoint answers at grpc://127.0.0.1:9: start one with `swar serve" in ended.stderr
    assert ended.stderr.count("\n") == 1


@pytest.mark.parametrize(
    "url",
    [
        "http://svc:SECRET@127.0.0.1:1",
        "https://SECRET@127.0.0.1:1",
        "grpc://svc:SECRET@127.0.0.1:1",
        "http://127.0.0.1:1/?key=SECRET",
        "http://127.0.0.1:1/#SECRET",
        "ftp://svc:SECRET@127.0.0.1:1",
    ],
)
def test_a_password_in_the_url_is_refused_and_not_shown(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], recording: Any, url: str
) -> None:
    """What asks a server says in messages, and on the page, where it is."""
    file = str(recording("a.wav", LOW))
    monkeypatch.setattr(sys, "argv", ["swar", "verify", file, file, "--url", url])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    printed = capsys.readouterr()
    assert ended.value.code == 2
    assert "leave out user, password" in printed.err
    assert "SECRET" not in printed.out + printed.err


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (["--model", "base", "--url", "grpc://127.0.0.1:9"], "give one of them"),
        (["--deadline", "3"], "--deadline is about a server: name it with --url"),
        (["--model-name", "swar"], "--model-name is about a server"),
    ],
)
def test_options_are_checked_before_anything_heavy_is_loaded(
    wrong: list[str], message: str
) -> None:
    code = (
        "import sys, atexit; sys.argv[0] = 'swar'; from pipeline.cli import main;"
        "heavy = {'tensorflow', 'grpc', 'lancedb', 'numpy'};"
        "atexit.register(lambda: print(heavy & set(sys.modules))); main()"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code, "identify", "call.wav", *wrong],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[3],
    )
    assert (ended.returncode, ended.stdout) == (2, "set()\n")
    assert ended.stderr.startswith("swar: error: ") and ended.stderr.count("\n") == 1
    assert message in ended.stderr


@pytest.fixture
def endpoint(model: FakeModel) -> Iterator[str]:
    with grpc_endpoint(model) as url:
        yield url


ELSEWHERE = "grpc://127.0.0.1:9"


@pytest.mark.parametrize(
    ("url_variable", "model_variable", "options"),
    [
        ("{endpoint}", "", ()),
        (ELSEWHERE, "", ("--url", "{endpoint}")),
        (ELSEWHERE, "nowhere", ("--url", "{endpoint}")),
        ("", "nowhere", ("--url", "{endpoint}")),
    ],
)
def test_an_option_beats_the_environment(
    endpoint: str,
    model: FakeModel,
    recording: Any,
    monkeypatch: pytest.MonkeyPatch,
    url_variable: str,
    model_variable: str,
    options: tuple[str, ...],
) -> None:
    monkeypatch.setenv("SWAR_URL", url_variable.format(endpoint=endpoint))
    monkeypatch.setenv("SWAR_MODEL", model_variable)
    file = str(recording("a.wav", LOW))
    given = [each.format(endpoint=endpoint) for each in options]
    monkeypatch.setattr(sys, "argv", ["swar", "verify", file, file, *given])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert not ended.value.code
    assert model.calls


def test_a_model_that_is_named_beats_a_server_of_the_environment(
    swar: Swar, recording: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SWAR_URL", ELSEWHERE)
    file = recording("a.wav", LOW)
    assert "'nowhere' does not exist" in swar("verify", file, file, "--model", "nowhere")[2]
    monkeypatch.setenv("SWAR_URL", "")
    monkeypatch.setenv("SWAR_MODEL", "variable")
    assert "'other' does not exist" in swar("verify", file, file, "--model", "other")[2]


def test_a_model_and_a_server_of_the_environment_exclude_one_another(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SWAR_URL", ELSEWHERE)
    monkeypatch.setenv("SWAR_MODEL", "base")
    monkeypatch.setattr(sys, "argv", ["swar", "identify", "a.wav"])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 2
    assert "SWAR_MODEL and SWAR_URL are both set: unset one" in capsys.readouterr().err


def test_a_wait_for_a_server_is_told(
    model: FakeModel,
    recording: Any,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    with grpc_endpoint(FakeModel()) as url:
        port = int(url.rpartition(":")[2])
    file = recording("a.wav", LOW)
    with contextlib.ExitStack() as stack:
        start = threading.Timer(3.0, lambda: stack.enter_context(grpc_endpoint(model, port)))
        start.start()
        monkeypatch.setattr(sys, "argv", ["swar", "verify", str(file), str(file), "--url", url])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        start.join()
    assert not ended.value.code
    assert capfd.readouterr().err == f"waiting for {url}, for 60 s at most\n"
