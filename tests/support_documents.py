"""The commands that the documents show, and what runs them."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[1]
PAGES: Final = sorted([*ROOT.glob("docs/*.md"), *ROOT.glob("*/README.md"), *ROOT.glob("*.md")])
CONTROL: Final = frozenset({"&&", "||", "|", ";", "&", ">", "2>", ">>"})
CLIENT: Final = frozenset(
    {"embed", "enroll", "forget", "gallery-key", "identify", "seal", "speakers", "verify"}
)
"""Commands that tests/serving/commands/test_documents.py runs."""
OF_A_CONFIG: Final = frozenset({"compile", "config"})
"""Commands that tests/pipeline/test_documents.py runs."""
OF_A_RUN: Final = frozenset({"drift", "lineage", "report"})
"""Commands that tests/e2e/test_documents.py runs, all but `drift --log`."""
ELSEWHERE: Final = {
    "calibrate": "needs ten speakers or more: tests/pipeline/models/test_calibration.py",
    "erase-speaker": "changes the run: tests/pipeline/models/test_erasure.py",
    "evaluate": "takes minutes in all these forms: tests/pipeline/evaluation/ has them",
    "run": "takes hours with these settings: tests/e2e/ runs it with a small tower",
    "rollback": "needs two versions: tests/pipeline/models/test_rollback.py",
    "sample-data": "tests/e2e/conftest.py, tests/pipeline/sample_data/",
    "submit": "needs Vertex AI or Kubeflow, as which tests/pipeline/engines/ has fakes",
    "serve": "goes on until it is stopped: tests/serving/test_standin_*.py, tests/test_extras.py",
    "app": "goes on until it is stopped: tests/serving/web/",
    "app-password": "asks on the terminal: tests/serving/web/",
}
"""Commands that no test runs as the pages show them, and why; other tests run them."""
NOT_RUN: Final = {
    "apt-get": "installs",
    "deploy/ci/check.sh": "takes as long as `make demo`",
    "docker": "needs Docker",
    "make": "installs, trains or runs all tests: its targets are checked to be there",
    "python": "the modules are checked to be there: figures come from them, which take hours",
    "source": "of a shell that goes on",
}
"""Other programs that the pages call, and why no test does."""


def command_lines(text: str) -> Iterator[list[str]]:
    """The words of each command in a shell text, without comments, prompts and assignments."""
    for line in text.replace("\\\n", " ").splitlines():
        words: list[str] = []
        lexer = shlex.shlex(line, posix=True, punctuation_chars="|&;>")
        lexer.whitespace_split = True
        for word in [*lexer, ";"]:
            if word not in CONTROL:
                words.append(word)
                continue
            while words and (words[0] == "$" or re.fullmatch(r"[A-Z_]+=.*", words[0])):
                del words[0]
            if words:
                yield words
            words = []


def code_blocks(page: Path, language: str) -> list[str]:
    """The code of a page in one language, block by block."""
    return re.findall(rf"```{language}\n(.*?)```", page.read_text("utf-8"), re.DOTALL)


def of_page(page: Path) -> Iterator[list[str]]:
    """The commands of a page's console blocks."""
    for block in code_blocks(page, "console"):
        yield from command_lines(block)


def swar_commands(page: Path, names: frozenset[str]) -> list[list[str]]:
    """What follows `swar` in those of a page's commands that are named, in order."""
    commands = [words[1:] for words in of_page(page) if words[0] == "swar"]
    return [words for words in commands if words[0] in names]
