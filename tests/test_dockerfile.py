"""The Dockerfile agrees with the lock, with what git holds and with what the engines start."""

import re
import subprocess
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
DOCKERFILE = (ROOT / "Dockerfile").read_text()
ENTRYPOINT = ROOT / "deploy" / "container" / "entrypoint.sh"


def locked(file, package):
    (version,) = re.findall(rf"^{re.escape(package)}==(\S+)", (ROOT / file).read_text(), re.M)
    return version


def argument(name):
    (value,) = re.findall(rf"^ARG {name}=(.+)$", DOCKERFILE, re.M)
    return value


def test_beams_boot_is_of_the_beam_that_is_installed():
    image, _, version = argument("BEAM").partition(":")
    assert version == locked("requirements.lock", "apache-beam")
    assert image == "apache/beam_python3.12_sdk"
    assert argument("BASE").startswith("python:3.12-")


def test_every_stage_is_built_on_an_argument_or_another_stage():
    stages = re.findall(r"^FROM (\S+) AS (\S+)$", DOCKERFILE, re.M)
    assert len(stages) == DOCKERFILE.count("\nFROM ")
    names = {name for _, name in stages}
    assert {image for image, _ in stages} <= names | {"${BASE}", "${BEAM}"}
    assert DOCKERFILE.count("--require-hashes") == DOCKERFILE.count("--requirement ") == 2


def test_what_it_copies_is_let_through():
    copied = {
        source
        for line in re.findall(r"^COPY (?!--from)(.+)$", DOCKERFILE, re.M)
        for source in line.split()[:-1]
    }
    ignore = (ROOT / ".dockerignore").read_text().splitlines()
    assert copied == {line[1:] for line in ignore if line.startswith("!")}
    assert "*" in ignore


def test_every_package_is_copied():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    include = project["tool"]["setuptools"]["packages"]["find"]["include"]
    packages = {name.rstrip("*") for name in include}
    assert packages <= set(re.findall(r"^COPY (\w+) \1$", DOCKERFILE, re.M))


def test_it_does_not_run_as_root():
    assert int(argument("USER_ID")) >= 10_000
    assert DOCKERFILE.index("USER ${USER_ID}") < DOCKERFILE.index("ENTRYPOINT")
    assert DOCKERFILE.count("\nUSER ") == 1


def test_cuda_is_of_the_tensorflow_that_is_installed():
    lock = (ROOT / "requirements-gpu.lock").read_text()
    assert locked("requirements-gpu.lock", "nvidia-cudnn-cu12").startswith("9.")
    for package, version in re.findall(r"^([a-z0-9-]+)==(\S+)", lock, re.M):
        if not package.startswith("nvidia-"):
            assert locked("requirements.lock", package) == version


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--id=1", "--logging_endpoint=x y"], "boot --id=1|--logging_endpoint=x y\n"),
        (["echo", "--id=1", "a b"], "--id=1 a b\n"),
    ],
)
def test_options_alone_start_a_worker_of_beam(tmp_path, words, said):
    boot = tmp_path / "boot"
    boot.write_text('#!/bin/sh\nprintf "boot %s|%s\\n" "$@"\n')
    boot.chmod(0o755)
    script = tmp_path / "entrypoint.sh"
    script.write_text(ENTRYPOINT.read_text().replace("/opt/apache/beam/boot", str(boot)))
    done = subprocess.run(["sh", script, *words], capture_output=True, text=True, check=True)
    assert done.stdout == said
