import glob
import json
import os
import shlex
import subprocess
import sys
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from components import base_model
from pipeline import cli
from serving import server
from serving.commands import servers
from serving.standin.batcher import Batching
from serving.web.guard import PageSettings
from serving.web.login import PasswordLogin, ProxyLogin
from tests.serving.support_endpoint import RATE, THRESHOLD, FakeModel, grpc_endpoint, voice

LOW, HIGH = 110.0, 320.0
OF_MODEL = ("app", "embed", "enroll", "identify", "reenroll", "verify")
Swar = Callable[..., tuple[int, str, str]]


@pytest.fixture
def swar(
    model: FakeModel,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Iterator[Swar]:
    """Runs a command in an empty folder: exit status, what it prints, what it complains of."""
    monkeypatch.chdir(tmp_path)
    with grpc_endpoint(model) as url:

        def run(command: str, *arguments: Any) -> tuple[int, str, str]:
            at = ("--url", url) if command in OF_MODEL else ()
            monkeypatch.setattr(sys, "argv", ["swar", command, *map(str, arguments), *at])
            with pytest.raises(SystemExit) as ended:
                cli.main()
            told = capsys.readouterr()
            return int(ended.value.code or 0), told.out, told.err

        yield run


@pytest.fixture
def recording(tmp_path: Path) -> Callable[..., Path]:
    def write(name: str, pitch: float, seconds: float = 6.0) -> Path:
        soundfile.write(tmp_path / name, voice(pitch, seconds, seed=len(name)), RATE)
        return tmp_path / name

    return write


def test_verify_says_same_or_different(swar: Swar, recording: Any) -> None:
    low, again, high = recording("a.wav", LOW), recording("bb.wav", LOW), recording("c.wav", HIGH)
    status, out, _ = swar("verify", low, again)
    assert status == 0
    assert out.startswith("same speaker (probability 0.9")
    status, out, _ = swar("verify", low, high)
    assert status == 1
    assert out.startswith("different speakers (probability 0.0")


def test_verify_for_programs(swar: Swar, recording: Any) -> None:
    status, out, _ = swar("verify", recording("a.wav", LOW), recording("b.wav", HIGH), "--json")
    answer = json.loads(out)
    assert status == 1
    assert answer["same_speaker"] is False
    assert answer["verdict"] == "different"
    assert set(answer) == {"distance", "probability", "same_speaker", "verdict", "rule"}
    assert answer["rule"]["accept_up_to"] == answer["rule"]["different_beyond"] == THRESHOLD
    assert answer["rule"]["false_accepts"] == {"value": 0.02, "low": 0.01, "high": 0.04}


def test_a_bound_on_false_accepts_has_a_third_verdict(swar: Swar, recording: Any) -> None:
    low, again, high = recording("a.wav", LOW), recording("bb.wav", LOW), recording("c.wav", HIGH)
    assert swar("verify", low, again, "--max-false-accept", 0.05)[0] == 0
    status, out, _ = swar("verify", low, again, "--max-false-accept", 0.01)
    assert status == 4
    assert out.startswith("inconclusive (probability 0.9")
    told = "up to distance 0.000: false accepts 2 % (1 to 4 %), false rejects 2 % (1 to 4 %)"
    assert f"{told}, of 120 calibration speakers; prior 0.5" in out
    assert swar("verify", low, high, "--max-false-accept", 0.01)[0] == 1
    status, out, err = swar("verify", low, again, "--max-false-accept", 0.001)
    assert (status, out) == (2, "")
    assert "cannot hold 0.1 % false accepts" in err and "246 calibration speakers would do" in err


def test_a_prior_moves_the_probability_and_not_the_verdict(swar: Swar, recording: Any) -> None:
    low, again = recording("a.wav", LOW), recording("bb.wav", LOW)
    even = json.loads(swar("verify", low, again, "--json")[1])
    status, out, _ = swar("verify", low, again, "--json", "--prior", 0.001)
    rare = json.loads(out)
    assert status == 0
    assert rare["probability"] < even["probability"]
    assert rare["verdict"] == even["verdict"] == "same"
    assert swar("verify", low, again, "--prior", 1)[0] == 2


def test_a_bound_holds_for_a_query_however_many_are_enrolled(swar: Swar, recording: Any) -> None:
    swar("enroll", "Low", recording("a.wav", LOW))
    query = recording("query.wav", LOW, 3.0)
    assert swar("identify", query, "--max-false-accept", 0.05)[0] == 0
    swar("enroll", "High", recording("h.wav", HIGH))
    status, out, _ = swar("identify", query, "--max-false-accept", 0.05, "--json")
    answer = json.loads(out)
    assert status == 4
    assert (answer["speaker"], answer["verdict"]) == (None, "inconclusive")
    assert answer["rule"]["accept_up_to"] == 1e-4
    assert swar("identify", query, "--max-false-accept", 0.05)[1].startswith("inconclusive\n")
    status, _, err = swar("identify", query, "--max-false-accept", 0.005)
    assert status == 2
    assert "0.5 % false accepts of a query among 2 speakers" in err
    assert "246 calibration speakers would do" in err


def test_an_error_is_one_line_and_status_2(swar: Swar, recording: Any) -> None:
    status, out, err = swar("verify", recording("a.wav", LOW, 1.0), recording("b.wav", LOW))
    assert (status, out) == (2, "")
    assert err.count("\n") == 1
    assert err.startswith("swar: error: ")
    assert "a.wav' is too short" in err


def test_no_endpoint_is_status_2(swar: Swar, recording: Any, tmp_path: Path) -> None:
    code = "import sys; sys.argv[0] = 'swar'; from pipeline.cli import main; main()"
    file = recording("a.wav", LOW)
    ended = subprocess.run(
        [sys.executable, "-c", code, "verify", file, file, "--url", "grpc://127.0.0.1:9"],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[2],
    )
    assert (ended.returncode, ended.stdout) == (2, "")
    assert "no endpoint answers at grpc://127.0.0.1:9: start one with `swar serve" in ended.stderr
    assert ended.stderr.count("\n") == 1


@pytest.mark.parametrize("wrong", [["a"], ["a", "b", "--speaker", "x"], []])
def test_verify_wants_a_second_recording_or_a_speaker(swar: Swar, wrong: list[str]) -> None:
    status, out, err = swar("verify", *wrong)
    assert (status, out) == (2, "")
    assert "Usage" in err


def test_enrolled_speakers_are_identified(swar: Swar, recording: Any) -> None:
    status, out, _ = swar("enroll", "[bold]Low[/bold]", recording("a.wav", LOW))
    assert status == 0
    assert out.startswith("[bold]Low[/bold]: 1 new recording, 6.0 s of speech in all\n")
    assert "at most" in out
    assert "warning" not in out
    assert Path("gallery").is_dir()
    status, out, _ = swar("identify", recording("query.wav", LOW, 3.0))
    assert (status, out.splitlines()[0]) == (0, "[bold]Low[/bold]")
    status, out, _ = swar("identify", recording("stranger.wav", HIGH, 3.0))
    assert (status, out.splitlines()[0]) == (1, "unknown")
    assert "different" in out


def test_identify_for_programs(swar: Swar, recording: Any) -> None:
    swar("enroll", "श्रेष्ठ", recording("a.wav", LOW), "--gallery", "people")
    query = recording("query.wav", LOW, 3.0)
    status, out, _ = swar("identify", query, "--json", "--gallery", "people")
    answer = json.loads(out)
    assert status == 0
    assert answer["speaker"] == answer["candidates"][0]["speaker"] == "श्रेष्ठ"
    assert answer["candidates"][0]["same_speaker"] is True
    stranger = recording("s.wav", HIGH, 3.0)
    status, out, _ = swar("identify", stranger, "--json", "--gallery", "people")
    assert (status, json.loads(out)["speaker"]) == (1, None)
    status, _, err = swar("identify", query, "--gallery", "nobody")
    assert status == 2
    assert "no gallery at 'nobody'" in err


def test_verify_with_a_speaker(swar: Swar, recording: Any) -> None:
    swar("enroll", "Low", recording("a.wav", LOW))
    assert swar("verify", recording("b.wav", LOW, 3.0), "--speaker", "Low")[0] == 0
    assert swar("verify", recording("c.wav", HIGH, 3.0), "--speaker", "Low")[0] == 1
    status, _, err = swar("verify", recording("b.wav", LOW, 3.0), "--speaker", "Nobody")
    assert status == 2
    assert "nobody named 'Nobody'" in err


def test_enroll_warns_of_a_file_that_does_not_fit(swar: Swar, recording: Any) -> None:
    files = [recording("a.wav", LOW, 3.0), recording("bb.wav", LOW, 3.0)]
    files.append(recording("other.wav", HIGH, 3.0))
    status, _, err = swar("enroll", "Low", *files)
    assert status == 2
    assert "'Low' is not enrolled: the model hears another speaker" in err and "other.wav" in err
    status, out, _ = swar("enroll", "Low", *files, "--force")
    assert status == 0
    assert "warning: 'other.wav' does not sound like the same speaker" in out
    another = recording("another.wav", HIGH, 3.0)
    status, out, _ = swar("enroll", "Low", another, "--json", "--force")
    report = json.loads(out)
    assert report["consistent"] is False
    assert [part["source"] for part in report["parts"]] == ["another.wav"]


def test_too_little_speech(swar: Swar, recording: Any) -> None:
    status, out, err = swar("enroll", "Low", recording("a.wav", LOW, 3.0))
    assert (status, out) == (2, "")
    assert "3.0 s of speech are too little to enrol 'Low': give at least 5 s" in err


def test_speakers_and_forget(swar: Swar, recording: Any) -> None:
    swar("enroll", "Low", recording("a.wav", LOW), "--keep-audio")
    swar("enroll", "High", recording("b.wav", HIGH))
    status, out, _ = swar("speakers")
    assert status == 0
    assert [line.split()[0] for line in out.splitlines()] == ["speaker", "High", "Low"]
    listed = json.loads(swar("speakers", "--json")[1])
    assert [(each["name"], each["audio_kept"]) for each in listed] == [
        ("High", False),
        ("Low", True),
    ]
    status, out, _ = swar("forget", "Low")
    assert (status, out.splitlines()[0]) == (0, "Low is forgotten: 1 recording removed")
    assert "not touched: " in out and "backups" in out
    status, _, err = swar("forget", "Low")
    assert status == 2
    assert "nobody named 'Low'" in err
    assert json.loads(swar("forget", "High", "--json")[1]) == {"speaker": "High", "recordings": 1}
    assert swar("speakers")[:2] == (0, "nobody is enrolled\n")


def test_one_recording_is_listed_and_forgotten(swar: Swar, recording: Any) -> None:
    swar(
        "enroll", "Low", recording("a.wav", LOW), "--consent", "form 12", "--expires", "2099-01-31"
    )
    swar("enroll", "Low", recording("bb.wav", LOW))
    status, out, _ = swar("speakers", "Low")
    assert status == 0
    assert "a.wav" in out and "2099-01-31" in out and "form 12" in out
    first, second = json.loads(swar("speakers", "Low", "--json")[1])
    assert (first["source"], first["consent"]) == ("a.wav", "form 12")
    assert first["expires_at"] == "2099-01-31T00:00:00+00:00"
    assert swar("forget", "Low", "--recording", first["id"][:12])[0] == 0
    assert [each["id"] for each in json.loads(swar("speakers", "Low", "--json")[1])] == [
        second["id"]
    ]
    assert swar("forget", "--expired")[:2] == (0, "0 recordings had expired: removed\n")
    for wrong in ((), ("Low", "--expired"), ("--expired", "--recording", "x")):
        assert swar("forget", *wrong)[0] == 2


def test_a_name_that_looks_like_another_needs_force(swar: Swar, recording: Any) -> None:
    swar("enroll", "Low", recording("a.wav", LOW))
    status, _, err = swar("enroll", "L\u043ew", recording("b.wav", HIGH))
    assert status == 2
    assert "looks like 'Low', who is enrolled" in err
    status, out, _ = swar("enroll", "L\u043ew", recording("b.wav", HIGH), "--force")
    assert status == 0
    assert "warning: the name looks like that of another speaker, 'Low'" in out


def test_a_gallery_is_sealed(swar: Swar, recording: Any) -> None:
    file, query = recording("a.wav", LOW), recording("q.wav", LOW, 3.0)
    swar("enroll", "Low", file)
    status, out, _ = swar("gallery-key", "key")
    assert status == 0
    assert "keep a copy elsewhere" in out
    assert swar("seal", "--gallery-key", "key")[:2] == (
        0,
        "1 recording sealed with the first key\n",
    )
    status, _, err = swar("identify", query)
    assert status == 2
    assert "the gallery is sealed: name its key with --gallery-key" in err
    assert swar("identify", query, "--gallery-key", "key")[0] == 0
    assert swar("verify", query, "--speaker", "Low", "--gallery-key", "key")[0] == 0


def test_who_opted_out_is_refused_and_the_ledger_tells_it(swar: Swar, recording: Any) -> None:
    file = recording("a.wav", LOW)
    swar("enroll", "Low", file)
    assert swar("opt-out", "Low")[:2] == (0, "Low is not enrolled from now on\n")
    status, _, err = swar("enroll", "low", file)
    assert status == 2
    assert "'low' has opted out" in err
    assert swar("opt-out", "Low", "--undo")[0] == 0
    assert swar("enroll", "Low", file)[0] == 0
    told = [json.loads(line)["action"] for line in swar("ledger", "Low", "--json")[1].splitlines()]
    assert told == ["enrol", "opt-out", "forget", "opt-in", "enrol"]
    assert "opt-out" in swar("ledger")[1]


def test_what_commands_write_is_for_their_user_alone(swar: Swar, recording: Any) -> None:
    os.umask(0o022)
    data = Path("data")
    data.mkdir()
    recording("a.wav", LOW).rename(data / "a.wav")
    swar("embed", "data", "--output", "embeddings.parquet")
    swar("enroll", "Low", data / "a.wav", "--keep-audio")
    written = [Path("embeddings.parquet"), Path("gallery"), *Path("gallery").rglob("*")]
    assert len(written) > 5
    assert [path for path in written if path.stat().st_mode & 0o077] == []


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
    told = capsys.readouterr()
    assert ended.value.code == 2
    assert "leave out user, password" in told.err
    assert "SECRET" not in told.out + told.err


def test_the_page_asks_who_uses_it_as_the_options_say(
    swar: Swar, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[Any] = []
    page = types.ModuleType("serving.web.page")
    page.launch = lambda *given: told.append(given)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "serving.web.page", page)
    monkeypatch.setattr("typer.prompt", lambda *_, **__: "correct horse battery")
    assert swar("app-password", "passwords", "asha")[0] == 0
    public = ("--host", "0.0.0.0", "--public-host", "swar.example")
    assert swar("app", *public, "--auth", "passwords")[0] == 0
    assert isinstance(told[0][2].login, PasswordLogin)
    proxy = ("--auth-header", "X-User", "--auth-proxy", "10.0.0.0/8")
    assert swar("app", *public, *proxy)[0] == 0
    assert isinstance(told[1][2].login, ProxyLogin)
    for wrong, message in (
        ((), "needs a login"),
        (proxy[:2], "go together"),
        (proxy[2:], "go together"),
        ((*proxy, "--auth", "passwords"), "give one"),
        (("--auth", "none"), "app-password"),
    ):
        status, _, err = swar("app", *public, *wrong)
        assert status == 2
        assert message in err
    assert len(told) == 2


def test_reenroll(swar: Swar, model: FakeModel, recording: Any) -> None:
    swar("enroll", "Low", recording("a.wav", LOW), "--keep-audio")
    model.digest = "model-2"
    status, _, err = swar("identify", recording("q.wav", LOW, 3.0))
    assert status == 2
    assert "swar reenroll" in err
    assert swar("reenroll")[:2] == (
        0,
        "1 recording enrolled again: the gallery fits the model\n",
    )
    assert swar("identify", recording("q.wav", LOW, 3.0))[0] == 0
    assert json.loads(swar("reenroll", "--json")[1]) == {"recordings": 0}


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A working folder with versions in `published` and `base`, where every port is free."""
    for name in ("published", "base"):
        (tmp_path / name / "1").mkdir(parents=True)
        (tmp_path / name / "1" / "saved_model.pb").touch()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(servers, "check_free", lambda *_: None)


@pytest.mark.usefixtures("here")
def test_serve_and_app_pass_on_what_they_are_told(
    swar: Swar, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[Any] = []
    page = types.ModuleType("serving.web.page")
    page.launch = lambda *given: told.append(given)  # type: ignore[attr-defined]
    monkeypatch.setattr(server, "serve", told.append)
    monkeypatch.setitem(sys.modules, "serving.web.page", page)
    options = ["--grpc-port", "1234", "--label", "stable=7", "--max-batch-size", "8"]
    monkeypatch.setattr(sys, "argv", ["swar", "serve", "published", *options])
    with pytest.raises(SystemExit):
        cli.main()
    assert swar("app", "--port", "77", "--gallery", "people")[0] == 0
    settings, (client, gallery, page_settings) = told
    assert settings.model_dir == Path("published")
    assert (settings.grpc_port, settings.rest_port) == (1234, 8501)
    assert settings.labels == {"stable": 7}
    assert settings.batching.max_batch_size == 8
    assert client.url.startswith("grpc://127.0.0.1:")
    assert gallery.uri == "people"
    assert page_settings == PageSettings("127.0.0.1", 77, (), None)


@pytest.mark.usefixtures("here")
def test_serve_batches_as_the_batcher_does_by_itself(
    swar: Swar, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[Any] = []
    monkeypatch.setattr(server, "serve", told.append)
    assert swar("serve", "published")[0] == 0
    assert told[0].batching == Batching()
    assert Batching().max_batch_size * Batching().max_enqueued_batches == 1_024


@pytest.mark.usefixtures("here")
def test_the_base_model_is_served_as_a_folder_of_versions(
    swar: Swar, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    served: list[Any] = []
    monkeypatch.setattr(server, "serve", served.append)
    monkeypatch.setattr(base_model, "base_model_folder", lambda: tmp_path / "made" / "1")
    assert swar("serve", "base")[0] == 0
    assert swar("serve", "./base")[0] == 0  # a folder of that name
    assert [settings.model_dir for settings in served] == [tmp_path / "made", Path("base")]


def test_a_label_without_a_version_is_refused(swar: Swar, tmp_path: Path) -> None:
    status, _, told = swar("serve", str(tmp_path), "--label", "stable")
    assert status == 2
    assert "--label 'stable' is not LABEL=VERSION" in told


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
        cwd=Path(__file__).parents[2],
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
        cwd=Path(__file__).parents[2],
    )
    assert ended.stdout.splitlines()[-1] == "set()"


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
        cwd=Path(__file__).parents[2],
    )
    assert (ended.returncode, ended.stdout) == (2, "set()\n")
    assert ended.stderr.startswith("swar: error: ") and ended.stderr.count("\n") == 1
    assert message in ended.stderr


@pytest.fixture
def pairs(recording: Any, tmp_path: Path) -> Path:
    """Three pairs of which the last has a bad recording, listed in another folder."""
    for name, pitch, seconds in (("a.wav", LOW, 6), ("bb.wav", LOW, 6), ("c.wav", HIGH, 6)):
        recording(name, pitch, seconds)
    recording("short.wav", LOW, 1.0)
    (tmp_path / "lists").mkdir()
    listed = [("a", "bb"), ("a", "c"), ("c", "short"), ("a", "gone")]
    lines = (f"../{a}.wav\t../{b}.wav\n" for a, b in listed)
    path = tmp_path / "lists" / "pairs.tsv"
    path.write_text("".join(lines) + "\n")
    return path


def test_many_pairs_are_a_line_each(swar: Swar, pairs: Path, model: FakeModel) -> None:
    status, out, _ = swar("verify", "--pairs", pairs, "--json")
    lines = [json.loads(line) for line in out.splitlines()]
    assert status == 1  # not all are usable
    assert [line["same_speaker"] for line in lines] == [True, False, None, None]
    assert [(line["status_a"], line["status_b"]) for line in lines[2:]] == [
        ("ok", "too_short"),
        ("ok", "unreadable"),
    ]
    assert {line["model_digest"] for line in lines} == {"model-1"}
    assert lines[3]["distance"] is None
    assert sum(count for name, count in model.calls if name == "embed") == 4  # each file once
    status, out, _ = swar("verify", "--pairs", pairs)
    assert status == 1
    first, second, third, _ = out.splitlines()
    assert "a.wav" in first and ": same speaker (probability 0.9" in first
    assert ": different speakers (" in second
    assert third.endswith(": not compared: " + third.split()[1].rstrip(":") + " is too_short")


def test_of_usable_pairs_the_status_is_0(swar: Swar, pairs: Path) -> None:
    pairs.write_text("../a.wav\t../c.wav\n")
    assert swar("verify", "--pairs", pairs)[0] == 0
    pairs.write_text("../a.wav\t../c.wav\n1\t../a.wav\t../c.wav\n")
    status, _, err = swar("verify", "--pairs", pairs)
    assert (status, err.count("\n")) == (2, 1)
    assert "line 2: is not two paths" in err
    for text in (b"", b"\xff\t\xff"):
        pairs.write_bytes(text)
        assert swar("verify", "--pairs", pairs)[0] == 2
    assert "Usage" in swar("verify", "a.wav", "--pairs", pairs)[2]


def test_many_recordings_are_identified(swar: Swar, recording: Any) -> None:
    swar("enroll", "Low", recording("a.wav", LOW))
    known, unknown = recording("query.wav", LOW, 3.0), recording("stranger.wav", HIGH, 3.0)
    assert swar("identify", known, unknown)[0] == 0
    status, out, _ = swar("identify", known, "gone.wav", unknown, "--json", "--top", 1)
    lines = [json.loads(line) for line in out.splitlines()]
    assert status == 1
    assert [(line["status"], line["speaker"]) for line in lines] == [
        ("ok", "Low"),
        ("unreadable", None),
        ("ok", None),
    ]
    assert [len(line["candidates"]) for line in lines] == [1, 0, 1]
    assert {line["model_digest"] for line in lines} == {"model-1"}
    out = swar("identify", known, "gone.wav", unknown)[1]
    first, second, third = out.splitlines()
    assert "query.wav: Low (probability 0.9" in first
    assert second == "gone.wav: not usable: unreadable"
    assert third.endswith("stranger.wav: unknown")


def test_the_commands_of_the_page_about_many_files_run(
    swar: Swar, recording: Any, tmp_path: Path
) -> None:
    page = (Path(__file__).parents[2] / "docs" / "enrol.md").read_text("utf-8")
    section = page.partition("## Many files\n")[2]
    commands = section.partition("```console\n")[2].partition("```")[0].splitlines()
    swar("enroll", "Low", recording("a.wav", LOW))
    for folder in ("DATA/low", "calls"):
        (tmp_path / folder).mkdir(parents=True)
        recording(f"{folder}/b.wav", LOW)
        recording(f"{folder}/c.wav", HIGH)
    Path("pairs.tsv").write_text("calls/b.wav\tcalls/c.wav\n")
    for command in commands:
        _, *words = shlex.split(command, comments=True)
        assert swar(*(path for word in words for path in glob.glob(word) or [word]))[0] == 0
    assert len(commands) == 3


def test_embed_says_what_became_of_the_recordings(
    swar: Swar, recording: Any, tmp_path: Path
) -> None:
    (tmp_path / "calls").mkdir()
    recording("calls/a.wav", LOW)
    recording("calls/short.wav", LOW, 1.0)
    status, out, err = swar("embed", "calls", "--output", "calls.parquet")
    assert (status, err) == (0, "")
    assert out.splitlines() == [
        "1 recording embedded: calls.parquet",
        "not usable, without an embedding: too_short 1",
    ]
    status, out, _ = swar("embed", "calls", "--output", "calls.parquet", "--json")
    assert json.loads(out)["statuses"] == {"ok": 1, "too_short": 1}
    status, _, err = swar("embed", "absent", "--output", "calls.parquet")
    assert (status, err.count("\n")) == (2, 1)


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


def stereo(name: str, left: float, right: float) -> Path:
    """A file in the current folder with a pitch on each channel."""
    sides = [voice(pitch, 6.0, seed=len(name)) for pitch in (left, right)]
    soundfile.write(name, np.stack(sides, axis=1), RATE)
    return Path(name)


def test_a_channel_is_chosen(swar: Swar, recording: Any) -> None:
    call = stereo("call.wav", LOW, HIGH)
    other = stereo("other.wav", HIGH, LOW)
    assert swar("verify", call, other, "--channel", "left")[0] == 1
    assert swar("enroll", "Low", call, "--channel", "left")[0] == 0
    assert swar("verify", other, "--speaker", "Low", "--channel", 2)[0] == 0
    assert swar("identify", other, "--channel", "right")[0] == 0
    assert swar("identify", other, "--channel", "left")[0] == 1
    status, out, _ = swar("identify", call, other, "--channel", "right", "--json")
    assert status == 0
    assert [json.loads(line)["speaker"] for line in out.splitlines()] == [None, "Low"]
    Path("pairs.tsv").write_text("call.wav\tother.wav\n")
    status, out, _ = swar("verify", "--pairs", "pairs.tsv", "--channel", "left", "--json")
    assert (status, json.loads(out)["same_speaker"]) == (0, False)
    status, _, err = swar("identify", call, "--channel", 3)
    assert (status, "has no channel 3" in err) == (2, True)
    status, _, err = swar("identify", call, "--channel", "top")
    assert (status, "is not left, right, mean or a number" in err) == (2, True)


def test_a_timeline_is_a_table_or_rttm(swar: Swar, recording: Any) -> None:
    swar("enroll", "Low Voice", recording("a.wav", LOW))
    parts = [voice(LOW, 6.0), np.zeros(RATE // 2, np.float32), voice(HIGH, 6.0)]
    soundfile.write("the call.wav", np.concatenate(parts), RATE)
    status, out, _ = swar("identify", "--timeline", "the call.wav")
    lines = [line.split() for line in out.splitlines()]
    assert status == 0
    assert lines[1] == ["0:00.0", "0:06.0", "Low", "Voice"]
    assert lines[2] == ["0:06.5", "0:12.5", "speaker", "1"]
    assert lines[6][:7] == ["speaker", "1", "6.0", "s", "unknown", "Low", "Voice"]
    status, out, _ = swar("identify", "--timeline", "--rttm", "the call.wav")
    assert status == 0
    assert [line.split()[:3] for line in out.splitlines()] == [["SPEAKER", "the_call", "1"]] * 2
    assert [line.split()[7] for line in out.splitlines()] == ["Low_Voice", "speaker_1"]


@pytest.mark.parametrize(
    "arguments", [("--rttm",), ("--timeline", "--rttm", "--json"), ("--timeline", "b.wav")]
)
def test_a_timeline_is_of_one_recording_and_in_one_form(swar: Swar, arguments: Any) -> None:
    status, _, err = swar("identify", "a.wav", *arguments)
    assert (status, "--timeline takes one recording" in err) == (2, True)
