"""What the extras `client`, `gallery` and `serve` bring is enough for what they are for.

Commands run where everything else that is installed here cannot be imported.
"""

import contextlib
import json
import os
import socket
import subprocess
import sys
import time
import tomllib
import urllib.request
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.bad_recordings import encoded, speech_like
from tests.serving.support_endpoint import ENDPOINTS, FakeModel
from tests.serving.support_standin import write_model

ROOT = Path(__file__).parents[1]
RUN = """
import json, sys
class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in missing:
            raise ModuleNotFoundError(f"no module {name}, which is of no package here", name=name)
missing = set(json.loads(sys.argv.pop(1)))
sys.meta_path.insert(0, Missing())
from pipeline.cli import main
main()
"""


def distributions(*extras: str) -> set[str]:
    """What an installation of Swar with these extras brings, and what that needs in turn."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    todo = [Requirement(line) for line in project["dependencies"]]
    for extra in extras:
        todo += map(Requirement, project["optional-dependencies"][extra])
    brought: set[tuple[str, str]] = set()
    while todo:
        requirement = todo.pop()
        for own in ("", *requirement.extras):
            name = canonicalize_name(requirement.name)
            if (name, own) in brought:
                continue
            brought.add((name, own))
            needed = map(Requirement, metadata.requires(name) or ())
            todo += [
                each for each in needed if not each.marker or each.marker.evaluate({"extra": own})
            ]
    return {name for name, _ in brought}


def missing_modules(*extras: str) -> list[str]:
    """The top-level modules of all that is installed here and would not be there."""
    brought = distributions(*extras)
    return [
        module
        for module, owners in metadata.packages_distributions().items()
        if not brought & {canonicalize_name(owner) for owner in owners}
        and not (ROOT / module).exists()
        and module not in sys.stdlib_module_names  # of which `peer` brings one again
    ]


def command(extras: Sequence[str], *argv: object) -> list[str]:
    return [sys.executable, "-c", RUN, json.dumps(missing_modules(*extras)), *map(str, argv)]


def test_the_parts_of_an_installation_are_told_apart() -> None:
    assert {"grpcio", "soundfile"} <= distributions("client")
    assert not {"lancedb", "pyarrow", "tensorflow", "tfx"} & distributions("client")
    assert {"lancedb", "grpcio"} <= distributions("client", "gallery")
    assert not {"tensorflow", "keras", "tfx"} & distributions("client", "gallery")
    assert {"tensorflow", "keras", "aiohttp"} <= distributions("serve")
    assert {"apache_beam", "librosa", "IPython", "sklearn"} <= set(missing_modules("serve"))


@pytest.mark.parametrize("endpoint", ENDPOINTS)
@pytest.mark.parametrize(
    ("extras", "argv"),
    [(("client",), ("verify", "1.wav")), (("client", "gallery"), ("enroll", "asha"))],
)
def test_a_server_is_called_with_the_client_and_speakers_are_enrolled_with_the_gallery(
    endpoint: str, extras: tuple[str, ...], argv: tuple[str, ...], tmp_path: Path
) -> None:
    for seed in (1, 2):
        (tmp_path / f"{seed}.wav").write_bytes(encoded(speech_like(seed, 16_000, 6.0), 16_000))
    with ENDPOINTS[endpoint](FakeModel()) as url:
        ended = subprocess.run(
            command(extras, *argv, "2.wav", "--url", url),
            cwd=tmp_path,
            env=os.environ | {"PYTHONPATH": str(ROOT), "XDG_DATA_HOME": str(tmp_path)},
            capture_output=True,
            text=True,
        )
    assert ended.returncode in (0, 1), ended.stderr


@pytest.mark.slow
def test_a_model_is_served_with_the_server_alone(tmp_path: Path) -> None:
    write_model(tmp_path, 3)
    assert _versions_served(tmp_path, tmp_path) == ["3"]


@pytest.mark.long
def test_the_base_model_is_made_and_served_with_the_server_alone(tmp_path: Path) -> None:
    assert _versions_served("base", tmp_path) == ["1"]


def _versions_served(model: object, cache: Path) -> list[str]:
    """The versions that are available soon after `swar serve`, which is then ended."""
    ports = []
    for _ in range(2):
        with socket.create_server(("127.0.0.1", 0)) as server:
            ports.append(server.getsockname()[1])
    argv = command(["serve"], "serve", model, "--rest-port", ports[0], "--grpc-port", ports[1])
    environment = os.environ | {"PYTHONPATH": str(ROOT), "XDG_CACHE_HOME": str(cache)}
    environment.pop("TF_USE_LEGACY_KERAS", None)  # TFMA sets it, in other tests of this process
    with subprocess.Popen(argv, cwd=ROOT, env=environment) as server:
        try:
            while True:
                assert server.poll() is None
                with contextlib.suppress(OSError):
                    status = urllib.request.urlopen(f"http://127.0.0.1:{ports[0]}/v1/models/swar")
                    versions = json.load(status)["model_version_status"]
                    if all(each["state"] == "AVAILABLE" for each in versions):
                        return [each["version"] for each in versions]
                time.sleep(0.2)
        finally:
            server.terminate()
