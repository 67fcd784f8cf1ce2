"""What a command imports: a fault in its arguments is told before any library that takes seconds.

Each command line runs in a process of its own, whose modules are counted at its end.
"""

import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from components.model.files import MODEL_CARD
from pipeline.output.folder import METADATA

ROOT = Path(__file__).parents[1]
SLOW = frozenset(
    "aiohttp apache_beam gradio grpc keras kfp lancedb matplotlib ml_metadata pandas pyarrow scipy "
    "sklearn soundfile tensorflow tensorflow_data_validation tensorflow_model_analysis tfx".split()
)
RUN = """
import json, sys
from pipeline.cli import main
try:
    main()
except SystemExit as ended:
    print(json.dumps([ended.code, sorted({name.partition(".")[0] for name in sys.modules})]))
"""


def loaded(*argv: object) -> tuple[int, str, set[str]]:
    """Exit status, the line on stderr, and the slow libraries that a command line imported."""
    ended = subprocess.run(
        [sys.executable, "-c", RUN, *map(str, argv)], cwd=ROOT, capture_output=True, text=True
    )
    status, modules = json.loads(ended.stdout.splitlines()[-1])
    return status, ended.stderr, set(modules) & SLOW


@pytest.fixture
def taken() -> Iterator[int]:
    """A port that another process has."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@pytest.fixture
def published(tmp_path: Path) -> Path:
    """The versions in the output folder of a run, to look at from outside."""
    folder = tmp_path / "run" / "published"
    card = folder / "1" / MODEL_CARD
    card.parent.mkdir(parents=True)
    card.write_text('{"model_digest": "one"}')
    (folder / "1" / "saved_model.pb").touch()
    (folder.parent / METADATA).touch()
    return folder


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (("run", "--config", "demo", "--data", "{none}", "--output", "{tmp}/o"), "does not exist"),
        (("run", "--config", "none", "--data", "{tmp}", "--output", "{tmp}/o"), "no config"),
        (("compile", "--config", "demo", "{none}/pipeline.yaml"), "cannot write"),
        (("submit", "--config", "demo", "--data", "{none}"), "does not exist"),
        (("evaluate", "{none}", "--data", "{tmp}"), "does not exist"),
        (("evaluate", "{tmp}", "--data", "{tmp}"), "holds no model"),
        (("evaluate", "{published}", "--data", "{none}"), "does not exist"),
        (("evaluate", "base", "--data", "{tmp}", "--output", "{published}"), "not an empty folder"),
        (("calibrate", "{none}", "--data", "{tmp}", "--output", "{tmp}/o"), "does not exist"),
        (("calibrate", "base", "--data", "{none}", "--output", "{tmp}/o"), "does not exist"),
        (("calibrate", "base", "--data", "{tmp}", "--output", "{run}"), "output folder of a run"),
        (("lineage", "{none}"), "does not exist"),
        (("lineage", "{none}", "--recording", "a.wav"), "has no metadata.sqlite"),
        (("drift", "{none}", "--data", "{tmp}"), "does not exist"),
        (("drift", "{run}", "--data", "{none}"), "is no folder on this machine"),
        (("drift", "--log", "{none}"), "is no file"),
        (("verify", "{tmp}", "{tmp}", "--watch-log", "{tmp}"), "cannot be written"),
        (("app", "--metrics-port", "{taken}"), "choose another port"),
        (("rollback", "{tmp}"), "has no metadata.sqlite"),
        (("report", "{tmp}"), "holds no report"),
        (("lineage", "base"), "was not made by a run"),
        (("rollback", "base"), "name the output folder of a run"),
        (("serve", "{none}"), "does not exist"),
        (("serve", "{tmp}"), "holds no model"),
        (("identify", "a.wav", "--model", "{none}"), "does not exist"),
        (("serve", "{published}", "--rest-port", "{taken}"), "choose another port"),
        (("serve", "{published}", "--grpc-port", "{taken}"), "choose another port"),
        (("serve", "{published}", "--label", "x"), "is not LABEL=VERSION"),
        (("serve", "{published}", "--host", "0.0.0.0"), "add --open-to-network"),
        (("serve", "{published}", "--host", "host.invalid", "--open-to-network"), "another --host"),
        (("serve", "{published}", "--host", "192.0.2.1", "--open-to-network"), "another --host"),
        (("serve", "base", "--rest-port", "8999", "--grpc-port", "8999"), "are both 8999"),
        (("evaluate", "base", "--data", "{tmp}", "--output", "o", "--report", "o"), "two folders"),
        (("evaluate", "base", "--data", "{tmp}", "--output", "o/x", "--report", "o"), "lies in"),
        (("run", "--config", "demo", "--data", "{tmp}", "--output", ""), "it is empty: name a"),
        (("calibrate", "base", "--data", "{tmp}", "--output", ""), "it is empty: name a"),
        (("evaluate", "base", "--data", "{tmp}", "--report", ""), "it is empty: name a"),
        (("compile", "--config", "demo", ""), "it is empty: name a"),
        (("sample-data", ""), "it is empty: name a"),
        (("verify", "{tmp}", "{tmp}", "--url", "http://h:1", "--deadline", "inf"), "'--deadline'"),
        (("verify", "{tmp}", "{tmp}", "--watch-log", ""), "it is empty: name a"),
        (("app", "--port", "{taken}"), "choose another port"),
        (("verify", "{none}", "{none}"), "does not exist"),
        (("verify", "{tmp}", "{tmp}", "--prior", "1"), "'1' is not between 0 and 1"),
        (("identify", "{tmp}", "--max-false-accept", "2 %"), "'2 %' is not between 0 and 1"),
        (("enroll", "asha", "{none}"), "does not exist"),
        (("identify", "{none}"), "does not exist"),
        (("embed", "{none}", "--output", "{tmp}/x.parquet"), "does not exist"),
        (("embed", "{tmp}", "--output", ""), "it is empty: name a"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_a_wrong_argument_is_named_before_a_slow_import(
    argv: tuple[str, ...], message: str, tmp_path: Path, published: Path, taken: int
) -> None:
    places = {
        "none": tmp_path / "none",
        "tmp": tmp_path,
        "published": published,
        "run": published.parent,
        "taken": taken,
    }
    status, error, slow = loaded(*(each.format(**places) for each in argv))
    assert status == 2
    assert message in error
    assert error.count("\n") == 1
    assert slow == set()


@pytest.mark.parametrize("argv", [("--help",), ("--version",), ("config", "--config", "default")])
def test_what_needs_no_library_imports_none(argv: tuple[str, ...]) -> None:
    status, _, slow = loaded(*argv)
    assert (status, slow) == (0, set())
