import ast
import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from rich.text import Text

from components.terminal import Console, Table, printable, say

ROOT = Path(__file__).parents[2]
HOSTILE = "a\x1b[2J\x07\x9b31m\r\u202eb\x7f"


def is_clean(text: str) -> bool:
    return all(char.isprintable() or char in "\n\t " for char in text)


def test_control_characters_are_written_out() -> None:
    assert printable("é आवाज़ 声 👩‍🚀\n\tb") == "é आवाज़ 声 👩‍🚀\n\tb"
    assert printable("\x1b[2J") == "\\u001b[2J"
    assert is_clean(printable(HOSTILE))


def test_json_of_a_hostile_name_is_the_same_name() -> None:
    assert json.loads(printable(json.dumps([HOSTILE], ensure_ascii=False))) == [HOSTILE]


@pytest.mark.parametrize("is_terminal", [False, True])
def test_nothing_that_is_shown_holds_a_control_character(is_terminal: bool) -> None:
    file = io.StringIO()
    console = Console(file=file, force_terminal=is_terminal, color_system=None, width=200)
    table = Table(HOSTILE, title=Text(HOSTILE))
    table.add_row(Text(HOSTILE))
    console.print(HOSTILE, Text(HOSTILE, "red"), table, markup=False)
    console.print(table)
    assert "\\u001b[2J" in file.getvalue()
    assert is_clean(file.getvalue())


def test_colours_are_still_shown() -> None:
    file = io.StringIO()
    Console(file=file, force_terminal=True, color_system="standard").print(Text("a\x1bb", "red"))
    assert file.getvalue() == "\x1b[31ma\\u001bb\x1b[0m\n"


@pytest.mark.parametrize("width", [30, 80])
def test_what_is_too_long_for_its_column_is_not_cut(width: int) -> None:
    name = "a_name_without_a_blank_" * 8
    file = io.StringIO()
    table = Table("speaker", "recordings", "last enrolled", box=None, pad_edge=False)
    table.add_row(Text(name), Text("3"), Text("2026-12-01 04:50 UTC"))
    Console(file=file, width=width).print(table)
    shown = "".join(line.split(" ")[0] for line in file.getvalue().splitlines())
    assert name in shown
    assert "…" not in file.getvalue()


def test_a_terminal_of_no_columns_is_not_left_empty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "0")
    file = io.StringIO()
    Console(file=file).print(Table("speaker"))
    assert "speaker" in file.getvalue()


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_a_letter_that_the_encoding_lacks_is_escaped(encoding: str) -> None:
    text = "Ü स 😀 \udcff"
    program = (
        "from components.terminal import Console, ensure_streams, say\n"
        "from components.json_text import to_json\n"
        "ensure_streams()\n"
        f"say(to_json({text!r}, indent=None))\n"
        f"Console().print({text!r})"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        env=os.environ | {"PYTHONIOENCODING": encoding, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        check=True,
    )
    json_line, line = done.stdout.decode(encoding).splitlines()
    assert json.loads(json_line) == text
    assert line.endswith("\\udcff")


def test_an_error_goes_to_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    say(HOSTILE)
    say(HOSTILE, error=True)
    shown = capsys.readouterr()
    assert shown.out == shown.err == f"{printable(HOSTILE)}\n"


def test_everything_that_a_command_shows_goes_through_it() -> None:
    around = set()
    for package in ("components", "pipeline", "serving", "swar"):
        for path in (ROOT / package).rglob("*.py"):
            if path.name == "terminal.py":
                continue
            for node in ast.walk(ast.parse(path.read_text("utf-8"))):
                is_print = isinstance(node, ast.Call) and ast.unparse(node.func) in (
                    "print",
                    "typer.echo",
                    "click.echo",
                    "traceback.print_exc",
                    "sys.stdout.write",
                    "sys.stderr.write",
                )
                is_rich = (
                    isinstance(node, ast.ImportFrom)
                    and node.module == "rich.console"
                    and any(each.name == "Console" for each in node.names)
                )
                if is_print or is_rich:
                    around.add(f"{path.relative_to(ROOT)}: {ast.unparse(node)}")
    assert around == set()


def test_a_process_without_streams_gets_some_that_lead_nowhere(tmp_path: Path) -> None:
    """Else the next file that is opened is stdout or stderr, and gets what libraries write."""
    code = (
        "import os\n"
        "from components.terminal import ensure_streams, say\n"
        "ensure_streams()\n"
        f"file = os.open({str(tmp_path / 'file')!r}, os.O_CREAT | os.O_WRONLY)\n"
        "say('lost')\n"
        "say('lost', error=True)\n"
        "os.write(1, b'lost'), os.write(2, b'lost')\n"
        "os.write(file, b'kept')\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code], preexec_fn=lambda: os.closerange(0, 3), cwd=ROOT
    )
    assert ended.returncode == 0
    assert (tmp_path / "file").read_bytes() == b"kept"
