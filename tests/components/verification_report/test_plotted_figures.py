"""The numbers behind the plots and the hardest pairs, from the raw scores and embeddings."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm
from sklearn.calibration import calibration_curve
from sklearn.manifold import TSNE

from tests.components.verification_report.support_oracle import (
    CLOSE,
    assert_same,
    detail,
    has_both,
    interval,
    resampled,
    roc,
    table,
    utterances,
)
from tests.components.verification_report.support_report import SEEN, THRESHOLD, UNSEEN

SETS = ["eval", "unseen"]


def _bands(drawn):
    """The interval at each place of curves, NaN where a curve has no value."""
    return np.transpose([interval(at) for at in np.transpose(drawn)])


@pytest.mark.parametrize("name", SETS)
def test_curves_follow_from_the_scores(either, scores, name):
    rows = detail(scores, either, name)
    probits = np.linspace(norm.ppf(0.001), norm.ppf(0.999), 101)
    grid = np.array([0.0, *norm.cdf(probits), 1.0])
    drawn = [
        1.0 - np.interp(grid, *roc(each)) if has_both(each) else np.full(len(grid), np.nan)
        for each in resampled(rows, either)
    ]
    low, high = _bands(drawn)
    near = rows["distance"] <= THRESHOLD
    expected = {
        "false_accept": grid.tolist(),
        "false_reject": (1.0 - np.interp(grid, *roc(rows))).tolist(),
        "low": low.tolist(),
        "high": high.tolist(),
        "operating_point": {
            "false_accept": float(near[rows["label"] == 0].mean()),
            "false_reject": float(1.0 - near[rows["label"] == 1].mean()),
        },
    }
    assert_same(either.figures["curves"][name], expected)


@pytest.mark.parametrize("name", SETS)
def test_histograms_count_every_trial(either, scores, name):
    rows, bins = detail(scores, either, name), either.figures["histograms"][name]
    highest = max(detail(scores, either, each)["distance"].max() for each in SETS)
    assert bins["edges"] == pytest.approx(np.linspace(0.0, float(highest), 49), **CLOSE)
    for kind, label in (("similar", 1), ("dissimilar", 0)):
        distance = rows["distance"][rows["label"] == label].to_numpy().astype(np.float64)
        expected, _ = np.histogram(distance, bins=bins["edges"])
        assert bins[kind] == expected.tolist()
        assert sum(bins[kind]) == len(distance)


def _balanced(rows):
    """Whole copies of each class in equal numbers: calibration_curve takes no weights."""
    counts = rows["label"].value_counts()
    return pd.concat(
        [rows[rows["label"] == label] for label in (0, 1) for _ in range(counts[1 - label])]
    )


def _same_by_bin(rows, edges):
    """In each bin the share of one person's trials, both classes weighing the same."""
    if not has_both(rows):
        return [np.nan] * (len(edges) - 1)
    shares = [
        np.histogram(rows["probability"][rows["label"] == label], edges)[0]
        / np.sum(rows["label"] == label)
        for label in (0, 1)
    ]
    with np.errstate(invalid="ignore"):
        return shares[1] / (shares[0] + shares[1])


@pytest.mark.parametrize("name", SETS)
def test_the_reliability_is_scikit_learns_for_balanced_classes(either, scores, name):
    rows, edges = detail(scores, either, name), np.linspace(0.0, 1.0, 11)
    both = _balanced(rows)
    same, probability = calibration_curve(
        both["label"], both["probability"].astype(np.float64), n_bins=10
    )
    trials, _ = np.histogram(rows["probability"], edges)
    low, high = _bands([_same_by_bin(each, edges) for each in resampled(rows, either)])
    filled = trials > 0
    columns = {
        "low_edge": edges[:-1][filled],
        "high_edge": edges[1:][filled],
        "trials": trials[filled],
        "probability": probability,
        "same": same,
        "low": low[filled],
        "high": high[filled],
    }
    expected = [
        dict(zip(columns, row, strict=True))
        for row in zip(*(column.tolist() for column in columns.values()), strict=True)
    ]
    assert_same(either.figures["reliability"][name], expected)


@pytest.mark.parametrize("name", SETS)
def test_cells_of_the_heatmap_are_means_of_the_scores(either, scores, name):
    rows, figures = detail(scores, either, name), either.figures
    number = {row["speaker"]: row["number"] for row in figures["data"]["by_speaker"]}
    names = sorted({*rows["speaker_a"], *rows["speaker_b"]}, key=lambda each: number[each])
    cells = []
    for one in names:
        both = [
            rows[
                ((rows["speaker_a"] == one) & (rows["speaker_b"] == other))
                | ((rows["speaker_a"] == other) & (rows["speaker_b"] == one))
            ]
            for other in names
        ]
        cells.append([float(each["distance"].astype(np.float64).mean()) for each in both])
    expected = {
        "numbers": [number[each] for each in names],
        "mean_distance": cells,
        "speakers": len(names),
    }
    assert_same(figures["speaker_distances"][name], expected)


def test_the_heatmaps_are_of_those_who_were_judged(made):
    speaker = {row["number"]: row["speaker"] for row in made.figures["data"]["by_speaker"]}
    for name, people in (("eval", SEEN), ("unseen", UNSEEN)):
        numbers = made.figures["speaker_distances"][name]["numbers"]
        assert {speaker[number] for number in numbers} == set(people)


def test_the_map_is_that_of_its_embeddings(either):
    places, points = table(either, "embeddings.parquet"), either.figures["map"]
    embeddings = np.stack(places["embedding"]).astype(np.float32)
    perplexity = min(30.0, (len(places) - 1) / 3.0)
    tsne = TSNE(
        method="exact", init="pca", perplexity=perplexity, random_state=either.settings.seed
    )
    expected = tsne.fit_transform(embeddings)
    assert [[point["x"], point["y"]] for point in points] == pytest.approx(
        expected, rel=1e-3, abs=1e-2
    )
    number = {row["speaker"]: row["number"] for row in either.figures["data"]["by_speaker"]}
    facts = places[["set", "gender", "utterance"]].assign(number=places["speaker"].map(number))
    shown = [{name: point[name] for name in facts} for point in points]
    assert shown == facts.to_dict("records")


def test_the_map_shows_as_many_utterances_of_everybody(either, scores):
    seconds = either.figures["headline"]["duration_seconds"]
    heard = utterances(scores[scores["duration_seconds"] == seconds])
    heard = heard.sort_values(["set", "speaker", "recording", "start_seconds"])
    most = either.settings.map_utterances
    first = heard.groupby("speaker").head(most // heard["speaker"].nunique())
    assert [point["utterance"] for point in either.figures["map"]] == first["utterance"].tolist()


def test_a_map_has_its_bound(made, troubled):
    assert len(made.figures["map"]) == 48
    assert len(troubled.figures["map"]) == 3 * 9


@pytest.mark.parametrize("name", SETS)
def test_the_distances_on_record_are_those_of_the_embeddings(made, name):
    scores, places = table(made, "scores.parquet"), table(made, "embeddings.parquet")
    embedding = places.set_index(["set", "utterance"])["embedding"]
    rows = detail(scores, made, name)
    one, other = (
        np.stack([embedding[name, each] for each in rows[f"utterance_{side}"]]) for side in "ab"
    )
    np.testing.assert_allclose(np.linalg.norm(one - other, axis=1), rows["distance"], rtol=1e-5)


@pytest.mark.parametrize(("kind", "label"), [("dissimilar", 0), ("similar", 1)])
def test_the_worst_pairs_are_the_extremes(either, scores, kind, label):
    rows = detail(scores, either, "unseen")
    own = rows[rows["label"] == label].sort_values("distance", ascending=label == 0)
    two = ["|".join(sorted(pair)) for pair in zip(own["speaker_a"], own["speaker_b"], strict=True)]
    first = own.assign(two=two).drop_duplicates("two").head(either.settings.worst_pairs)
    facts = ("speaker", "gender", "recording", "start_seconds", "utterance")
    columns = [f"{name}_{side}" for name in facts for side in "ab"]
    columns += ["distance", "probability", "same_speaker"]
    assert_same(either.figures["worst"][kind], first[columns].to_dict("records"))
    assert len(first) == either.settings.worst_pairs
