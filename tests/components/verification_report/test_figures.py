"""Every number of the report once more, from the raw scores, with scikit-learn and NumPy."""

import io
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.optimize import brentq
from sklearn.calibration import calibration_curve
from sklearn.manifold import TSNE
from sklearn.metrics import f1_score, log_loss, precision_score, recall_score, roc_auc_score
from sklearn.metrics import roc_curve as sklearn_roc

from tests.components.verification_report.support_report import (
    CARD,
    RATE,
    REJECTS,
    SEEN,
    SPLIT_SECONDS,
    THRESHOLD,
    UNSEEN,
)

CLOSE: dict[str, Any] = {"rel": 1e-6, "abs": 1e-9}


def _table(made, name):
    return pd.read_parquet(io.BytesIO(made.files[name]))


@pytest.fixture(scope="module")
def scores(made):
    return _table(made, "scores.parquet")


def _of(scores, part):
    rows = scores[
        (scores["set"] == part["set"]) & (scores["duration_seconds"] == part["duration_seconds"])
    ]
    return rows if part["sliced_by"] == "all" else rows[rows[part["sliced_by"]] == part["value"]]


def _detail(scores, made, name):
    seconds = made.figures["headline"]["duration_seconds"]
    return scores[(scores["set"] == name) & (scores["duration_seconds"] == seconds)]


def _roc(label, distance, weight=None):
    return sklearn_roc(label, -distance, sample_weight=weight, drop_intermediate=False)[:2]


def _eer(label, distance, weight=None):
    false_accept, recall = _roc(label, distance, weight)
    return brentq(lambda x: 1.0 - x - np.interp(x, false_accept, recall), 0.0, 1.0)


def _recomputed(rows):
    """By name; a class's balanced weight makes precision that at equal numbers."""
    label, distance = rows["label"].to_numpy(), rows["distance"].to_numpy()
    probability = rows["probability"].to_numpy().astype(np.float64)
    said = rows["same_speaker"].to_numpy()
    weight = np.where(label == 1, 1.0 / np.sum(label == 1), 1.0 / np.sum(label == 0))
    false_accept, recall = _roc(label, distance)
    costs = {p: np.min(p * (1.0 - recall) + (1.0 - p) * false_accept) / p for p in (0.01, 0.05)}
    return {
        "eer": _eer(label, distance),
        "auc": roc_auc_score(label, -distance),
        "min_dcf_0.01": costs[0.01],
        "min_dcf_0.05": costs[0.05],
        "cllr": log_loss(label, probability, sample_weight=weight) / np.log(2.0),
        "balanced_precision": precision_score(label, said, sample_weight=weight, zero_division=0),
        "recall": recall_score(label, said),
        "f1": f1_score(label, said, sample_weight=weight),
        "false_accept_rate": said[label == 0].mean(),
        "false_reject_rate": 1.0 - said[label == 1].mean(),
        "mean_similar_distance": distance[label == 1].astype(np.float64).mean(),
        "mean_dissimilar_distance": distance[label == 0].astype(np.float64).mean(),
    }


def test_every_slice_is_that_of_its_scores(made, scores):
    slices = made.figures["slices"]
    kinds = {(part["set"], part["sliced_by"], part["value"]) for part in slices}
    assert {("eval", "all", "all"), ("unseen", "all", "all")} <= kinds
    assert ("unseen", "gender_pair", "mixed") in kinds
    for part in slices:
        rows = _of(scores, part)
        assert part["similar"] == (rows["label"] == 1).sum()
        assert part["dissimilar"] == (rows["label"] == 0).sum()
        assert part["speakers"] == len({*rows["speaker_a"], *rows["speaker_b"]})
        if rows["label"].nunique() == 2:
            told = {name: figure["value"] for name, figure in part["figures"].items()}
            assert told == pytest.approx(_recomputed(rows), **CLOSE)
        else:
            assert part["figures"]["eer"] == {"value": None, "low": None, "high": None}


def _resampled(rows, made):
    """Rows of each resample of the speakers, repeated as often as they are drawn."""
    names = list(dict.fromkeys([*rows["speaker_a"], *rows["speaker_b"]]))
    rng = np.random.default_rng(made.settings.seed)
    drawn = rng.multinomial(len(names), [1.0 / len(names)] * len(names), made.settings.resamples)
    for times in drawn:
        of = dict(zip(names, times, strict=True))
        weight = rows["speaker_a"].map(of) * np.where(
            rows["label"] == 1, 1, rows["speaker_b"].map(of)
        )
        yield rows.loc[rows.index.repeat(weight)]


def test_intervals_are_those_of_resampled_speakers(made, scores):
    head = made.figures["headline"]
    rows = _of(scores, head)
    found = [
        [_eer(r["label"], r["distance"]), r["same_speaker"][r["label"] == 0].mean()]
        for r in _resampled(rows, made)
        if r["label"].nunique() == 2
    ]
    low, high = np.quantile(found, [0.025, 0.975], axis=0)
    for place, name in enumerate(("eer", "false_accept_rate")):
        figure = head["figures"][name]
        assert (figure["low"], figure["high"]) == pytest.approx((low[place], high[place]), **CLOSE)


def test_the_headline_is_of_unseen_people_at_the_asked_duration(made):
    head = made.figures["headline"]
    assert (head["set"], head["duration_seconds"]) == ("unseen", 1.0)
    assert head["speakers"] == len(UNSEEN)
    (part,) = [
        part
        for part in made.figures["slices"]
        if (part["set"], part["duration_seconds"], part["sliced_by"]) == ("unseen", 1.0, "all")
    ]
    assert head["figures"] == part["figures"]
    for name, count in head["of_100"].items():
        assert count == round(100.0 * head["figures"][name]["value"])


@pytest.mark.parametrize("name", ["eval", "unseen"])
def test_curves_follow_from_the_scores(made, scores, name):
    rows, curve = _detail(scores, made, name), made.figures["curves"][name]
    false_accept, recall = _roc(rows["label"], rows["distance"])
    grid = np.array(curve["false_accept"])
    assert (grid[0], grid[-1], len(grid)) == (0.0, 1.0, 103)
    assert np.all(np.diff(grid) > 0.0)
    expected = 1.0 - np.interp(grid, false_accept, recall)
    assert curve["false_reject"] == pytest.approx(expected, **CLOSE)
    at = curve["operating_point"]
    near = rows["distance"] <= THRESHOLD
    assert at["false_accept"] == pytest.approx(near[rows["label"] == 0].mean())
    assert at["false_reject"] == pytest.approx(1.0 - near[rows["label"] == 1].mean())


def test_the_band_of_a_curve_is_that_of_resampled_speakers(made, scores):
    rows, curve = _detail(scores, made, "unseen"), made.figures["curves"]["unseen"]
    grid = np.array(curve["false_accept"])
    drawn = [
        1.0 - np.interp(grid, *_roc(r["label"], r["distance"]))
        for r in _resampled(rows, made)
        if r["label"].nunique() == 2
    ]
    low, high = np.quantile(drawn, [0.025, 0.975], axis=0)
    assert curve["low"] == pytest.approx(low, **CLOSE)
    assert curve["high"] == pytest.approx(high, **CLOSE)


@pytest.mark.parametrize("name", ["eval", "unseen"])
def test_histograms_count_every_trial(made, scores, name):
    rows, bins = _detail(scores, made, name), made.figures["histograms"][name]
    for kind, label in (("similar", 1), ("dissimilar", 0)):
        distance = rows["distance"][rows["label"] == label].to_numpy().astype(np.float64)
        expected, _ = np.histogram(distance, bins=bins["edges"])
        assert bins[kind] == expected.tolist()
        assert sum(bins[kind]) == len(distance)


@pytest.mark.parametrize("name", ["eval", "unseen"])
def test_the_reliability_is_scikit_learns_for_balanced_classes(made, scores, name):
    rows, bins = _detail(scores, made, name), made.figures["reliability"][name]
    counts = rows["label"].value_counts()
    # Whole copies of each class in equal numbers: calibration_curve takes no weights.
    both = pd.concat(
        [rows[rows["label"] == label] for label in (0, 1) for _ in range(counts[1 - label])]
    )
    same, probability = calibration_curve(
        both["label"], both["probability"].astype(np.float64), n_bins=10
    )
    assert [row["same"] for row in bins] == pytest.approx(same, **CLOSE)
    assert [row["probability"] for row in bins] == pytest.approx(probability, **CLOSE)
    assert sum(row["trials"] for row in bins) == len(rows)


@pytest.mark.parametrize("name", ["eval", "unseen"])
def test_cells_of_the_heatmap_are_means_of_the_scores(made, scores, name):
    rows, told = _detail(scores, made, name), made.figures["speaker_distances"][name]
    speaker = {row["number"]: row["speaker"] for row in made.figures["data"]["by_speaker"]}
    names = [speaker[number] for number in told["numbers"]]
    assert set(names) == set(UNSEEN if name == "unseen" else SEEN)
    for i, one in enumerate(names):
        for j, other in enumerate(names):
            either = (rows["speaker_a"] == one) & (rows["speaker_b"] == other)
            either |= (rows["speaker_a"] == other) & (rows["speaker_b"] == one)
            mean = rows["distance"][either].astype(np.float64).mean()
            assert told["mean_distance"][i][j] == pytest.approx(mean, **CLOSE)


def test_the_map_is_that_of_its_embeddings(made):
    table, points = _table(made, "embeddings.parquet"), made.figures["map"]
    embeddings = np.stack(table["embedding"]).astype(np.float32)
    perplexity = min(30.0, (len(table) - 1) / 3.0)
    tsne = TSNE(method="exact", init="pca", perplexity=perplexity, random_state=0)
    places = tsne.fit_transform(embeddings)
    assert [[point["x"], point["y"]] for point in points] == pytest.approx(
        places, rel=1e-3, abs=1e-2
    )
    assert [point["utterance"] for point in points] == table["utterance"].tolist()
    number = {row["speaker"]: row["number"] for row in made.figures["data"]["by_speaker"]}
    assert [point["number"] for point in points] == table["speaker"].map(number).tolist()


def test_the_distances_on_record_are_those_of_the_embeddings(made, scores):
    table = _table(made, "embeddings.parquet").set_index(["set", "utterance"])["embedding"]
    rows = _detail(scores, made, "unseen")
    one, other = (
        np.stack([table["unseen", name] for name in rows[f"utterance_{side}"]]) for side in "ab"
    )
    np.testing.assert_allclose(np.linalg.norm(one - other, axis=1), rows["distance"], rtol=1e-5)


def test_the_worst_pairs_are_the_extremes(made, scores):
    rows, worst = _detail(scores, made, "unseen"), made.figures["worst"]
    for kind, label, ascending in (("dissimilar", 0, True), ("similar", 1, False)):
        own = rows[rows["label"] == label].sort_values("distance", ascending=ascending)
        own = own.assign(
            two=["|".join(sorted(p)) for p in zip(own["speaker_a"], own["speaker_b"], strict=True)]
        )
        expected = own.drop_duplicates("two").head(made.settings.worst_pairs)
        assert [pair["distance"] for pair in worst[kind]] == expected["distance"].tolist()
        assert [pair["recording_a"] for pair in worst[kind]] == expected["recording_a"].tolist()
        assert [pair["same_speaker"] for pair in worst[kind]] == expected["same_speaker"].tolist()


def test_selections_count_the_scores(made, scores):
    for part in made.figures["selections"]:
        rows = scores[
            (scores["set"] == part["set"])
            & (scores["duration_seconds"] == part["duration_seconds"])
        ]
        assert part["similar"] == (rows["label"] == 1).sum()
        assert part["dissimilar"] == (rows["label"] == 0).sum()
        within = (rows["label"] == 1) & (rows["recording_a"] == rows["recording_b"])
        assert part["similar_within_recording"] == within.sum()


def test_the_data_card_counts_the_speech(made):
    data = made.figures["data"]
    assert data["speakers"] == len(SEEN) + len(UNSEEN)
    assert data["recordings"] == len(SEEN) + 2 * len(UNSEEN)
    minutes = {split: len(SEEN) * seconds / 60.0 for split, seconds in SPLIT_SECONDS.items()}
    minutes["unseen"] = len(UNSEEN) * 2 * 5 / 60.0
    assert {part["split"]: part["minutes"] for part in data["splits"]} == pytest.approx(minutes)
    assert data["minutes"] == pytest.approx(sum(minutes.values()))
    assert sum(piece.samples for piece in made.pieces) / RATE / 60.0 == pytest.approx(
        data["minutes"]
    )
    told = {row["speaker"]: (row["gender"], row["role"]) for row in data["by_speaker"]}
    assert told == {name: (gender, "trained on") for name, gender in SEEN.items()} | {
        name: (gender, "unseen") for name, gender in UNSEEN.items()
    }
    assert data["rejected"] == len(REJECTS)
    assert data["rejects"] == REJECTS


def test_the_article_stands_beside_the_model(made):
    columns = made.figures["comparison"]
    assert columns["article_train"]["ratio"] == pytest.approx(4.7 / 1.4)
    assert (columns["article_test"]["similar"], columns["article_test"]["dissimilar"]) == (1.8, 4.4)
    kept = CARD["history"][1]
    assert columns["train"]["similar"] == kept["train_mean_similar_distance"]
    for part in made.figures["slices"]:
        if (
            part["sliced_by"] == "all"
            and part["duration_seconds"] == made.figures["compared_seconds"]
        ):
            assert columns[part["set"]]["recall"] == part["figures"]["recall"]["value"]
            assert columns[part["set"]]["eer"] == part["figures"]["eer"]["value"]


def test_promises_stand_beside_what_was_measured(made):
    for row in made.figures["promises"]:
        # Of the two lengths that the card tells of, the one nearer to what is judged.
        assert row["promised"] == CARD["calibration"]["by_length"][1][row["figure"]]
        measured = made.figures["headline"]["figures"][row["figure"]]
        assert row["measured"] == measured
        is_below, is_above = row["promised"] < measured["low"], row["promised"] > measured["high"]
        assert row["kept"] == ("worse" if is_below else "better" if is_above else "kept")
