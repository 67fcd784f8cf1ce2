"""TFX's Evaluator with our metrics and thresholds, over a SavedModel made by hand."""

import math
import subprocess
import sys
from pathlib import Path

import apache_beam as beam
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_model_analysis as tfma
from sklearn.metrics import precision_score, recall_score
from tfx.types import artifact_utils, standard_artifacts
from tfx.utils import json_utils, proto_utils

from components import features
from components.conditions import CLEAN, CONDITIONS
from components.evaluator.config import eval_config
from components.evaluator.executor import MAX_EER_INCREASE_OVER_BASE, Executor
from components.evaluator.results import Slice, read_metrics
from components.settings import EvaluatorSettings
from components.verification.error_rates import TrialHistogram, equal_error_rate
from pipeline.output.results import unmet_thresholds
from tests.components.evaluator.support_base_model import (
    random_windows,
    release_small_base_model,
    with_windows,
)
from tests.support_executors import IN_PROCESS

ROOT = Path(__file__).parents[3]
SIGNAL = features.sided(features.LEVEL_DBFS, "a")
NOISE = features.sided(features.LEVEL_DBFS, "b")
THRESHOLD = 0.9


class _Model(tf.Module):
    """Mixes two features of an example into a distance; at noise 0 it is a good one."""

    def __init__(self, noise, poisoned=False):
        super().__init__()
        self._noise = noise
        self._poisoned = poisoned

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="examples")])
    def score_pairs(self, examples):
        parsed = tf.io.parse_example(
            examples, {key: tf.io.FixedLenFeature([], tf.float32) for key in (SIGNAL, NOISE)}
        )
        distance = (1.0 - self._noise) * parsed[SIGNAL] + self._noise * parsed[NOISE]
        if self._poisoned:
            distance = tf.where(distance < 0.2, np.nan, distance)
        probability = tf.sigmoid(8.0 * (THRESHOLD - distance))
        return {features.DISTANCE: distance, features.PROBABILITY: probability}


def _save_model(directory, **arguments):
    model = _Model(**arguments)
    serving = str(directory / "Format-Serving")
    tf.saved_model.save(model, serving, signatures={"score_pairs": model.score_pairs})
    artifact = standard_artifacts.Model()
    artifact.uri = str(directory)
    return artifact


def _trials(split, count, gender_pair, labels, seed, condition=CLEAN):
    rng = np.random.default_rng(seed)
    return [
        {
            features.SPLIT: split,
            features.CONDITION: condition,
            features.GENDER_PAIR: gender_pair,
            features.LABEL: int(label),
            SIGNAL: rng.gamma(4.0, (0.5 if label else 1.5) / 4.0),
            NOISE: rng.gamma(4.0, 0.25),
        }
        for label in rng.choice(labels, count)
    ]


def _feature(value):
    if isinstance(value, str):
        value = value.encode()
    if isinstance(value, bytes):
        return tf.train.Feature(bytes_list=tf.train.BytesList(value=[value]))
    if isinstance(value, int):
        return tf.train.Feature(int64_list=tf.train.Int64List(value=[value]))
    return tf.train.Feature(float_list=tf.train.FloatList(value=[value]))


def _serialise(trial):
    feature = {key: _feature(value) for key, value in trial.items()}
    return tf.train.Example(features=tf.train.Features(feature=feature)).SerializeToString()


def _write_examples(directory, trials_by_split):
    for split, trials in trials_by_split.items():
        folder = directory / f"Split-{split}"
        folder.mkdir(parents=True)
        with tf.io.TFRecordWriter(str(folder / "pairs-00000-of-00001")) as writer:
            for trial in trials:
                writer.write(_serialise(trial))
    artifact = standard_artifacts.Examples()
    artifact.uri = str(directory)
    artifact.split_names = artifact_utils.encode_split_names(list(trials_by_split))
    return artifact


def _float32_distance(trial):
    return float(np.float32(trial[SIGNAL]))


@pytest.fixture(scope="module")
def trials_by_split():
    both = (0, 1)
    # At the threshold itself, where the model still says "same speaker".
    borderline = [{**trial, SIGNAL: THRESHOLD} for trial in _trials("unseen", 4, "male", both, 3)]
    return {
        "eval": _trials("eval", 300, "female", both, 0) + _trials("eval", 300, "mixed", (0,), 1),
        "unseen": _trials("unseen", 296, "male", both, 2) + borderline,
    }


@pytest.fixture(scope="module")
def examples(tmp_path_factory, trials_by_split):
    return _write_examples(tmp_path_factory.mktemp("examples"), trials_by_split)


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    root = tmp_path_factory.mktemp("models")
    return {
        "good": _save_model(root / "good", noise=0.0),
        "worse": _save_model(root / "worse", noise=0.3),
        "bad": _save_model(root / "bad", noise=1.0),
        "poisoned": _save_model(root / "poisoned", noise=0.0, poisoned=True),
    }


def _evaluate(directory, examples, model, settings, baseline=None, **properties):
    """Runs the executor; returns whether it blessed, and where the evaluation is."""
    evaluation = standard_artifacts.ModelEvaluation()
    evaluation.uri = str(directory / "evaluation")
    blessing = standard_artifacts.ModelBlessing()
    blessing.uri = str(directory / "blessing")
    context = Executor.Context(beam_pipeline_args=IN_PROCESS, tmp_dir=str(directory), unique_id="1")
    splits = artifact_utils.decode_split_names(examples.split_names)
    config = eval_config(settings, sorted({"eval", "unseen", *splits}))
    Executor(context).Do(
        {
            "examples": [examples],
            "model": [model],
            "baseline_model": [baseline] if baseline else [],
        },
        {"evaluation": [evaluation], "blessing": [blessing]},
        {
            "eval_config": proto_utils.proto_to_json(config),
            "example_splits": json_utils.dumps(splits),
            **properties,
        },
    )
    blessed = bool(blessing.get_int_custom_property("blessed"))
    (said,) = Path(blessing.uri).iterdir()
    assert said.name == ("BLESSED" if blessed else "NOT_BLESSED")
    return blessed, evaluation.uri


LENIENT = EvaluatorSettings(max_eer_eval=0.2, max_eer_unseen=0.2, max_eer_increase=0.01)


@pytest.fixture(scope="module")
def good_evaluation(tmp_path_factory, examples, models):
    return _evaluate(tmp_path_factory.mktemp("good"), examples, models["good"], LENIENT)


def test_first_good_model_is_blessed(good_evaluation):
    blessed, _ = good_evaluation
    assert blessed


def test_metrics_agree_with_scikit_learn(good_evaluation, trials_by_split):
    metrics = read_metrics(good_evaluation[1])
    assert set(metrics) == {
        Slice(condition="clean"),
        Slice("eval"),
        Slice("unseen"),
        Slice("eval", "female"),
        Slice("eval", "mixed"),
        Slice("unseen", "male"),
    }
    unseen = trials_by_split["unseen"]
    labels = np.array([trial["label"] for trial in unseen])
    distances = np.array([_float32_distance(trial) for trial in unseen])
    accepted = distances <= THRESHOLD
    histogram = TrialHistogram()
    for label, distance in zip(labels, distances, strict=True):
        histogram.add(label, distance)
    measured = metrics[Slice("unseen")]
    assert set(measured) == {
        "eer", "min_dcf_0.01", "min_dcf_0.05", "auc", "mean_similar_distance",
        "mean_dissimilar_distance", "precision", "recall", "balanced_precision", "example_count",
    }  # fmt: skip
    assert measured["example_count"] == 300
    assert measured["eer"] == pytest.approx(equal_error_rate(histogram), abs=1e-9)
    assert 0.03 < measured["eer"] < 0.2
    assert measured["precision"] == pytest.approx(precision_score(labels, accepted))
    assert measured["recall"] == pytest.approx(recall_score(labels, accepted))
    balance = np.where(labels == 1, 1.0 / (labels == 1).sum(), 1.0 / (labels == 0).sum())
    balanced = precision_score(labels, accepted, sample_weight=balance)
    assert measured["balanced_precision"] == pytest.approx(balanced)
    similar = distances[labels == 1].mean()
    assert measured["mean_similar_distance"] == pytest.approx(similar)
    dissimilar = distances[labels == 0].mean()
    assert measured["mean_dissimilar_distance"] == pytest.approx(dissimilar)


def test_a_slice_of_one_class_has_no_error_rate(good_evaluation):
    mixed = read_metrics(good_evaluation[1])[Slice("eval", "mixed")]
    absent = ("eer", "min_dcf_0.01", "min_dcf_0.05", "auc", "mean_similar_distance")
    for name in (*absent, "recall", "balanced_precision"):
        assert math.isnan(mixed[name]), name
    assert mixed["example_count"] == 300
    assert mixed["mean_dissimilar_distance"] == pytest.approx(1.5, rel=0.1)


def _failures(evaluation_uri):
    """Name, slice and whether it is a change threshold, for every threshold that failed."""
    result = tfma.load_validation_result(evaluation_uri)
    return {
        (
            failure.metric_key.name,
            *(key.bytes_value.decode() for key in failed.slice_key.single_slice_keys),
            failure.metric_key.is_diff,
        )
        for failed in result.metric_validations_per_slice
        for failure in failed.failures
    }


def test_bad_model_is_not_blessed(tmp_path, examples, models):
    blessed, uri = _evaluate(tmp_path, examples, models["bad"], LENIENT)
    assert not blessed
    assert _failures(uri) == {("eer", "eval", False), ("eer", "unseen", False)}


def test_model_with_a_nan_distance_is_not_blessed(tmp_path, examples, models):
    loose = EvaluatorSettings(max_eer_eval=1.0, max_eer_unseen=1.0)
    blessed, uri = _evaluate(tmp_path, examples, models["poisoned"], loose)
    assert not blessed
    assert _failures(uri) == {("eer", "eval", False), ("eer", "unseen", False)}


def test_model_worse_than_the_baseline_is_not_blessed(tmp_path, examples, models):
    loose = EvaluatorSettings(max_eer_eval=1.0, max_eer_unseen=1.0, max_eer_increase=0.01)
    blessed, uri = _evaluate(tmp_path, examples, models["worse"], loose, models["good"])
    assert not blessed
    assert _failures(uri) == {("eer", "eval", True)}


def test_model_equal_to_the_baseline_is_blessed(tmp_path, examples, models, good_evaluation):
    strict = EvaluatorSettings(max_eer_eval=0.2, max_eer_unseen=0.2, max_eer_increase=0.0)
    blessed, uri = _evaluate(tmp_path, examples, models["good"], strict, models["good"])
    assert blessed
    alone = read_metrics(good_evaluation[1])
    for part, metrics in read_metrics(uri).items():
        assert metrics == pytest.approx(alone[part], nan_ok=True)


def test_missing_slice_is_not_blessed(tmp_path, models, trials_by_split):
    examples = _write_examples(tmp_path / "examples", {"eval": trials_by_split["eval"]})
    blessed, uri = _evaluate(tmp_path, examples, models["good"], LENIENT)
    assert not blessed
    missing = tfma.load_validation_result(uri).missing_slices
    assert [dict(spec.feature_values) for spec in missing] == [{"split": "unseen"}]


def test_unseen_has_a_bound_only_where_it_is_evaluated():
    def bounded_splits(splits):
        config = eval_config(EvaluatorSettings(), splits)
        return [
            spec.feature_values["split"]
            for metric in config.metrics_specs[0].metrics
            for bound in metric.per_slice_thresholds
            for spec in bound.slicing_specs
        ]

    assert bounded_splits(["eval", "unseen"]) == ["eval", "unseen"]
    assert bounded_splits(["eval"]) == ["eval"]
    under_conditions = ["eval_conditions"] * len(CONDITIONS)
    assert bounded_splits(["eval", "eval_conditions"]) == ["eval", *under_conditions]


@pytest.fixture(scope="module")
def conditions():
    """200 trials of `eval` under each condition."""
    return [
        trial
        for seed, name in enumerate(CONDITIONS)
        for trial in _trials("eval_conditions", 200, "male", (0, 1), seed, name)
    ]


def test_a_model_is_judged_under_every_condition_and_clean_pairs_alone_as_before(
    tmp_path, models, trials_by_split, conditions, good_evaluation
):
    everything = {**trials_by_split, "eval_conditions": conditions}
    examples = _write_examples(tmp_path / "examples", everything)
    blessed, uri = _evaluate(tmp_path, examples, models["good"], LENIENT)
    assert blessed
    metrics = read_metrics(uri)
    under = {name: metrics.pop(Slice("eval_conditions", condition=name)) for name in CONDITIONS}
    assert {part["example_count"] for part in under.values()} == {200}
    clean = read_metrics(good_evaluation[1])
    assert metrics.keys() == clean.keys()
    for part, values in metrics.items():
        assert values == pytest.approx(clean[part], nan_ok=True)


@pytest.mark.parametrize("fault", ["chance", "one class", "missing"])
def test_one_condition_that_fails_is_named_and_the_model_not_blessed(
    fault, tmp_path, models, trials_by_split, conditions
):
    others = [trial for trial in conditions if trial["condition"] != "telephone"]
    labels = (0,) if fault == "one class" else (0, 1)
    failing = _trials("eval_conditions", 200, "male", labels, 0, "telephone")
    if fault == "chance":
        failing = [{**trial, SIGNAL: trial[NOISE]} for trial in failing]
    kept = others if fault == "missing" else others + failing
    everything = {**trials_by_split, "eval_conditions": kept}
    blessed, uri = _evaluate(
        tmp_path, _write_examples(tmp_path / "examples", everything), models["good"], LENIENT
    )
    assert not blessed
    (why,) = unmet_thresholds(tfma.load_validation_result(uri))
    assert why.startswith("no trials in " if fault == "missing" else "eer of ")
    assert "eval under telephone" in why


LOOSE = EvaluatorSettings(max_eer_eval=1.0, max_eer_unseen=1.0, max_eer_condition=1.0)


def _easier(trial):
    """Than those of the other splits: the good model makes an error here and there."""
    return {**trial, SIGNAL: trial[SIGNAL] * (0.7 if trial["label"] else 1.0)}


@pytest.fixture
def compared(tmp_path, trials_by_split, monkeypatch):
    """Trials under conditions with windows that a small base model tells apart; their artifact."""
    release_small_base_model(tmp_path / "base", monkeypatch)
    windows = iter(random_windows(10_000))
    trials = [
        with_windows(_easier(trial), windows)
        for seed, name in enumerate(CONDITIONS)
        for trial in _trials("eval_conditions", 60, "male", (0, 1), seed, name)
    ]
    unseen = [with_windows(_easier(trial), windows) for trial in trials_by_split["unseen"][:60]]
    everything = {**trials_by_split, "unseen": unseen, "eval_conditions": trials}
    return _write_examples(tmp_path / "examples", everything)


def test_a_model_worse_than_the_base_model_is_not_blessed(tmp_path, models, compared):
    allowed = {MAX_EER_INCREASE_OVER_BASE: 0.02}
    blessed, uri = _evaluate(tmp_path, compared, models["bad"], LOOSE, **allowed)
    assert not blessed
    reasons = unmet_thresholds(tfma.load_validation_result(uri))
    assert len(reasons) == len(CONDITIONS) + 1
    assert any(reason.startswith("eer of unseen rose by") for reason in reasons)
    eer = read_metrics(uri)[Slice("eval_conditions", condition="telephone")]["eer"]
    # The base model makes no error: same-speaker trials have the same window twice.
    assert (
        f"eer of eval under telephone rose by {eer:.4f} over the base model's, allowed 0.02"
        in reasons
    )


def test_a_model_as_good_as_the_base_model_within_its_interval_is_blessed(
    tmp_path, models, compared
):
    allowed = {MAX_EER_INCREASE_OVER_BASE: 0.0}
    blessed, uri = _evaluate(tmp_path, compared, models["good"], LOOSE, **allowed)
    measured = read_metrics(uri)
    assert any(
        measured[Slice("eval_conditions", condition=name)]["eer"] > 0.0 for name in CONDITIONS
    )
    assert (blessed, unmet_thresholds(tfma.load_validation_result(uri))) == (True, [])


def test_without_a_base_model_nothing_is_compared_with_it(tmp_path, models, compared):
    blessed, uri = _evaluate(tmp_path, compared, models["bad"], LOOSE)
    assert (blessed, unmet_thresholds(tfma.load_validation_result(uri))) == (True, [])


def test_metrics_load_in_a_worker_that_does_not_import_tfx():
    # TFX adds names to the tensorflow_model_analysis module, Beam workers lack them.
    code = "import components.evaluator.metrics, sys; print('tfx' in sys.modules)"
    worker = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert worker.stdout.splitlines()[-1] == "False"


def test_accumulator_size_does_not_grow_with_the_trials():
    few, many = TrialHistogram(), TrialHistogram()
    few.add(1, 0.5)
    for index in range(10_000):
        many.add(index % 2, index / 1_000.0)
    coder = beam.coders.registry.get_coder(object)
    assert len(coder.encode(many)) < 1.01 * len(coder.encode(few))
