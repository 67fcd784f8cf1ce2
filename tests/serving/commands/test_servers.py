"""`swar serve` and `swar app`: what they check, and what they pass on."""

import os
import subprocess
import sys
import time
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from components.model import base as base_model
from pipeline import cli
from serving import server
from serving.commands import servers
from serving.standin.batcher import Batching
from serving.web.guard import PageSettings
from serving.web.login import PasswordLogin, ProxyLogin
from tests.serving.commands.support_commands import Swar


def test_the_page_asks_who_uses_it_as_the_options_say(
    swar: Swar, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[Any] = []
    page = types.ModuleType("serving.web.page")
    page.launch = lambda *given: calls.append(given)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "serving.web.page", page)
    monkeypatch.setattr("typer.prompt", lambda *_, **__: "correct horse battery")
    assert swar("app-password", "passwords", "asha")[0] == 0
    public = ("--host", "0.0.0.0", "--public-host", "swar.example")
    assert swar("app", *public, "--auth", "passwords")[0] == 0
    assert isinstance(calls[0][2].login, PasswordLogin)
    proxy = ("--auth-header", "X-User", "--auth-proxy", "10.0.0.0/8")
    assert swar("app", *public, *proxy)[0] == 0
    assert isinstance(calls[1][2].login, ProxyLogin)
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
    assert len(calls) == 2


def test_a_password_is_asked_for_on_a_terminal_only(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "from pipeline.cli import main; main()", "app-password"]
    ended = subprocess.run(
        [*command, str(tmp_path / "pw"), "asha"],
        input="correct horse battery\n" * 2,
        capture_output=True,
        text=True,
        start_new_session=True,
    )
    assert ended.returncode == 2
    (line,) = ended.stderr.splitlines()
    assert "on a terminal" in line
    assert not (tmp_path / "pw").exists()


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A working folder with versions in `published` and `base`, where every port is free."""
    for name in ("published", "base"):
        (tmp_path / name / "1").mkdir(parents=True)
        (tmp_path / name / "1" / "saved_model.pb").touch()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(servers, "_check_free", lambda *_: None)


@pytest.mark.usefixtures("here")
def test_serve_and_app_pass_on_what_they_are_told(
    swar: Swar, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[Any] = []
    page = types.ModuleType("serving.web.page")
    page.launch = lambda *given: calls.append(given)  # type: ignore[attr-defined]
    monkeypatch.setattr(server, "serve", lambda settings, on_ready: calls.append(settings))
    monkeypatch.setitem(sys.modules, "serving.web.page", page)
    options = ["--grpc-port", "1234", "--label", "stable=7", "--max-batch-size", "8"]
    monkeypatch.setattr(sys, "argv", ["swar", "serve", "published", *options])
    with pytest.raises(SystemExit):
        cli.main()
    assert swar("app", "--port", "77", "--gallery", "people")[0] == 0
    settings, (client, gallery, page_settings) = calls
    assert settings.model_dir == Path("published")
    assert (settings.grpc_port, settings.rest_port) == (1234, 8501)
    assert settings.labels == {"stable": 7}
    assert settings.batching.max_batch_size == 8
    assert client.url.startswith("grpc://127.0.0.1:")
    assert gallery.uri == "people"
    assert page_settings == PageSettings("127.0.0.1", 77, (), None)


@pytest.mark.usefixtures("here")
def test_serve_waits_for_the_first_version_where_that_is_asked_for(
    swar: Swar, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked: list[float] = []

    def publish(seconds: float) -> None:
        looked.append(seconds)
        if len(looked) == 2:
            (tmp_path / "published").rename(tmp_path / "later")

    served: list[Any] = []
    monkeypatch.setattr("time.sleep", publish)
    monkeypatch.setattr(server, "serve", lambda settings, on_ready: served.append(settings))
    assert swar("serve", "later")[0] == 2
    status, _, err = swar("serve", "later", "--wait")
    assert (status, served[0].model_dir, len(looked)) == (0, Path("later"), 2)
    assert err.count("waiting for a model: ") == 1


@pytest.mark.usefixtures("here")
def test_serve_batches_as_the_batcher_does_by_itself(
    swar: Swar, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[Any] = []
    monkeypatch.setattr(server, "serve", lambda settings, on_ready: calls.append(settings))
    assert swar("serve", "published")[0] == 0
    assert calls[0].batching == Batching()


@pytest.mark.usefixtures("here")
def test_the_base_model_is_served_as_a_folder_of_versions(
    swar: Swar, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    served: list[Any] = []
    monkeypatch.setattr(server, "serve", lambda settings, on_ready: served.append(settings))
    monkeypatch.setattr(base_model, "base_model_folder", lambda: tmp_path / "made" / "1")
    assert swar("serve", "base")[0] == 0
    assert swar("serve", "./base")[0] == 0  # a folder of that name
    assert [settings.model_dir for settings in served] == [tmp_path / "made", Path("base")]


@pytest.mark.usefixtures("here")
def test_what_is_served_is_named_as_everywhere(
    swar: Swar, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    served: list[Any] = []
    monkeypatch.setattr(server, "serve", lambda settings, on_ready: served.append(settings))
    output = tmp_path / "output"
    output.mkdir()
    (tmp_path / "published").rename(output / "published")
    published = output / "published"
    for model in (output, published, published / "1"):
        assert swar("serve", model)[0] == 0
    assert [(each.model_dir, each.version) for each in served] == [
        (published, None),
        (published, None),
        (published, 1),  # and none that is published later
    ]
    (published / "1").rename(output / "copy")
    assert "is a version without a number" in swar("serve", output / "copy")[2]
    assert "holds no model" in swar("serve", output)[2]


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize("is_terminal", [False, True])
def test_warming_up_is_a_bar_on_a_terminal_and_else_a_line(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], is_terminal: bool
) -> None:
    shown: list[str] = []

    def serve(settings: Any, on_ready: Callable[[], None]) -> None:
        time.sleep(0.3)
        on_ready()
        shown.append(capfd.readouterr().err)
        os.write(2, b"serving\n")

    if is_terminal:
        monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setattr(server, "serve", serve)
    monkeypatch.setattr(sys, "argv", ["swar", "serve", "published"])
    with pytest.raises(SystemExit):
        cli.main()
    assert ("\x1b[" in shown[0]) is is_terminal
    assert "warming up published" in shown[0]
    assert is_terminal or shown == ["warming up published\n"]
    assert capfd.readouterr().err == "serving\n"  # the bar is gone by then


def test_a_label_without_a_version_is_refused(swar: Swar, tmp_path: Path) -> None:
    status, _, message = swar("serve", str(tmp_path), "--label", "stable")
    assert status == 2
    assert "--label 'stable' is not LABEL=VERSION" in message
