import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from pipeline import cli
from pipeline.config import Config, load_config

Calls = list[tuple[Any, ...]]


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Calls:
    """What the compiler and the runners, all replaced, are called with."""
    made: Calls = []

    def stand_in(module: str, function: str, answer: object) -> None:
        def call(config: Config, *arguments: Any, **named: Any) -> object:
            made.append((f"{module}.{function}", config, *arguments, named))
            return answer

        replaced = ModuleType(f"pipeline.engines.{module}")
        setattr(replaced, function, call)
        monkeypatch.setitem(sys.modules, f"pipeline.engines.{module}", replaced)
        monkeypatch.setattr(f"pipeline.engines.{module}", replaced, raising=False)

    stand_in("compiler", "compile_pipeline", None)
    stand_in("vertex_runner", "submit", "https://console.example/run")
    stand_in("kubeflow_runner", "submit", "run-1")
    return made


@pytest.fixture
def swar(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Callable[..., Any]:
    """Runs a command line; gives its exit status, stdout and stderr."""

    def run(*arguments: str) -> tuple[Any, str, str]:
        monkeypatch.setattr(sys, "argv", ["swar", *arguments])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        return ended.value.code, *capfd.readouterr()

    return run


def test_compile_writes_where_it_is_told(calls: Calls, swar: Callable[..., Any]) -> None:
    ended = swar("compile", "--config", "demo", "--set", "trainer.epochs=9", "a.yaml")
    assert ended == (0, "", "")
    config = load_config("demo", ["trainer.epochs=9"])
    assert calls == [("compiler.compile_pipeline", config, Path("a.yaml"), {})]


@pytest.mark.parametrize(
    ("name", "runner", "shown"),
    [
        ("vertex", "vertex_runner.submit", "https://console.example/run\n"),
        ("kubeflow", "kubeflow_runner.submit", "run-1\n"),
    ],
)
def test_submit_goes_where_the_settings_say(
    calls: Calls, swar: Callable[..., Any], name: str, runner: str, shown: str
) -> None:
    setting = f"engine.name={name}"
    ended = swar("submit", "--config", "demo", "--data", "gs://d", "--set", setting)
    assert ended == (0, shown, "")
    ((called, config, named),) = calls
    assert (called, config) == (runner, load_config("demo", [setting]))
    assert named.pop("data") == "gs://d"
    assert set(named) == {"show"}


@pytest.mark.parametrize("command", [("compile", "a.yaml"), ("submit", "--data", "gs://d")])
def test_what_an_example_left_open_is_not_sent(
    calls: Calls, swar: Callable[..., Any], command: tuple[str, ...]
) -> None:
    ended = swar(*command, "--config", "demo", "--set", "engine.root=gs://BUCKET/swar")
    line = "engine.root is 'gs://BUCKET/swar': put your own in place of \"BUCKET\""
    assert ended == (2, "", f"swar: error: {line}\n")
    assert calls == []
