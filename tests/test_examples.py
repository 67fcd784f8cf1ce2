"""The notebooks of examples/ run from top to bottom, and git holds none of their outputs."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted(ROOT.glob("examples/*.ipynb"))


def code_cells(notebook: Path) -> list[dict[str, Any]]:
    read = json.loads(notebook.read_text("utf-8"))
    assert (read["nbformat"], read["nbformat_minor"]) == (4, 5)
    return [cell for cell in read["cells"] if cell["cell_type"] == "code"]


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.name)
def test_a_notebook_has_no_outputs(notebook: Path) -> None:
    cells = code_cells(notebook)
    assert cells
    assert [cell for cell in cells if cell["outputs"] or cell["execution_count"]] == []


@pytest.mark.slow
def test_the_notebook_runs_with_the_base_model(tmp_path: Path) -> None:
    (notebook,) = NOTEBOOKS
    source = "\n".join("".join(cell["source"]) for cell in code_cells(notebook))
    verdicts = "print([rule.apply(decision).verdict for decision in (same, different)])"
    done = subprocess.run(
        [sys.executable, "-c", f"{source}\n{verdicts}"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    made, same, different, known, stranger, verdicts = done.stdout.splitlines()[-6:]
    assert "4 synthetic speakers" in made
    assert (same[:5], different[:6]) == ("True ", "False ")
    name, _, found = known.partition(": ")
    assert found.startswith(name)
    assert ": unknown" in stranger
    assert verdicts == "['same', 'different']"
