"""The exported SavedModel: what each signature answers, whatever it is sent."""

import json

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tensorflow.core.protobuf import saved_model_pb2
from tensorflow_serving.apis import prediction_log_pb2

from components.model.export import model_digest
from components.model.files import MODEL_CARD, WARMUP_REQUESTS
from components.model.normalisation import CohortNormalisation, distances
from components.model.recordings import Recordings
from components.model.served import WINDOWS_AT_ONCE
from tests.bad_recordings import encoded, speech_like
from tests.components.model.support_exported import (
    CALIBRATION,
    FRONT_END,
    RATE,
    ask,
    exported,
    recording,
    small_tower,
)

STATUSES = {"ok", "not_wav", "wrong_sample_rate", "too_long", "too_short", "silent", "no_speech"}
BAD = {
    b"": b"not_wav",
    b"RIFF": b"not_wav",
    encoded(speech_like(0, 16_000), 16_000): b"wrong_sample_rate",
    encoded(speech_like(0, RATE, 31.0), RATE): b"too_long",
    encoded(speech_like(0, RATE, 0.2), RATE): b"too_short",
    encoded(np.zeros(2 * RATE), RATE): b"silent",
    encoded(0.1 * np.random.default_rng(0).standard_normal(2 * RATE), RATE): b"no_speech",
}


@pytest.fixture(scope="module")
def pooled(tmp_path_factory):
    return exported(tmp_path_factory.mktemp("pooled"), "pooled")


@pytest.fixture(scope="module")
def normalisation():
    cohort = np.random.default_rng(0).normal(size=(12, 8)).astype(np.float32)
    return CohortNormalisation(cohort / np.linalg.norm(cohort, axis=1, keepdims=True), 5)


@pytest.fixture(scope="module")
def normalised(tmp_path_factory, normalisation):
    return exported(tmp_path_factory.mktemp("normalised"), "pooled", normalisation)


@pytest.fixture(scope="module")
def flat(tmp_path_factory):
    return exported(tmp_path_factory.mktemp("flat"), "flatten")


def test_the_tower_is_traced_once(pooled):
    assert pooled.traces == 1


def test_the_signatures_are_those_of_the_contract(pooled):
    traced = {
        name: (set(function.structured_input_signature[1]), function.structured_outputs)
        for name, function in pooled.model.signatures.items()
    }
    scores = {"distance": tf.float32, "probability": tf.float32}
    decision = scores | {"same_speaker": tf.bool}
    outputs = {
        "serving_default": decision
        | {"speech_seconds_a": tf.float32, "speech_seconds_b": tf.float32}
        | {"status_a": tf.string, "status_b": tf.string},
        "embed": {
            "embedding": tf.float32,
            "speech_seconds": tf.float32,
            "status": tf.string,
            "model_digest": tf.string,
        },
        "score_embeddings": decision,
        "score_pairs": scores,
        "describe": {
            "sample_rate": tf.int32,
            "embedding_size": tf.int32,
            "threshold": tf.float32,
            "model_digest": tf.string,
            "card": tf.string,
        },
    }
    inputs = {
        "serving_default": {"audio_a", "audio_b"},
        "embed": {"audio"},
        "score_embeddings": {"embedding_a", "embedding_b"},
        "score_pairs": {"examples"},
        "describe": {"query"},
    }
    assert {name: taken for name, (taken, _) in traced.items()} == inputs
    for name, (_, given_out) in traced.items():
        assert {key: spec.dtype for key, spec in given_out.items()} == outputs[name]
    assert pooled.model.signatures["embed"].structured_outputs["embedding"].shape == [None, 8]


def test_a_model_describes_itself_once_for_each_row(pooled):
    said = ask(pooled, "describe", query=[b"", b"anything"])
    assert said["sample_rate"].tolist() == [RATE] * 2
    assert said["embedding_size"].tolist() == [8] * 2
    card = json.loads(said["card"][1])
    assert said["threshold"].tolist() == pytest.approx([card["threshold"]] * 2)
    assert said["model_digest"].tolist() == [card["model_digest"].encode()] * 2


@pytest.mark.parametrize("head", ["pooled", "flat"])
def test_an_embedding_is_the_mean_over_the_recordings_windows(head, request):
    served = request.getfixturevalue(head)
    audio = [recording(seed, seconds) for seed, seconds in ((1, 0.7), (2, 3.0), (3, 9.0))]
    answer = ask(served, "embed", audio=audio)
    windows = Recordings(FRONT_END).extract_windows(tf.constant(audio)).windows
    assert windows.row_lengths().numpy().tolist() == [2, 5, 8]
    for row, embedding in zip(windows, answer["embedding"], strict=True):
        mean = served.model.embed_windows(row).numpy().mean(axis=0)
        if head == "pooled":
            mean /= np.linalg.norm(mean)
        np.testing.assert_allclose(embedding, mean, atol=1e-5)
    np.testing.assert_allclose(answer["speech_seconds"], [0.7, 3.0, 9.0], atol=1e-3)
    assert set(answer["status"]) == {b"ok"}


def test_a_decision_on_recordings_is_the_one_on_their_embeddings(pooled):
    a, b = [recording(1), recording(2), recording(3)], [recording(1), recording(5), recording(6)]
    verified = ask(pooled, "serving_default", audio_a=a, audio_b=b)
    embedding_a, embedding_b = (ask(pooled, "embed", audio=side)["embedding"] for side in (a, b))
    scores = ask(pooled, "score_embeddings", embedding_a=embedding_a, embedding_b=embedding_b)
    distance = np.linalg.norm(embedding_a.astype(np.float64) - embedding_b, axis=1)
    assert distance[1:].min() > 1e-3
    probability = 1.0 / (1.0 + np.exp(-CALIBRATION.slope * (CALIBRATION.threshold - distance)))
    for answer in (verified, scores):
        np.testing.assert_allclose(answer["distance"][1:], distance[1:], atol=1e-5)
        # The same recording twice: the loss's floor under the distance.
        np.testing.assert_allclose(answer["distance"][0], 1e-7**0.5, atol=1e-4)
        np.testing.assert_allclose(answer["probability"][1:], probability[1:], atol=1e-3)
        np.testing.assert_array_equal(answer["same_speaker"], answer["probability"] >= 0.5)
    assert verified["same_speaker"][0]


def test_a_cohort_normalises_every_score(normalised, normalisation):
    a, b = [recording(1), recording(2)], [recording(5), b"no recording"]
    embedding = ask(normalised, "embed", audio=[*a, *b])["embedding"]
    verified = ask(normalised, "serving_default", audio_a=a, audio_b=b)
    scores = ask(
        normalised, "score_embeddings", embedding_a=embedding[:2], embedding_b=embedding[2:]
    )
    expected = distances(embedding, [0], [2], normalisation).numpy()[0]
    assert abs(expected - np.linalg.norm(embedding[0] - embedding[2])) > 1e-3
    for answer in (verified, scores):
        np.testing.assert_allclose(answer["distance"], [expected, np.nan], atol=1e-5)
        assert np.isnan(answer["probability"]).tolist() == [False, True]
    probability = 1.0 / (1.0 + np.exp(-CALIBRATION.slope * (CALIBRATION.threshold - expected)))
    np.testing.assert_allclose(verified["probability"][0], probability, atol=1e-4)


def test_what_is_bad_has_a_status_and_leaves_its_neighbours_alone(pooled):
    good, other = [recording(1), recording(2, 1.0)], [recording(3), recording(4)]
    alone = ask(pooled, "serving_default", audio_a=good, audio_b=other)
    bad = list(BAD)
    mixed = ask(
        pooled,
        "serving_default",
        audio_a=[*bad, good[0], *bad, good[1], good[0]],
        audio_b=[*bad, other[0], *[other[0]] * len(bad), other[1], bad[0]],
    )
    places = [len(bad), 2 * len(bad) + 1]
    for score in ("distance", "probability"):
        np.testing.assert_allclose(mixed[score][places], alone[score], atol=1e-5)
        assert np.isnan(np.delete(mixed[score], places)).all()
    assert not np.delete(mixed["same_speaker"], places).any()
    assert mixed["status_a"].tolist() == [*BAD.values(), b"ok", *BAD.values(), b"ok", b"ok"]
    assert mixed["status_b"].tolist() == [
        *BAD.values(), b"ok", *[b"ok"] * len(bad), b"ok", b"not_wav",
    ]  # fmt: skip


def test_many_recordings_are_more_than_one_call_of_the_tower(pooled):
    audio = [recording(seed) for seed in range(16)]
    together = ask(pooled, "embed", audio=audio)["embedding"]
    windows = len(Recordings(FRONT_END).extract_windows(tf.constant(audio)).windows.values)
    assert WINDOWS_AT_ONCE < windows < 2 * WINDOWS_AT_ONCE
    alone = [ask(pooled, "embed", audio=[item])["embedding"][0] for item in audio[::5]]
    np.testing.assert_allclose(together[::5], alone, atol=1e-5)


@pytest.mark.parametrize(
    ("signature", "inputs"),
    [
        ("serving_default", {"audio_a": [b""] * 3, "audio_b": [b""]}),
        ("serving_default", {"audio_a": [b""] * 2, "audio_b": [b""] * 4}),
        (
            "score_embeddings",
            {"embedding_a": np.ones([1, 8], "f"), "embedding_b": np.ones([3, 8], "f")},
        ),
    ],
)
def test_sides_of_unequal_length_are_an_error(pooled, signature, inputs):
    with pytest.raises(tf.errors.InvalidArgumentError, match="not the same length"):
        ask(pooled, signature, **inputs)


def test_empty_batches_have_empty_answers(pooled):
    nothing = tf.zeros([0], tf.string)
    verified = ask(pooled, "serving_default", audio_a=nothing, audio_b=nothing)
    assert {len(value) for value in verified.values()} == {0}
    assert ask(pooled, "embed", audio=nothing)["embedding"].shape == (0, 8)


def test_embeddings_that_are_no_numbers_are_nobody(pooled):
    rows = np.zeros([3, 8], np.float32)
    rows[0, 3], rows[1, 0] = np.nan, np.inf
    scores = ask(pooled, "score_embeddings", embedding_a=rows, embedding_b=rows)
    np.testing.assert_array_equal(np.isnan(scores["distance"]), [True, True, False])
    np.testing.assert_array_equal(np.isnan(scores["probability"]), [True, True, False])
    np.testing.assert_array_equal(scores["same_speaker"], [False, False, True])


def test_the_graph_holds_only_operations_of_tensorflow(normalised):
    saved = saved_model_pb2.SavedModel.FromString(
        (normalised.folder / "saved_model.pb").read_bytes()
    )
    (meta_graph,) = saved.meta_graphs
    library = meta_graph.graph_def.library.function
    nodes = [*meta_graph.graph_def.node, *(node for item in library for node in item.node_def)]
    used = {node.op for node in nodes} - {item.signature.name for item in library}
    assert {"Conv2D", "RFFT", "StringLength", "TopKV2"} <= used
    assert not used & {"PyFunc", "PyFuncStateless", "EagerPyFunc"}
    assert [op for op in used if not hasattr(tf.raw_ops, op)] == []
    # One tower and one front end (its high-pass and its mel bands), whatever signatures there are.
    assert len([node for node in nodes if node.op == "Conv2D"]) == 12
    assert len([node for node in nodes if node.op == "RFFT"]) == 2


def test_the_warm_up_reaches_the_tower_by_every_signature(pooled):
    path = str(pooled.folder / WARMUP_REQUESTS)
    requests = {}
    for record in tf.data.TFRecordDataset(path).as_numpy_iterator():
        request = prediction_log_pb2.PredictionLog.FromString(record).predict_log.request
        inputs = {name: tf.make_ndarray(value) for name, value in request.inputs.items()}
        requests[request.model_spec.signature_name] = ask(
            pooled, request.model_spec.signature_name, **inputs
        )
    assert set(requests) == set(pooled.model.signatures)
    assert requests["embed"]["status"] == [b"ok"]
    assert np.isfinite(requests["serving_default"]["distance"]).all()


def test_the_card_tells_a_client_all_it_needs(pooled, flat):
    card = json.loads((pooled.folder / MODEL_CARD).read_text())
    assert card["made"] == "here"
    assert card["serving"] == FRONT_END.serving.model_dump()
    assert card["spectrogram"] == FRONT_END.spectrogram.model_dump()
    assert (card["sample_rate"], card["embedding_size"]) == (RATE, 8)
    assert (card["threshold"], card["slope"]) == (CALIBRATION.threshold, CALIBRATION.slope)
    answer = ask(pooled, "embed", audio=[recording(1), b""])
    assert answer["model_digest"].tolist() == [card["model_digest"].encode()] * 2
    assert (
        card["model_digest"] != json.loads((flat.folder / MODEL_CARD).read_text())["model_digest"]
    )


def test_a_digest_stands_for_weights_and_card():
    tower = small_tower("pooled")
    first = model_digest(tower, {"data_digest": "d"})
    assert model_digest(tower, {"data_digest": "d"}) == first
    assert model_digest(tower, {"data_digest": "e"}) != first
    tower.weights[0].assign_add(tf.ones_like(tower.weights[0]))
    assert model_digest(tower, {"data_digest": "d"}) != first


def test_the_same_model_has_the_same_warm_up(tmp_path, pooled):
    again = exported(tmp_path, "pooled").folder / WARMUP_REQUESTS
    assert again.read_bytes() == (pooled.folder / WARMUP_REQUESTS).read_bytes()


GOOD = recording(1, 1.0)


@settings(
    max_examples=60, deadline=5_000, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    cuts=st.lists(st.tuples(st.integers(0, 60), st.integers(0, 9), st.binary(max_size=9))),
    end=st.integers(0, len(GOOD) + 9),
)
def test_mutated_recordings_have_a_status_and_good_neighbours(pooled, cuts, end):
    audio = GOOD
    for start, removed, inserted in cuts:
        audio = audio[:start] + inserted + audio[start + removed :]
    answer = ask(pooled, "embed", audio=[GOOD, audio[:end], GOOD])
    statuses = [status.decode() for status in answer["status"]]
    assert statuses[0] == statuses[2] == "ok"
    assert statuses[1] in STATUSES
    assert np.isfinite(answer["embedding"]).all(axis=1).tolist() == [
        True, statuses[1] == "ok", True,
    ]  # fmt: skip
    np.testing.assert_allclose(answer["embedding"][0], answer["embedding"][2], atol=1e-6)
