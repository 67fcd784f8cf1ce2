"""The Evaluator: measures a model on held-out pairs and blesses it where it is good enough."""

from collections.abc import Sequence

from tfx import types
from tfx.components import Evaluator as TfxEvaluator
from tfx.dsl.components.base import executor_spec

from components.evaluator.config import eval_config
from components.evaluator.executor import MAX_EER_INCREASE_OVER_BASE, Executor
from components.settings import EvaluatorSettings


class Evaluator(TfxEvaluator):
    """TFX's Evaluator, which also compares a model with the base model that it was trained from."""

    EXECUTOR_SPEC = executor_spec.BeamExecutorSpec(Executor)

    def __init__(
        self,
        *,
        examples: types.BaseChannel,
        model: types.BaseChannel,
        baseline_model: types.BaseChannel | None,
        settings: EvaluatorSettings,
        splits: Sequence[str],
        base_digest: str | None,
        code_digest: str,
    ) -> None:
        """Makes the node.

        Args:
            examples: `pairs`.
            model: the candidate.
            baseline_model: the last blessed model; None for no such comparison.
            settings: what the candidate must reach.
            splits: of the pairs, to evaluate on.
            base_digest: of the base model, if the candidate was trained from it; else None.
            code_digest: of the code behind the metrics, so that an edit reruns the node.
        """
        super().__init__(
            examples=examples,
            model=model,
            baseline_model=baseline_model,
            eval_config=eval_config(settings, splits),
            example_splits=list(splits),
        )
        # TFX's specification has no parameters for these.
        properties = self.spec.exec_properties
        properties["swar_digest"] = code_digest
        if base_digest is not None:
            properties["base_digest"] = base_digest
            properties[MAX_EER_INCREASE_OVER_BASE] = settings.max_eer_increase_over_base
