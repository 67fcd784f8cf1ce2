"""A fingerprint of the code behind a component, so that edited code is run again."""

import ast
import hashlib
from collections.abc import Iterator
from pathlib import Path

FIRST_PARTY = "components"
# Settings reach a component as exec properties; those of other components are irrelevant.
EXCLUDED = frozenset({"components.settings"})
# Weights that a module reads: they decide its output as its code does.
DATA_OF = {"components.speech_gate": "pretrained/speech_gate.json"}
SOURCE_ROOT = Path(__file__).resolve().parents[1]


def code_digest(package: str, source_root: Path = SOURCE_ROOT) -> str:
    """sha256 over a package's modules and every `components` module that they import.

    Args:
      package: dotted name, for example "components.trainer"; all its modules are included.
      source_root: the folder that holds `components`.

    The digest covers the modules' names and bytes, not where they are installed. Imports are
    parsed, including those in functions; nothing is executed. Raises ModuleNotFoundError.
    """
    folder = source_root.joinpath(*package.split("."))
    pending = {_name(path, source_root) for path in folder.rglob("*.py")}
    if not pending:
        raise ModuleNotFoundError(f"no package {package} in {source_root}", name=package)
    sources: dict[str, bytes] = {}
    while pending:
        module = pending.pop()
        path = _path(module, source_root)
        if module in sources or module in EXCLUDED or path is None:
            continue
        sources[module] = path.read_bytes()
        if module in DATA_OF:
            sources[DATA_OF[module]] = source_root.joinpath(DATA_OF[module]).read_bytes()
        pending.update(_imports(module, path, sources[module]))
    digest = hashlib.sha256()
    for module, source in sorted(sources.items()):
        digest.update(f"{module}\0{len(source)}\0".encode())
        digest.update(source)
    return digest.hexdigest()


def _name(path: Path, source_root: Path) -> str:
    parts = path.relative_to(source_root).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _path(module: str, source_root: Path) -> Path | None:
    """The file of a module or package; None for a mere attribute of a module."""
    stem = source_root.joinpath(*module.split("."))
    candidates = (stem / "__init__.py", stem.with_name(f"{stem.name}.py"))
    return next((path for path in candidates if path.is_file()), None)


def _imports(module: str, path: Path, source: bytes) -> Iterator[str]:
    """First-party names that a module imports, with the packages that hold them."""
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    for node in ast.walk(ast.parse(source, filename=str(path))):
        for name in _imported(node, package):
            parts = name.split(".")
            if parts[0] == FIRST_PARTY:
                yield from (".".join(parts[:end]) for end in range(1, len(parts) + 1))


def _imported(node: ast.AST, package: str) -> Iterator[str]:
    match node:
        case ast.Import():
            yield from (alias.name for alias in node.names)
        case ast.ImportFrom():
            base = node.module or ""
            if node.level:
                parents = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*parents, base] if base else parents)
            # `from a import b`: b is a module of a or an attribute; both names are tried.
            yield from (f"{base}.{alias.name}" for alias in node.names)
