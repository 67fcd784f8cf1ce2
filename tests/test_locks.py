"""Everything that is installed from a lock has its hashes, the tools of the Makefile too (L11)."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LOCKS = sorted(path.name for path in ROOT.glob("requirements*.lock"))


@pytest.mark.parametrize("name", LOCKS)
def test_every_package_of_a_lock_is_pinned_and_has_a_hash(name):
    entries = re.split(r"^(?=[A-Za-z])", (ROOT / name).read_text(), flags=re.M)[1:]
    assert entries
    for entry in entries:
        assert re.match(r"[A-Za-z0-9._\[\],-]+==\S+ ", entry), entry[:80]
        assert "--hash=sha256:" in entry, entry[:80]


def test_the_makefile_installs_nothing_without_hashes():
    installs = [
        line
        for line in (ROOT / "Makefile").read_text().splitlines()
        if "pip install" in line and "--editable" not in line
    ]
    assert len(installs) == 2
    assert all("--require-hashes" in line for line in installs)


def test_the_locks_are_audited_and_listed():
    makefile = (ROOT / "Makefile").read_text()
    assert "cyclonedx-py requirements" in makefile
    for name in LOCKS:
        assert f"--requirement {name}" in makefile
    assert "make audit" in (ROOT / ".ci" / "run").read_text()
