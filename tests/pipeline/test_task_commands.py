"""How a container's command is run on this machine."""

import json
from pathlib import Path

import pytest

from components.errors import SwarError
from pipeline.task_commands import Container, in_image, on_host

TASK = Container(image="swar@sha256:0", command=["python", "-m", "task"], args=["--json", "{{$}}"])


@pytest.fixture
def podman(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A command of that name, which is not run."""
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "podman").touch(mode=0o755)
    monkeypatch.setenv("PATH", str(folder))


def test_on_the_host_it_is_the_command_word_by_word() -> None:
    assert on_host(TASK, "{}") == ["python", "-m", "task", "--json", "{}"]


@pytest.mark.usefixtures("podman")
@pytest.mark.parametrize("data", ["data", "data/list.csv", "data/{YYYY}-{MM}"])
def test_in_the_image_it_sees_the_output_and_the_data(tmp_path: Path, data: str) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "list.csv").touch()
    words = in_image(Path("/out"), str(tmp_path / data))(TASK, '{"a": 1}')
    assert words[:2] == ["podman", "run"]
    assert words[-3:] == ["swar@sha256:0", "--json", '{"a": 1}']
    options = dict(word.removeprefix("--").split("=", 1) for word in words[2:-3] if "=" in word)
    assert json.loads(options["entrypoint"]) == ["python", "-m", "task"]
    volumes = [word.removeprefix("--volume=") for word in words if word.startswith("--volume=")]
    assert volumes == ["/out:/out", f"{tmp_path}/data:{tmp_path}/data:ro"]


@pytest.mark.usefixtures("podman")
def test_every_folder_is_seen_once(tmp_path: Path) -> None:
    for name in ("data", "noise"):
        (tmp_path / name).mkdir()
    data, noise = str(tmp_path / "data"), str(tmp_path / "noise")
    words = in_image(Path("/out"), data, noise, noise, "gs://bucket/rooms")(TASK, "{}")
    volumes = [word.removeprefix("--volume=") for word in words if word.startswith("--volume=")]
    assert volumes == ["/out:/out", f"{data}:{data}:ro", f"{noise}:{noise}:ro"]


@pytest.mark.usefixtures("podman")
def test_what_lies_in_a_bucket_is_not_mounted() -> None:
    words = in_image(Path("/out"), "gs://bucket/data")(TASK, "{}")
    assert [word for word in words if word.startswith("--volume=")] == ["--volume=/out:/out"]


def test_without_podman_that_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SwarError, match="podman is needed"):
        in_image(Path("/out"), "data")
