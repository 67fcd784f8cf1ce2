"""What may import what: parts of Swar run where only their own libraries are installed."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
# On a machine that serves, calls a server or trains.
WITHOUT_TFX = (
    "serving.server",
    "serving.client",
    "serving.in_process",
    "serving.commands.gallery",
    "serving.commands.recognition",
    "serving.commands.servers",
    "components.model.base",
    "components.model.published",
    "components.trainer.run_fn",
    "swar",
)
IMPORT_WITHOUT = """
import importlib, sys
class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("tfx", "apache_beam", "tensorflow_model_analysis"):
            raise ModuleNotFoundError(f"no {name}", name=name)
sys.meta_path.insert(0, Missing())
importlib.import_module(sys.argv[1])
"""


@pytest.mark.parametrize("module", WITHOUT_TFX)
def test_what_serves_or_trains_needs_neither_tfx_nor_beam(module: str) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", IMPORT_WITHOUT, module], cwd=ROOT, capture_output=True, text=True
    )
    assert ended.returncode == 0, ended.stderr


def imported(path: Path) -> set[str]:
    """The modules that a file imports, in functions too."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            names |= {each.name for each in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{each.name}" for each in node.names)}
    return names


@pytest.mark.parametrize(
    ("package", "forbidden"),
    [
        ("components", ("serving", "pipeline", "benchmarks", "swar", "tests")),
        ("serving", ("pipeline", "benchmarks", "swar", "tests")),
        ("pipeline", ("benchmarks", "swar", "tests")),
        ("swar", ("pipeline", "benchmarks", "tests")),
    ],
)
def test_no_package_imports_one_above_it(package: str, forbidden: tuple[str, ...]) -> None:
    above = {
        f"{path.relative_to(ROOT)}: {name}"
        for path in (ROOT / package).rglob("*.py")
        for name in imported(path)
        if name.partition(".")[0] in forbidden
    }
    assert above == set()


@pytest.mark.parametrize(
    "package", ["components", "pipeline", "serving", "swar", "benchmarks", "tests"]
)
def test_no_private_module_of_keras_is_imported(package: str) -> None:
    private = {
        f"{path.relative_to(ROOT)}: {name}"
        for path in (ROOT / package).rglob("*.py")
        for name in imported(path)
        if f"{name}.".startswith("keras.src.")
    }
    assert private == set()


def test_nothing_in_components_imports_the_inside_of_a_component() -> None:
    """But the component itself. Libraries, which have no component.py, are everybody's."""
    components = ROOT / "components"
    folders = {path.parent.name for path in components.glob("*/component.py")}
    inside = {
        f"{path.relative_to(ROOT)}: {name}"
        for path in components.rglob("*.py")
        for name in imported(path)
        if name.startswith("components.")
        and name.split(".")[1] in folders - {path.relative_to(components).parts[0]}
    }
    assert inside == set()


def test_no_two_public_classes_of_the_product_have_one_name() -> None:
    """But Executor, as TFX calls it in every component."""
    places: dict[str, list[str]] = {}
    for package in ("components", "pipeline", "serving", "swar"):
        for path in (ROOT / package).rglob("*.py"):
            for node in ast.parse(path.read_text("utf-8")).body:
                if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                    places.setdefault(node.name, []).append(str(path.relative_to(ROOT)))
    twice = {name: where for name, where in places.items() if len(where) > 1}
    assert set(twice) <= {"Executor"}, twice
