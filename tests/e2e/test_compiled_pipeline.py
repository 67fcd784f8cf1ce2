"""What would be submitted, executed here task by task, each in a process of its own.

These are forks of one process, which has imported the libraries: that an image's Python imports
them is shown by `make container-test`.
"""

import json
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from components import features
from components.model.files import MODEL_CARD
from pipeline.config import load_config
from tests.e2e.conftest import Run
from tests.e2e.support_runs import (
    CONFIG,
    SETTINGS,
    UNTRAINED,
    Store,
    digests,
    records,
    split_files,
)
from tests.harness.compiled_run import CompiledRun, run_compiled
from tests.harness.containers import on_host
from tests.harness.engine import Engine
from tests.harness.forks import run_in_fork

pytestmark = pytest.mark.slow
BASELINE = {"Baseline-model-blessing-resolver", "Baseline-model-resolver"}
Submit = Callable[..., CompiledRun]


def _states(run: CompiledRun) -> dict[str, str]:
    return {name: task.state for name, task in run.tasks.items()}


def _blessing(run: CompiledRun) -> Mapping[str, object]:
    metadata: Mapping[str, object] = (
        run.tasks["Evaluator"].outputs["blessing"].artifacts[0].metadata
    )
    return metadata


def _scores(model: Path, pairs: list[tf.train.Example]) -> np.ndarray:
    score = tf.saved_model.load(str(model)).signatures["score_pairs"]
    scored = score(examples=tf.constant([pair.SerializeToString() for pair in pairs]))
    distance: np.ndarray = scored[features.DISTANCE].numpy()
    return distance


@pytest.fixture(scope="module")
def output(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("compiled") / "output"


@pytest.fixture(scope="module")
def submit(finished: Run, output: Path) -> Submit:
    """Runs the compiled pipeline with more settings, each time by the same engine."""
    engine = Engine(output / "artifacts", on_host, run_in_fork)

    def run(*settings: str) -> CompiledRun:
        config = load_config(CONFIG, [*SETTINGS, *settings])
        return run_compiled(config, finished.data, output, engine)

    return run


@pytest.fixture(scope="module")
def first(submit: Submit) -> CompiledRun:
    """The first run."""
    return submit()


def test_it_ends_in_a_blessed_model_that_scores_as_the_local_runs(
    finished: Run, first: CompiledRun, output: Path
) -> None:
    states = _states(first)
    assert {name for name, state in states.items() if state == "resolved"} == BASELINE
    assert {state for name, state in states.items() if name not in BASELINE} == {"done"}
    (published,) = (output / "published").iterdir()
    assert first.published == str(published)
    assert _blessing(first)["blessed"] == 1
    pairs = list(records(split_files(Path(Store(finished.output).outputs()["pairs"].uri))["eval"]))
    ours, theirs = _scores(published, pairs), _scores(finished.published, pairs)
    assert len(ours) > 20
    np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)
    card, other = (
        json.loads((model / MODEL_CARD).read_text()) for model in (published, finished.published)
    )
    for key in ("data_digest", "code_digest", "trainer", "speech"):
        assert card[key] == other[key]


@pytest.mark.long
def test_a_worse_model_is_refused_by_the_comparison_with_the_first(
    first: CompiledRun, submit: Submit, output: Path
) -> None:
    before = digests(output / "published")
    baseline = _blessing(first)["current_model_id"]
    run = submit(*UNTRAINED)
    assert {name for name, state in _states(run).items() if state == "cached"} == {
        "ImportSchemaGen", "SpeechExampleGen", "SpectrogramPairGen", "StatisticsGen",
        "ExampleValidator",
    }  # fmt: skip
    assert run.published is None
    assert run.unmet[0].startswith("eer of eval rose by 0.")
    assert digests(output / "published") == before
    blessing = _blessing(run)
    # Held to absolute bounds alone, any model would be blessed.
    assert (blessing["blessed"], blessing["baseline_model_id"]) == (0, baseline)
