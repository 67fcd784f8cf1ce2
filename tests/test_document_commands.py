"""The documents name commands, options, settings, targets and modules that exist."""

import importlib.util
import re
from pathlib import Path
from typing import Any

import pytest
import typer

from components.errors import SwarError
from pipeline.cli import app
from pipeline.config import load_config
from tests.support_documents import (
    CLIENT,
    ELSEWHERE,
    NOT_RUN,
    OF_A_CONFIG,
    OF_A_RUN,
    PAGES,
    ROOT,
    code_blocks,
    command_lines,
    of_page,
)

SCRIPTS = sorted([*ROOT.glob(".github/workflows/*.yaml"), *ROOT.glob("deploy/ci/*")])
# Of the Click that is Typer's own.
USAGE_ERROR: Any = typer.BadParameter.__base__
SWAR: Any = typer.main.get_command(app)
TARGETS = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))


def check(words: list[str]) -> None:
    """Fails for a command that is not there or an option that it does not take."""
    match words:
        case ["swar", *arguments]:
            check_swar(arguments)
        case ["make", *arguments]:
            targets = {word for word in arguments if "=" not in word and not word.startswith("[")}
            assert targets <= TARGETS, f"make has no {targets - TARGETS}"
        case ["python", "-m", module, *_]:
            assert importlib.util.find_spec(module), f"there is no module {module}"


def check_swar(arguments: list[str]) -> None:
    command, name = SWAR, "swar"
    if arguments and not arguments[0].startswith("-"):
        name, *arguments = arguments
        command = SWAR.commands.get(name)
        assert command is not None, f"swar has no {name}"
    whole = "..." not in arguments and not {"--help", "-h", "--version"} & set(arguments)
    arguments = [word for word in arguments if word not in ("...", "[", "]")]
    context = command.context_class(command, info_name=name)
    try:
        given, rest, _ = command.make_parser(context).parse_args(arguments)
    except USAGE_ERROR as error:
        raise AssertionError(f"swar {name}: {error.format_message()}") from error
    assert not rest, f"swar {name} takes no {rest}"
    for parameter in command.params:
        missing = parameter.required and not given.get(parameter.name or "")
        assert not (whole and missing), f"swar {name} needs {parameter.name}"
    for setting in given.get("settings") or ():
        try:
            load_config("default", [setting])
        except SwarError as error:
            assert "unknown setting" not in str(error), str(error)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_command_of_a_page_is_one(page: Path) -> None:
    for words in of_page(page):
        check(words)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_command_of_a_page_is_run_or_named_with_the_reason(page: Path) -> None:
    commands = list(of_page(page))
    of_swar = {words[1] for words in commands if words[0] == "swar"}
    assert of_swar <= CLIENT | OF_A_CONFIG | OF_A_RUN | set(ELSEWHERE)
    assert {words[0] for words in commands} <= {"swar", *NOT_RUN}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_settings_file_of_a_page_is_one(page: Path, tmp_path: Path) -> None:
    for example in code_blocks(page, "yaml"):
        (tmp_path / "mine.yaml").write_text(example.replace("DIGEST", 64 * "0"))
        load_config(str(tmp_path / "mine.yaml"))


def test_what_is_named_is_on_a_page() -> None:
    commands = [words for page in PAGES for words in of_page(page)]
    of_swar = {words[1] for words in commands if words[0] == "swar"}
    assert CLIENT | OF_A_CONFIG | OF_A_RUN | set(ELSEWHERE) <= of_swar
    assert set(NOT_RUN) <= {words[0] for words in commands}


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_command_of_the_ci_s_files_is_one(script: Path) -> None:
    text = re.sub(r"^\s*- run: ", "", script.read_text("utf-8"), flags=re.MULTILINE)
    lines = [line for line in text.splitlines() if re.match(r"\s*(swar|make|python|--set) ?", line)]
    for words in command_lines("\n".join(lines)):
        check(words)


def test_the_readme_has_commands() -> None:
    assert sum(words[0] == "swar" for words in of_page(ROOT / "README.md")) >= 10


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ("swar verifi a b", "swar has no verifi"),
        ("swar verify a.wav b.wav --speed 3", "No such option"),
        ("swar run --config demo --data DATA", "swar run needs output"),
        ("swar run ... --set trainer.epoch=3", "unknown setting"),
        ("swar speakers # a comment\nmake demos", "make has no {'demos'}"),
        ("X=1 python -m benchmarks.nothing a", "there is no module"),
        ("make venv && swar report", "swar report needs output"),
    ],
)
def test_a_command_that_is_none_is_found(line: str, fault: str) -> None:
    with pytest.raises(AssertionError, match=re.escape(fault)):
        for words in command_lines(line):
            check(words)
