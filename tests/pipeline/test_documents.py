"""The pages' commands about settings run as they stand, with the pages' example of an engine."""

import re
import sys
from pathlib import Path

import pytest

from pipeline import cli
from tests.support_documents import OF_A_CONFIG, PAGES, ROOT, swar_commands

COMMANDS = [words for page in PAGES for words in swar_commands(page, OF_A_CONFIG)]


@pytest.mark.slow
@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_a_command_of_the_pages_runs(
    words: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    page = (ROOT / "docs" / "engines.md").read_text("utf-8")
    example = page.partition("```yaml\n")[2].partition("```")[0].replace("DIGEST", 64 * "0")
    monkeypatch.chdir(tmp_path)
    Path("mine.yaml").write_text(re.sub("PROJECT|BUCKET", "mine", example))
    monkeypatch.setattr(sys, "argv", ["swar", *words])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 0, capsys.readouterr().err
    assert words[0] != "compile" or "SpectrogramPairGen" in Path("pipeline.yaml").read_text()
