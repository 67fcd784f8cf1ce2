"""The pages' commands about runs and published models, as they stand, of the small run."""

import contextlib
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.e2e.conftest import Run
from tests.e2e.support_runs import Ended
from tests.support_documents import OF_A_RUN, PAGES, ROOT, swar_commands

pytestmark = pytest.mark.slow
COMMANDS = {page: swar_commands(page, OF_A_RUN) for page in PAGES}
DATA = ("DATA", "CALLS", "OTHERS", "STUDIO")
# Beside what a page says: a run of few and short recordings.
MORE = {
    "calibrate": ["--set", "calibration.min_speakers=2"],
    "drift": ["--set", "drift.min_recordings=5"],
    "evaluate": ["--duration", "3", "--condition", "clean"],
    "report": ["--no-open"],
}


@pytest.fixture
def place(
    finished: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, swar: Callable[..., Ended]
) -> Path:
    """A folder with what the pages name: OUTPUT, a run's, and the recordings that it is of."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SWAR_MODEL", "OUTPUT")
    shutil.copytree(finished.output, "OUTPUT", symlinks=True)
    for name in DATA:
        shutil.copytree(finished.data, name)
    speakers = sorted(path for path in Path("DATA").iterdir() if path.is_dir())
    first, second = (sorted(folder.iterdir()) for folder in speakers[:2])
    Path("list.txt").write_text(
        f"1 {first[0].relative_to('DATA')} {first[1].relative_to('DATA')}\n"
        f"0 {first[0].relative_to('DATA')} {second[0].relative_to('DATA')}\n"
    )
    attack = Path("SPOOFED", speakers[0].name, "replayed")
    attack.mkdir(parents=True)
    shutil.copy(first[1], attack)
    example = re.findall(r"```yaml\n(name: .*?)```", (ROOT / "docs/engines.md").read_text(), re.S)
    Path("mine.yaml").write_text(example[0].replace("DIGEST", "0" * 64))
    Path("NAME").write_text(speakers[0].name)
    return tmp_path


def _words(words: list[str], version: str, speaker: str) -> list[str]:
    """A command with names that there are, and the run's model in place of the base model."""
    known = {"base": "OUTPUT/published", "NAME": speaker, "DATA/2026-01-06/asha_thapa": "DATA"}
    told = [known.get(word, word).replace("VERSION", version) for word in words]
    return [*told, *MORE.get(words[0], [])]


@pytest.mark.parametrize(
    "page", [page for page in PAGES if COMMANDS[page]], ids=lambda page: page.stem
)
def test_the_commands_of_a_page_run(
    page: Path, place: Path, finished: Run, swar: Callable[[list[str]], Ended]
) -> None:
    speaker = Path("NAME").read_text()
    for words in COMMANDS[page]:
        with contextlib.suppress(FileNotFoundError):
            shutil.rmtree("MINE")
        ended = swar(_words(words, finished.published.name, speaker))
        assert ended.status in (0, 1), (words, ended)
        assert "error" not in ended.err, words
