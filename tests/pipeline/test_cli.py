import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer
from ruamel.yaml import YAML
from typer.testing import CliRunner

from components.errors import SwarError
from pipeline import cli
from pipeline.config import load_config
from pipeline.failures import RunFailed
from pipeline.local import runner
from pipeline.output import summary

RESULTS = summary.RunSummary(
    pipeline="swar",
    config_digest="c",
    data="/data/hyke [bold]",  # which is no style
    data_digest="d",
    spans=[],
    recordings=3,
    rejects={"empty": 1},
    examples={"eval": 1200},
    metrics={"eval": {"eer": 0.032, "recall": None}},
    blessed=True,
    not_blessed_because=[],
    published_model="/out/published/1",
    seconds={"Trainer": 2.5},
    states={"Trainer": "done"},
    artifacts="/out/artifacts",
    log="/out/logs/a.log",
)


def _swar(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", "from pipeline.cli import main; main()", *arguments],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[2],
    )


def _exit_status(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["swar", *arguments])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    code = ended.value.code
    assert isinstance(code, int)
    return code


@pytest.fixture
def outcome(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What the replaced runner returns or raises; afterwards also what it was called with."""
    outcome: list[Any] = []

    def run(*arguments: Any, **options: Any) -> summary.RunSummary:
        outcome.extend([arguments, options])
        if isinstance(outcome[0], BaseException):
            raise outcome[0]
        assert isinstance(outcome[0], summary.RunSummary)
        return outcome[0]

    monkeypatch.setattr(runner, "run", run)
    return outcome


RUN = ("run", "--config", "demo", "--data", "d", "--output", "o")


def test_config_prints_the_tree_and_its_digest() -> None:
    shown = (
        CliRunner()
        .invoke(cli.app, ["config", "--config", "demo", "--set", "trainer.epochs=9"])
        .stdout
    )
    config = load_config("demo", ["trainer.epochs=9"])
    assert shown.startswith(f"# digest: {config.digest()}\n")
    assert YAML(typ="safe").load(shown)["trainer"]["epochs"] == 9


def test_a_wrong_setting_is_one_line_and_status_2() -> None:
    ended = _swar("config", "--config", "demo", "--set", "trainer.epoch=9")
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr == (
        'swar: error: unknown setting "trainer.epoch" in --set trainer.epoch=9: '
        'did you mean "trainer.epochs"?\n'
    )


def test_a_missing_data_folder_leaves_nothing_behind(tmp_path: Path) -> None:
    output = tmp_path / "out"
    ended = _swar(
        "run", "--config", "demo", "--data", str(tmp_path / "nope"), "--output", str(output)
    )
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr.startswith("swar: error: ")
    assert ended.stderr.count("\n") == 1
    assert not output.exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run"], "Missing option '--config': see `swar run -h`"),
        (["nonsense"], "No such command 'nonsense': see `swar -h`"),
        (["verfy"], "No such command 'verfy'. Did you mean 'verify'?: see `swar -h`"),
        (["config", "--nonsense"], "No such option: --nonsense: see `swar config -h`"),
        (
            ["evaluate", "base", "--data", "d", "--split", "train"],
            "Invalid value for '--split': 'train' is not one of 'all', 'unseen': "
            "see `swar evaluate -h`",
        ),
        (["verify", "a", "b", "c"], "Got unexpected extra argument(s) (c): see `swar verify -h`"),
    ],
)
def test_a_wrong_command_is_one_line_and_status_2(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    message: str,
) -> None:
    assert _exit_status(monkeypatch, *arguments) == 2
    shown = capsys.readouterr()
    assert (shown.out, shown.err) == ("", f"swar: error: {message}\n")
    assert _exit_status(monkeypatch, *arguments, "--json") == 2
    shown = capsys.readouterr()
    assert (set(json.loads(shown.out)), shown.out.count("\n"), shown.err) == ({"error"}, 1, "")


def test_an_error_is_json_where_the_answer_would_be(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _exit_status(monkeypatch, "evaluate", "\u0928", "--data", "d", "--json") == 2
    shown = capsys.readouterr()
    assert shown.err == ""
    assert json.loads(shown.out)["error"].startswith("'\u0928' does not exist: name OUTPUT")
    assert _exit_status(monkeypatch, "verify", "none", "--", "--json") == 2
    assert capsys.readouterr().err.startswith("swar: error: 'none' does not exist")


@pytest.mark.parametrize("arguments", [[], ["-h"], ["--help"]])
def test_help_is_short_too(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: list[str]
) -> None:
    assert _exit_status(monkeypatch, *arguments) == 0
    assert "Speaker verification: recordings in, a served model out." in capsys.readouterr().out
    assert _exit_status(monkeypatch, "rollback", "-h") == 0
    assert "Publish an earlier model again" in capsys.readouterr().out


def test_a_shell_completes_commands_and_options() -> None:
    def completed(words: str, at: int) -> list[str]:
        asked = {"_SWAR_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(at)}
        ended = subprocess.run(
            [sys.executable, "-c", "from pipeline.cli import main; main()"],
            capture_output=True,
            text=True,
            cwd=Path(__file__).parents[2],
            env=os.environ | asked,
        )
        return ended.stdout.split()

    assert completed("swar ver", 1) == ["verify"]
    assert "enroll" in completed("swar en", 1)
    assert completed("swar verify --max", 2) == ["--max-false-accept"]


def test_an_interrupted_question_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr("typer.prompt", lambda *_, **__: _ended())
    assert _exit_status(monkeypatch, "app-password", str(tmp_path / "passwords"), "asha") == 2
    assert capsys.readouterr().err.endswith(
        "swar: error: the input ended before the question was answered\n"
    )


def _ended() -> str:
    raise typer.Abort


def test_light_commands_import_nothing_heavy() -> None:
    code = (
        "import sys; from typer.testing import CliRunner; from pipeline.cli import app;"
        "CliRunner().invoke(app, ['config', '--config', 'demo']);"
        "print({'tensorflow', 'tfx', 'apache_beam', 'numpy'} & set(sys.modules))"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ended.stdout == "set()\n"


def test_the_runner_gets_what_the_command_line_says(
    monkeypatch: pytest.MonkeyPatch, outcome: list[Any], capsys: pytest.CaptureFixture[str]
) -> None:
    outcome.append(RESULTS)
    arguments = (*RUN, "--set", "trainer.epochs=9", "--beam-workers", "2")
    assert _exit_status(monkeypatch, *arguments) == 0
    assert outcome[1:] == [
        (load_config("demo", ["trainer.epochs=9"]),),
        {"data": "d", "output": Path("o"), "beam_workers": 2},
    ]
    shown = capsys.readouterr().out
    assert all(
        text in shown for text in ("hyke [bold]", "1,200", "0.032", "1 empty", "/out/published/1")
    )


def test_a_model_that_is_not_blessed_is_status_1(
    monkeypatch: pytest.MonkeyPatch, outcome: list[Any], capsys: pytest.CaptureFixture[str]
) -> None:
    reasons = [
        "eer of eval is 0.3000, allowed 0.15",
        "eer of eval under white_noise_10_db is 0.4125, allowed 0.4",
    ]
    outcome.append(
        summary.RunSummary(
            **{
                **vars(RESULTS),
                "blessed": False,
                "not_blessed_because": reasons,
                "published_model": None,
                "eer_by_condition": {"eval": {"mp3": 0.2, "hum": None, "telephone": 0.1}},
            }
        )
    )
    assert _exit_status(monkeypatch, *RUN) == 1
    shown = capsys.readouterr().out
    assert [reason for reason in reasons if reason not in shown] == []  # each in one line
    assert "0.100 under telephone, 0.200 under mp3, none under hum" in shown
    assert "not published" in shown


def test_a_fault_of_the_user_within_a_component_is_status_2(
    monkeypatch: pytest.MonkeyPatch, outcome: list[Any], capsys: pytest.CaptureFixture[str]
) -> None:
    failed = RunFailed("SpeechExampleGen", SwarError("no speech"), Path("a.log"))
    failed.__cause__ = SwarError("no speech")
    outcome.append(failed)
    assert _exit_status(monkeypatch, *RUN) == 2
    assert capsys.readouterr().err == "swar: error: no speech\n"


def test_an_unexpected_error_is_status_3_and_names_the_log(
    monkeypatch: pytest.MonkeyPatch, outcome: list[Any], capsys: pytest.CaptureFixture[str]
) -> None:
    outcome.append(RunFailed("Trainer", ValueError("bad shape"), Path("/o/logs/a.log")))
    assert _exit_status(monkeypatch, *RUN) == 3
    assert capsys.readouterr().err == (
        "swar: error: Trainer failed (ValueError: bad shape); the traceback is in /o/logs/a.log\n"
    )


def test_an_interrupt_is_status_130(monkeypatch: pytest.MonkeyPatch, outcome: list[Any]) -> None:
    outcome.append(KeyboardInterrupt())
    assert _exit_status(monkeypatch, *RUN) == 130


def test_a_folder_that_may_not_be_read_is_one_line_and_status_2(
    monkeypatch: pytest.MonkeyPatch, outcome: list[Any], capsys: pytest.CaptureFixture[str]
) -> None:
    outcome.append(PermissionError(13, "Permission denied", "/root/x"))
    assert _exit_status(monkeypatch, *RUN) == 2
    assert capsys.readouterr().err == "swar: error: /root/x: Permission denied\n"


def _with_descriptors(opened: dict[int, int], *arguments: str) -> int:
    """The status of a command with these descriptors; it is started without those that are -1."""

    def prepare() -> None:
        for descriptor, source in opened.items():
            os.close(descriptor) if source < 0 else os.dup2(source, descriptor)

    return subprocess.run(
        [sys.executable, "-c", "from pipeline.cli import main; main()", *arguments],
        preexec_fn=prepare,
        cwd=Path(__file__).parents[2],
    ).returncode


@pytest.mark.parametrize("json_option", [(), ("--json",)], ids=["text", "json"])
@pytest.mark.parametrize("kind", ["closed", "full", "without a reader"])
def test_an_error_that_cannot_be_said_has_its_status(kind: str, json_option: tuple[str]) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with open("/dev/full", "wb") as full:
        source = {"closed": -1, "full": full.fileno(), "without a reader": writer}[kind]
        command = ("evaluate", "nowhere", "--data", "nowhere", *json_option)
        assert _with_descriptors({1: source, 2: source}, *command) == 2
    os.close(writer)


@pytest.mark.parametrize("command", [("config", "--config", "demo"), ("-h",), ("--version",)])
def test_output_without_a_reader_is_no_negative_answer(command: tuple[str, ...]) -> None:
    """1 would say that two speakers differ, or that a model was not good enough."""
    reader, writer = os.pipe()
    os.close(reader)
    assert _with_descriptors({1: writer}, *command) == 141
    os.close(writer)
