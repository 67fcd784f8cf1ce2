"""How a container's command is run on this machine."""

import json
from pathlib import Path

from tests.harness.containers import Container, in_image, on_host

TASK = Container(image="swar@sha256:0", command=["python", "-m", "task"], args=["--json", "{{$}}"])


def test_on_the_host_it_is_the_command_word_by_word() -> None:
    assert on_host(TASK, "{}") == ["python", "-m", "task", "--json", "{}"]


def test_in_the_image_it_sees_the_output_and_the_data() -> None:
    words = in_image(Path("/data"), Path("/out"))(TASK, '{"a": 1}')
    assert words[:2] == ["podman", "run"]
    assert words[-3:] == ["swar@sha256:0", "--json", '{"a": 1}']
    options = dict(word.removeprefix("--").split("=", 1) for word in words[2:-3] if "=" in word)
    assert json.loads(options["entrypoint"]) == ["python", "-m", "task"]
    volumes = [word.removeprefix("--volume=") for word in words if word.startswith("--volume=")]
    assert volumes == ["/out:/out", "/data:/data:ro"]
