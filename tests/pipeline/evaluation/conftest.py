"""A small model, the speakers it was trained on, and what is measured on them."""

import pytest

from components.terminal import Console
from pipeline.evaluation.folders import evaluate
from tests.pipeline.evaluation.support_evaluation import SETTINGS, make


@pytest.fixture(scope="session")
def made(tmp_path_factory):
    return make(tmp_path_factory.mktemp("evaluation"))


@pytest.fixture(scope="session")
def result(made):
    quiet = Console(quiet=True)
    return evaluate(made.model, [str(made.data)], SETTINGS, quiet, only_unseen=False)
