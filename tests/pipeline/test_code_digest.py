from pathlib import Path

import pytest

from pipeline.code_digest import code_digest

TREE = {
    "components/__init__.py": "",
    "components/settings.py": "RATE = 1\n",
    "components/features.py": "KEY = 'a'\n",
    "components/maths.py": "from components.features import KEY\n",
    "components/unused.py": "",
    "components/trainer/__init__.py": "",
    "components/trainer/component.py": "import os\nfrom components import settings\n",
    "components/trainer/executor.py": "from . import losses\n",
    "components/trainer/losses.py": "def loss():\n    from ..maths import KEY\n",
    "components/evaluator/__init__.py": "",
    "components/evaluator/executor.py": "import components.features as keys\n",
}


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for name, text in TREE.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path


@pytest.mark.parametrize(
    ("edited", "reruns"),
    [
        ("components/trainer/losses.py", {"components.trainer"}),
        ("components/trainer/component.py", {"components.trainer"}),
        ("components/evaluator/executor.py", {"components.evaluator"}),
        ("components/maths.py", {"components.trainer"}),
        ("components/features.py", {"components.trainer", "components.evaluator"}),
        ("components/__init__.py", {"components.trainer", "components.evaluator"}),
        ("components/settings.py", set()),
        ("components/unused.py", set()),
    ],
)
def test_an_edit_changes_the_digest_of_what_depends_on_it(
    tree: Path, edited: str, reruns: set[str]
) -> None:
    packages = ("components.trainer", "components.evaluator")
    before = {package: code_digest(package, tree) for package in packages}
    (tree / edited).write_text(TREE[edited] + "# edited\n")
    after = {package: code_digest(package, tree) for package in packages}
    assert {package for package in packages if before[package] != after[package]} == reruns


def test_a_new_or_renamed_module_changes_the_digest(tree: Path) -> None:
    before = code_digest("components.trainer", tree)
    (tree / "components/trainer/schedule.py").write_text("")
    added = code_digest("components.trainer", tree)
    (tree / "components/trainer/schedule.py").rename(tree / "components/trainer/decay.py")
    assert len({before, added, code_digest("components.trainer", tree)}) == 3


def test_weights_that_decide_count_as_code(tree: Path) -> None:
    (tree / "components/speech_gate.py").write_text("")
    (tree / "components/trainer/component.py").write_text("from components import speech_gate\n")
    weights = tree / "pretrained/speech_gate.json"
    weights.parent.mkdir()
    digests = []
    for text in ("{}", "[]"):
        weights.write_text(text)
        digests.append(
            [code_digest(f"components.{name}", tree) for name in ("trainer", "evaluator")]
        )
    assert digests[0][0] != digests[1][0]
    assert digests[0][1] == digests[1][1]


def test_the_digest_does_not_depend_on_the_install_path(tree: Path, tmp_path: Path) -> None:
    copy = tmp_path / "elsewhere" / "site"
    for name, text in TREE.items():
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        (copy / name).write_text(text)
    assert code_digest("components.trainer", copy) == code_digest("components.trainer", tree)


def test_an_unknown_package_is_an_error(tree: Path) -> None:
    with pytest.raises(ModuleNotFoundError, match=r"components\.trainr"):
        code_digest("components.trainr", tree)


def test_modules_that_import_each_other_end(tree: Path) -> None:
    (tree / "components/features.py").write_text("import components.maths\n")
    assert len(code_digest("components.trainer", tree)) == 64
