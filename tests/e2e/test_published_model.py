"""The SavedModel that a run publishes: whole, standard, and as good as the summary says."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.stats import spearmanr
from sklearn.metrics import precision_score, recall_score, roc_auc_score, roc_curve
from tensorflow.core.protobuf import saved_model_pb2

from components import audio, features, spectrogram_codec
from components.model.digest import DIGESTS
from components.model.files import MODEL_CARD, WARMUP_REQUESTS
from pipeline.code_digest import code_digest
from tests.bad_recordings import encoded
from tests.e2e.conftest import Run
from tests.e2e.support_runs import Store, digests, records, split_files

pytestmark = pytest.mark.slow
HELD_OUT = (features.EVAL, features.UNSEEN)
PYTHON_CALLS = {"PyFunc", "PyFuncStateless", "EagerPyFunc"}


@pytest.fixture(scope="module")
def model(finished: Run) -> Any:
    return tf.saved_model.load(str(finished.published))


@pytest.fixture(scope="module")
def card(finished: Run) -> dict[str, Any]:
    read: dict[str, Any] = json.loads((finished.published / MODEL_CARD).read_text())
    return read


@pytest.fixture(scope="module")
def trials(finished: Run) -> dict[str, list[tf.train.Example]]:
    """The pairs of the held-out splits."""
    files = split_files(Path(Store(finished.output).outputs()["pairs"].uri))
    return {split: list(records(files[split])) for split in HELD_OUT}


def _scores(model: Any, examples: list[tf.train.Example]) -> dict[str, tf.Tensor]:
    serialised = [example.SerializeToString() for example in examples]
    scores: dict[str, tf.Tensor] = model.signatures["score_pairs"](examples=tf.constant(serialised))
    return scores


def _windows(examples: list[tf.train.Example], side: str, n_mels: int) -> NDArray[np.uint8]:
    spectrograms = [
        example.features.feature[f"spectrogram_{side}"].bytes_list.value[0] for example in examples
    ]
    return np.stack([spectrogram_codec.decode(item, n_mels) for item in spectrograms])


def _labels(examples: list[tf.train.Example]) -> NDArray[np.int64]:
    return np.array([example.features.feature["label"].int64_list.value[0] for example in examples])


def test_the_version_is_whole_and_the_only_one(finished: Run) -> None:
    assert list(finished.published.parent.iterdir()) == [finished.published]
    assert finished.published.name.isdecimal()
    contents = digests(finished.published)
    assert set(contents) >= {
        "saved_model.pb",
        "variables/variables.index",
        "variables/variables.data-00000-of-00001",
        MODEL_CARD,
        WARMUP_REQUESTS,
    }
    outputs = Store(finished.output).outputs()
    del contents[DIGESTS]  # written at publishing
    assert contents == digests(Path(outputs["pushed_model"].uri))
    assert contents == digests(Path(outputs["model"].uri) / "Format-Serving")


def test_the_card_traces_the_model_to_what_made_it(finished: Run, card: dict[str, Any]) -> None:
    config = finished.config
    assert card["config_digest"] == config.training_digest()
    assert card["data_digest"] == finished.summary.data_digest
    assert card["code_digest"] == code_digest("components.trainer")
    assert card["spectrogram"] == config.spectrogram.model_dump()
    assert card["spectrogram_codec"] == spectrogram_codec.NAME
    assert card["serving"] == config.serving.model_dump()
    assert card["sample_rate"] == config.speech.sample_rate
    assert card["threshold"] > 0.0
    assert card["slope"] > 0.0


def test_distances_are_those_of_the_embeddings(
    finished: Run, model: Any, card: dict[str, Any], trials: dict[str, list[tf.train.Example]]
) -> None:
    examples = trials[features.EVAL]
    n_mels = finished.config.spectrogram.n_mels
    a, b = (model.embed_windows(_windows(examples, side, n_mels)) for side in features.SIDES)
    assert a.dtype == b.dtype == tf.float32
    assert a.shape == (len(examples), finished.config.trainer.embedding_size)

    scores = _scores(model, examples)
    assert set(scores) == {features.DISTANCE, features.PROBABILITY}
    assert {output.dtype for output in scores.values()} == {tf.float32}
    of_embeddings = model.signatures["score_embeddings"](embedding_a=a, embedding_b=b)
    distance = of_embeddings[features.DISTANCE].numpy()
    np.testing.assert_allclose(scores[features.DISTANCE], distance, atol=1e-5)
    # Relative to the nearest training voices, and in the same order as without them on the whole.
    euclidean = np.linalg.norm(a.numpy().astype(np.float64) - b.numpy(), axis=1)
    assert finished.config.trainer.normalisation_nearest > 0
    assert np.max(np.abs(distance - euclidean)) > 1e-3
    assert spearmanr(distance, euclidean).statistic > 0.5
    probability = 1.0 / (1.0 + np.exp(-card["slope"] * (card["threshold"] - distance)))
    np.testing.assert_allclose(scores[features.PROBABILITY], probability, atol=1e-4)


def test_recordings_of_the_data_are_compared(
    finished: Run, model: Any, card: dict[str, Any]
) -> None:
    """Whole recordings: a voice is nearer to itself than two voices are."""
    rate = finished.config.speech.sample_rate
    speakers = sorted(path for path in finished.data.iterdir() if path.is_dir())
    takes = [
        [audio.decode(path, sample_rate=rate) for path in sorted(speaker.iterdir())[:2]]
        for speaker in speakers
    ]
    wavs = [[encoded(take, rate, subtype="PCM_16") for take in both] for both in takes]
    a, b = ([both[side] for both in wavs] for side in (0, 1))
    verify = model.signatures["serving_default"]
    same = verify(audio_a=tf.constant(a), audio_b=tf.constant(b))
    different = verify(audio_a=tf.constant(a), audio_b=tf.constant(b[1:] + b[:1]))
    assert set(same["status_a"].numpy()) == set(same["status_b"].numpy()) == {b"ok"}
    assert np.mean(same[features.DISTANCE]) < np.mean(different[features.DISTANCE])
    assert np.array_equal(same["same_speaker"], same[features.PROBABILITY].numpy() >= 0.5)


@pytest.mark.parametrize("split", HELD_OUT)
def test_the_summary_agrees_with_scikit_learn(
    finished: Run, model: Any, trials: dict[str, list[tf.train.Example]], split: str
) -> None:
    examples, metrics = trials[split], finished.summary.metrics[split]
    label, scores = _labels(examples), _scores(model, examples)
    distance = scores[features.DISTANCE].numpy()
    accepted = scores[features.PROBABILITY].numpy() >= 0.5
    false_accept, true_accept, _ = roc_curve(label, -distance, drop_intermediate=False)
    eer = brentq(lambda x: 1.0 - x - np.interp(x, false_accept, true_accept), 0.0, 1.0)

    assert metrics["eer"] == pytest.approx(eer, abs=1e-3)
    assert metrics["auc"] == pytest.approx(roc_auc_score(label, -distance), abs=1e-3)
    assert metrics["precision"] == pytest.approx(precision_score(label, accepted), abs=1e-12)
    assert metrics["recall"] == pytest.approx(recall_score(label, accepted), abs=1e-12)
    rates = np.array([accepted[label == kind].mean() for kind in (1, 0)])
    assert metrics["balanced_precision"] == pytest.approx(rates[0] / rates.sum(), abs=1e-9)
    for kind, name in ((1, "similar"), (0, "dissimilar")):
        mean = distance[label == kind].mean()
        assert metrics[f"mean_{name}_distance"] == pytest.approx(mean, abs=1e-4)
    assert metrics["example_count"] == len(examples) == finished.summary.examples[split]


def test_the_graph_holds_only_operations_of_tensorflow(finished: Run) -> None:
    saved = saved_model_pb2.SavedModel.FromString(
        (finished.published / "saved_model.pb").read_bytes()
    )
    (meta_graph,) = saved.meta_graphs
    library = meta_graph.graph_def.library.function
    nodes = [
        *meta_graph.graph_def.node,
        *(node for function in library for node in function.node_def),
    ]
    used = {node.op for node in nodes} - {function.signature.name for function in library}
    assert "Conv2D" in used
    assert sorted(used & PYTHON_CALLS) == []
    assert sorted(op for op in used if not hasattr(tf.raw_ops, op)) == []
