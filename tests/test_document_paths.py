"""The documents name files, and tests, that exist."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("docs/*.md"), *ROOT.glob("*/README.md"), *ROOT.glob("*.md")])
PACKAGES = "benchmarks|components|deploy|examples|pipeline|pretrained|schemas|serving|swar|tests"
# In backquotes and in links; a pattern or a placeholder is no file.
NAMED = re.compile(rf"(?:`|\]\((?:\.\./)?)((?:{PACKAGES})/[\w./-]+\.\w+)(?=[`)#])")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_file_that_a_page_names_is_there(page: Path) -> None:
    named = set(NAMED.findall(page.read_text("utf-8")))
    assert sorted(name for name in named if not (ROOT / name).exists()) == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_relative_link_leads_to_a_file(page: Path) -> None:
    links = re.findall(r"\]\((?!https?://|#|mailto:)([^)#\s]+)", page.read_text("utf-8"))
    assert sorted(link for link in links if not (page.parent / link).exists()) == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_anchor_that_a_page_links_to_is_a_heading(page: Path) -> None:
    links = re.findall(r"\]\((?!https?://)([^)#\s]*)#([^)\s]+)\)", page.read_text("utf-8"))
    targets = [(page.parent / file if file else page, anchor) for file, anchor in links]
    assert sorted(anchor for file, anchor in targets if anchor not in anchors(file)) == []


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub and MkDocs make them."""
    text = re.sub(r"```.*?```", "", page.read_text("utf-8"), flags=re.DOTALL)
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_every_test_that_a_page_names_is_there() -> None:
    tests = "".join(path.read_text("utf-8") for path in ROOT.glob("tests/**/*.py"))
    there = set(re.findall(r"^def (test_\w+)\(", tests, re.MULTILINE))
    pages = "".join(page.read_text("utf-8") for page in PAGES)
    named = set(re.findall(r"`(test_\w+)`", pages))
    assert len(named) > 50
    assert sorted(named - there) == []
