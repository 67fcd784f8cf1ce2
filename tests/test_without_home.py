"""Commands of a user whom the system does not know: no home, no entry, nothing to write to.

A container that another user runs, OpenShift's among them, is such a place. A test that runs as
root changes to such a user and keeps root's right to read, since Python may lie in root's home.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.support_runs import SECONDS, SPEAKERS, arguments

ROOT = Path(__file__).parents[1]
RUN = "import sys; sys.argv[0] = 'swar'; from pipeline.cli import main; main()"
# What compiles functions, or looks for a home, at its import.
IMPORTS = """
import sys
import keras, matplotlib.pyplot
import components.evaluator.executor, components.example_validator.executor
import components.spectrogram_pair_gen.executor, components.speech_example_gen.executor
import components.trainer.run_fn, components.verification_report.executor
import pipeline.evaluation.listing, pipeline.local.runner, pipeline.pipeline
assert not {"librosa", "numba"} & set(sys.modules)
"""
USER = 54_321


@pytest.fixture
def work() -> Iterator[Path]:
    """A folder that is the user's, in one that all can enter.

    Not one of pytest's: each pytest that starts closes them to others, and TensorFlow asks by
    access(2), which knows no right to read, whether what it has written is there.
    """
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        place = Path(folder, "work")
        (place / "tmp").mkdir(parents=True)
        if os.getuid() == 0:
            for path in (place, place / "tmp"):
                os.chown(path, USER, USER)
        yield place


def run_python(
    work: Path, home: str | None, code: str, *argv: object
) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-P", "-c", code, *map(str, argv)]
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(ROOT),
        "PYTHONDONTWRITEBYTECODE": "1",
        "TMPDIR": str(work / "tmp"),
    }
    if home is not None:
        environment["HOME"] = home
    if os.getuid() == 0:
        if shutil.which("setpriv") is None:
            pytest.skip("setpriv is not installed")
        other = [f"--reuid={USER}", f"--regid={USER}", "--clear-groups"]
        reads = ["--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"]
        command = ["setpriv", *other, *reads, *command]
    elif home is None:
        pytest.skip("only root can become a user whom the system does not know")
    return subprocess.run(command, env=environment, cwd=work, capture_output=True, text=True)


@pytest.mark.slow
def test_every_library_is_imported_without_a_home_to_write_to(work: Path) -> None:
    ended = run_python(work, "/nonexistent", IMPORTS)
    assert ended.returncode == 0, ended.stderr


@pytest.mark.parametrize("home", [None, "/nonexistent", ""])
@pytest.mark.parametrize("argv", [("--help",), ("config", "--config", "default")])
def test_what_needs_no_library_needs_no_home(
    work: Path, home: str | None, argv: tuple[str, ...]
) -> None:
    ended = run_python(work, home, RUN, *argv)
    assert (ended.returncode, ended.stderr) == (0, "")


@pytest.mark.long
@pytest.mark.parametrize("home", [None, "/nonexistent"])
def test_every_command_runs_without_a_home(work: Path, home: str | None) -> None:
    size = ("--speakers", SPEAKERS, "--seconds", SECONDS)
    ended = run_python(work, home, RUN, "sample-data", "data", *size)
    assert ended.returncode == 0, ended.stderr
    one, other, *_ = sorted((work / "data").glob("*/*"))
    image = f"engine.image=registry/swar@sha256:{64 * '0'}"
    engine = ("--set", "engine.root=gs://bucket/swar", "--set", image)
    lines: list[tuple[object, ...]] = [
        tuple(arguments(Path("data"), Path("out"))),
        ("evaluate", "out/published", "--data", "data", "--report", "page.html"),
        ("lineage", "out"),
        ("report", "out", "--no-open"),
        ("compile", "--config", "demo", "p.yaml", *engine),
        ("verify", one, other),
        ("enroll", "asha", one, "--gallery", "gallery"),
        ("identify", other, "--gallery", "gallery"),
        ("embed", "data", "--output", "data.parquet"),
    ]
    for argv in lines:
        ended = run_python(work, home, RUN, *argv)
        assert ended.returncode in (0, 1), (argv, ended.stderr)
        assert "Traceback" not in ended.stderr
