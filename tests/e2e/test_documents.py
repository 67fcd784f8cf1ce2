"""The pages' commands about runs, as they stand, of the small run."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.e2e.conftest import Run
from tests.e2e.support_runs import Ended
from tests.support_documents import OF_A_RUN, PAGES, swar_commands

pytestmark = pytest.mark.slow
COMMANDS = {
    page: [words for words in swar_commands(page, OF_A_RUN) if "--log" not in words]
    for page in PAGES
}
# Beside what a page says: a run of few recordings, and no browser.
MORE = {"drift": ["--set", "drift.min_recordings=5"], "report": ["--no-open"]}


@pytest.mark.parametrize(
    "page", [page for page in PAGES if COMMANDS[page]], ids=lambda page: page.stem
)
def test_the_commands_of_a_page_run(
    page: Path,
    finished: Run,
    swar: Callable[[list[str]], Ended],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("OUTPUT").symlink_to(finished.output)
    known = {"CALLS": str(finished.data), "DATA/2026-01-06/asha_thapa": str(finished.data)}
    for words in COMMANDS[page]:
        arguments = [
            known.get(word, word).replace("VERSION", finished.published.name) for word in words
        ]
        ended = swar([*arguments, *MORE.get(words[0], [])])
        assert (ended.status, "error" in ended.err) == (0, False), (arguments, ended)
