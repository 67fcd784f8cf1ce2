"""A model that is not good enough is not published, and the user learns why."""

import json
import shutil
from collections.abc import Callable

import pytest

from tests.e2e.conftest import Run
from tests.e2e.support_runs import (
    EVALUATOR,
    PUSHER,
    REPORT,
    SERVING_CHECK,
    TRAINER,
    UNTRAINED,
    Ended,
    Store,
    digests,
    states,
)

pytestmark = pytest.mark.slow
Rerun = Callable[..., Ended]


def test_a_model_that_fails_its_bound_is_not_published(finished: Run, rerun: Rerun) -> None:
    shutil.rmtree(finished.published.parent)
    measured = finished.summary.eer_by_condition["eval"]
    worst = max(measured, key=lambda name: measured[name] or 0.0)
    bound = round((measured[worst] or 0.0) - 1e-3, 4)
    ended = rerun("evaluator.max_eer_unseen=0.0", f"evaluator.max_eer_condition={bound}")
    assert (ended.status, ended.err) == (1, "")
    # The model is the same: only what judges it is done again.
    assert ended.states() == states(EVALUATOR, PUSHER, REPORT)
    assert not finished.published.parent.exists()
    summary = json.loads((finished.output / "summary.json").read_text())
    eer = finished.summary.metrics["unseen"]["eer"]
    assert (summary["blessed"], summary["published_model"]) == (False, None)
    *of_conditions, of_unseen = summary["not_blessed_because"]
    assert of_unseen == f"eer of unseen is {eer:.4f}, allowed 0"
    under_worst = f"eer of eval under {worst} is {measured[worst]:.4f}, allowed {bound:g}"
    assert under_worst in of_conditions
    assert "not published" in ended.out
    assert "eer of unseen is" in ended.out


def test_a_model_worse_than_the_last_blessed_one_is_not_published(
    finished: Run, rerun: Rerun
) -> None:
    before = digests(finished.published.parent)
    ended = rerun(*UNTRAINED)
    assert (ended.status, ended.err) == (1, "")
    assert ended.states() == states(TRAINER, SERVING_CHECK, EVALUATOR, PUSHER, REPORT)
    assert digests(finished.published.parent) == before
    summary = json.loads((finished.output / "summary.json").read_text())
    rise = summary["metrics"]["eval"]["eer"] - finished.summary.metrics["eval"]["eer"]
    assert summary["not_blessed_because"] == [f"eer of eval rose by {rise:.4f}, allowed 0.02"]
    blessing = Store(finished.output).outputs()["blessing"].custom_properties
    assert blessing["blessed"].int_value == 0
    assert blessing["baseline_model_id"].int_value > 0
