"""What would be submitted, executed here task by task, each in a process of its own."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from components import features
from components.model_files import MODEL_CARD
from tests.e2e.conftest import Run
from tests.e2e.support_runs import (
    CONFIG,
    SETTINGS,
    UNTRAINED,
    Ended,
    Store,
    digests,
    records,
    split_files,
)

pytestmark = pytest.mark.slow
Swar = Callable[[list[str]], Ended]
BASELINE = {"Baseline-model-blessing-resolver", "Baseline-model-resolver"}


def _submit(data: Path, output: Path, *settings: str) -> list[str]:
    told = ["submit", "--config", CONFIG, "--data", str(data), "--execute-locally", str(output)]
    for setting in (*SETTINGS, *settings):
        told += ["--set", setting]
    return told


def _states(ended: Ended) -> dict[str, str]:
    parts = (line.partition(": ") for line in ended.out.splitlines())
    return {name: state for name, _, state in parts if name != "model"}


def _metadata(output: Path, task: str, key: str) -> dict[str, object]:
    """What the newest execution of a task said of an output."""
    executions = output / "artifacts" / "swar-demo" / "executions"
    newest = max(executions.glob(f"*-{task}.json"))
    return dict(json.loads(newest.read_text())["outputs"][key]["artifacts"][0]["metadata"])


def _scores(model: Path, pairs: list[tf.train.Example]) -> np.ndarray:
    score = tf.saved_model.load(str(model)).signatures["score_pairs"]
    scored = score(examples=tf.constant([pair.SerializeToString() for pair in pairs]))
    distance: np.ndarray = scored[features.DISTANCE].numpy()
    return distance


@pytest.fixture(scope="module")
def output(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("compiled") / "output"


@pytest.fixture(scope="module")
def runs() -> list[Ended]:
    """The first submission to `output`, once a test has asked for it."""
    return []


@pytest.fixture
def first(finished: Run, swar: Swar, output: Path, runs: list[Ended]) -> Ended:
    """How the first one ended."""
    if not runs:
        runs.append(swar(_submit(finished.data, output)))
    return runs[0]


def test_it_ends_in_a_blessed_model_that_scores_as_the_local_runs(
    finished: Run, first: Ended, output: Path
) -> None:
    assert (first.status, first.err) == (0, "")
    states = _states(first)
    assert {name for name, state in states.items() if state == "resolved"} == BASELINE
    assert {state for name, state in states.items() if name not in BASELINE} == {"done"}
    (published,) = (output / "published").iterdir()
    assert f"model: {published}" in first.out
    assert _metadata(output, "Evaluator", "blessing")["blessed"] == 1
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
@pytest.mark.usefixtures("first")
def test_a_worse_model_is_refused_by_the_comparison_with_the_first(
    finished: Run, swar: Swar, output: Path
) -> None:
    before = digests(output / "published")
    baseline = _metadata(output, "Evaluator", "blessing")["current_model_id"]
    ended = swar(_submit(finished.data, output, *UNTRAINED))
    assert (ended.status, ended.err) == (1, "")
    states = _states(ended)
    assert {name for name, state in states.items() if state == "cached"} == {
        "ImportSchemaGen", "SpeechExampleGen", "SpectrogramPairGen", "StatisticsGen",
        "ExampleValidator",
    }  # fmt: skip
    assert "model: not published: eer of eval rose by 0." in ended.out
    assert digests(output / "published") == before
    blessing = _metadata(output, "Evaluator", "blessing")
    # Held to absolute bounds alone, any model would be blessed.
    assert (blessing["blessed"], blessing["baseline_model_id"]) == (0, baseline)
