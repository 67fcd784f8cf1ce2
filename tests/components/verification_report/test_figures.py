"""Every number of the report once more, from the raw scores, with scikit-learn and NumPy.

What is plotted is in `test_plotted_figures.py`, what does not follow from scores in
`test_data_figures.py`.
"""

import numpy as np
from sklearn.metrics import f1_score, log_loss, precision_score, recall_score, roc_auc_score

from components import features
from tests.components.verification_report.support_oracle import (
    ENOUGH,
    assert_same,
    has_both,
    measured,
    part_of,
    rate_interval,
    resampled,
    utterances,
)
from tests.components.verification_report.support_report import UNSEEN


def test_no_part_is_without_a_test(either):
    of_scores = {"headline", "slices", "promises", "compared_seconds", "comparison", "selections"}
    of_scores |= {"identification", "open_set", "conditions", "nonspeech"}
    of_scores |= {"operating_points", "highlights"}
    plotted = {"curves", "histograms", "reliability", "speaker_distances", "map", "worst"}
    of_data = {"data", "checks", "genders_not_judged", "unusable", "trained_speakers", "attacks"}
    on_record = {"blessed", "model", "history", "calibration", "settings", "sets", "calibrated_on"}
    assert set(either.figures) == of_scores | plotted | of_data | on_record


def test_the_sets_are_the_held_out_splits_the_more_telling_first(either):
    actual = [(each["set"], each["title"], each["trained_on"]) for each in either.figures["sets"]]
    assert actual == [
        ("unseen", "unseen people", False),
        ("eval", "people it trained on", True),
    ]


def _slices(scores):
    """What tells each slice from the others, in order."""
    for (name, seconds), rows in scores.groupby(["set", "duration_seconds"]):
        pairs = [
            (column, value)
            for column in ("gender_pair", "channel_pair")
            for value in sorted(set(rows[column]))
        ]
        known = ("within_recording", "within_session", "across_sessions", "session_unknown")
        relations = [("relation", value) for value in known if value in set(rows["relation"])]
        by_language = rows.groupby("column_language")["label"]
        languages = [value for value, labels in by_language if labels.nunique() == 2]
        if languages == ["unknown"]:  # of all of them
            languages = []
        elif "mixed" in set(rows["column_language"]):
            languages.append("mixed")
        columns = [("column_language", value) for value in languages]
        for sliced_by, value in [("all", "all"), *pairs, *relations, *columns]:
            yield {
                "set": name, "duration_seconds": seconds, "sliced_by": sliced_by, "value": value,
            }  # fmt: skip


def _expected(rows, report):
    """A slice's figures, with their intervals."""
    drawn = [measured(each) for each in resampled(rows, report)]
    values = measured(rows)
    bounds = {
        name: rate_interval(name, rows, value, [each[name] for each in drawn])
        for name, value in values.items()
    }
    return {
        name: dict(zip(("value", "low", "high"), [value, *bounds[name]], strict=True))
        for name, value in values.items()
    }


def test_every_slice_is_that_of_its_scores(either, scores):
    expected = []
    for each in _slices(scores):
        rows = part_of(scores, each)
        counts = {
            "similar": int((rows["label"] == 1).sum()),
            "dissimilar": int((rows["label"] == 0).sum()),
            "speakers": len({*rows["speaker_a"], *rows["speaker_b"]}),
        }
        expected.append({**each, **counts, "figures": _expected(rows, either)})
    assert_same(either.figures["slices"], expected)


def test_sessions_and_languages_are_those_of_the_data(made):
    of = {(part["set"], part["sliced_by"], part["value"]) for part in made.figures["slices"]}
    assert ("unseen", "relation", "across_sessions") in of
    assert {value for name, by, value in of if by == "column_language"} == {"ne", "en", "mixed"}
    assert {name for name, by, _ in of if by == "column_language"} == {"unseen"}


def test_women_alone_have_an_interval_where_there_are_enough(troubled):
    (women,) = [
        part
        for part in troubled.figures["slices"]
        if (part["set"], part["duration_seconds"], part["value"]) == ("unseen", 1.0, "female")
    ]
    assert women["figures"]["eer"]["low"] < women["figures"]["eer"]["high"]


def test_values_are_scikit_learns(either, scores):
    """A class's balanced weight makes precision that at equal numbers."""
    compared = 0
    for part in either.figures["slices"]:
        rows = part_of(scores, part)
        if not has_both(rows):
            continue
        label, said = rows["label"].to_numpy(), rows["same_speaker"].to_numpy()
        weight = np.where(label == 1, 1.0 / np.sum(label == 1), 1.0 / np.sum(label == 0))
        probability = rows["probability"].to_numpy().astype(np.float64)
        expected = {
            "auc": roc_auc_score(label, -rows["distance"]),
            "cllr": log_loss(label, probability, sample_weight=weight) / np.log(2.0),
            "balanced_precision": precision_score(
                label, said, sample_weight=weight, zero_division=np.nan
            ),
            "recall": recall_score(label, said),
            "f1": f1_score(label, said, sample_weight=weight),
        }
        actual = {name: part["figures"][name]["value"] for name in expected}
        assert_same(actual, {name: float(value) for name, value in expected.items()})
        compared += 1
    assert compared > 4


def test_the_headline_is_of_unseen_people_at_the_asked_duration(made):
    head = made.figures["headline"]
    assert (head["set"], head["duration_seconds"]) == ("unseen", 1.0)
    assert head["speakers"] == len(UNSEEN)


def test_the_headline_is_a_slice_in_words(either, scores):
    figures = either.figures
    head, rows = figures["headline"], part_of(scores, figures["headline"])
    (part,) = [
        part
        for part in figures["slices"]
        if part["set"] == head["set"]
        and part["duration_seconds"] == head["duration_seconds"]
        and part["sliced_by"] == "all"
    ]
    within = (rows["label"] == 1) & (rows["recording_a"] == rows["recording_b"])
    rates = {name: measured(rows)[name] for name in ("false_accept_rate", "false_reject_rate")}
    wrong = {name: round(100.0 * rate) for name, rate in rates.items()}
    extra = {"of_100": wrong, "similar_within_recording": int(within.sum())}
    assert head == part | extra


def _nearest_promise(report, kind="nontargets"):
    """What the card promises of utterances nearly as long as those judged."""
    seconds = report.figures["headline"]["duration_seconds"]
    promised = report.card["calibration"][kind]
    return min(promised, key=lambda row: abs(row["seconds"] - seconds))


def test_the_nearest_promise_is_looked_at(made, troubled):
    assert _nearest_promise(made) == made.card["calibration"]["nontargets"][1]
    assert _nearest_promise(troubled) == troubled.card["calibration"]["nontargets"][0]


def test_promises_stand_beside_what_was_measured(either, scores):
    found = _expected(part_of(scores, either.figures["headline"]), either)
    expected = []
    for name in ("eer", "cllr", "false_accept_rate", "false_reject_rate"):
        promised, row = _nearest_promise(either)[name], found[name]
        actual = promised["value"]
        kept = "worse" if actual < row["low"] else "better" if actual > row["high"] else "kept"
        expected.append({"figure": name, "promised": promised, "measured": row, "kept": kept})
    assert_same(either.figures["promises"], expected)


def test_a_promise_can_be_kept_broken_and_exceeded(made, troubled):
    kept = {row["kept"] for report in (made, troubled) for row in report.figures["promises"]}
    assert kept == {"kept", "worse", "better"}


def test_the_calibration_is_that_of_the_promise(either):
    nearest = _nearest_promise(either)
    actual = {name: nearest[name] for name in ("similar", "dissimilar", "seconds")}
    actual["speakers"] = either.card["calibration"]["speakers"]
    alike = _nearest_promise(either, "nearest_nontargets")
    actual["nearest_false_accept_rate"] = alike["false_accept_rate"]["value"]
    assert either.figures["calibration"] == actual


def _compared_seconds(scores):
    """Below the article's 5 s, the longest with enough trials of both kinds in every split."""
    trials = scores.groupby(["duration_seconds", "set", "label"]).size().unstack(["set", "label"])
    return max(trials.index[(trials.fillna(0) >= ENOUGH).all(axis=1)])


def _column(*values):
    names = ("speakers", "precision", "recall", "eer", "similar", "dissimilar", "ratio")
    return dict(zip(names, values, strict=True))


def test_operating_points_have_what_the_headline_has_there(either, scores):
    rows = part_of(scores, either.figures["headline"])
    similar, distance = rows["label"] == 1, rows["distance"]
    points = either.card["calibration"].get("operating_points", [])
    assert len(either.figures["operating_points"]) == len(points)
    for actual, point in zip(either.figures["operating_points"], points, strict=True):
        for name in ("max_false_accept_rate", "speakers_needed", "threshold"):
            assert actual[name] == point[name]
        accept, reject = actual["false_accept_rate"]["value"], actual["false_reject_rate"]["value"]
        if point["threshold"] is None:
            assert accept is reject is None
        else:
            accepted = distance <= point["threshold"]
            assert_same([accept, reject], [accepted[~similar].mean(), 1 - accepted[similar].mean()])


def test_the_summary_is_of_the_hardest_condition_and_the_largest_gallery(either):
    figures, name = either.figures, either.figures["headline"]["set"]
    conditions = [
        part
        for part in figures["conditions"]
        if (part["set"], part["changed_sides"]) == (name, "one")
        and min(part["similar"], part["dissimilar"]) >= ENOUGH
    ]
    place = figures["highlights"]["worst_condition"]
    assert (place is None) == (not conditions)
    if conditions:
        highest = max(part["figures"]["eer"]["value"] for part in conditions)
        assert figures["conditions"][place] in conditions
        assert figures["conditions"][place]["figures"]["eer"]["value"] == highest
    sizes = [part["gallery_speakers"] for part in figures["open_set"] if part["set"] == name]
    gallery = figures["open_set"][figures["highlights"]["open_set"]]
    assert (gallery["set"], gallery["gallery_speakers"]) == (name, max(sizes))


def test_the_article_stands_beside_the_model(either, scores):
    seconds = _compared_seconds(scores)
    (kept,) = [row for row in either.card["history"] if row["epoch"] == either.card["best_epoch"]]
    near, far = (kept[f"train_mean_{kind}_distance"] for kind in ("similar", "dissimilar"))
    expected = {
        "article_train": _column(34, 0.87, 0.84, None, 1.4, 4.7, 4.7 / 1.4),
        "article_test": _column(34, 0.8, 0.8, None, 1.8, 4.4, 4.4 / 1.8),
        "train": _column(_speakers_of(either, features.TRAIN), *[None] * 3, near, far, far / near),
    }
    for name in ("eval", "unseen"):
        rows = part_of(scores, {"set": name, "duration_seconds": seconds})
        found = measured(rows)
        near, far = found["mean_similar_distance"], found["mean_dissimilar_distance"]
        rates = (found[rate] for rate in ("balanced_precision", "recall", "eer"))
        expected[name] = _column(
            len({*rows["speaker_a"], *rows["speaker_b"]}), *rates, near, far, far / near
        )
    assert either.figures["compared_seconds"] == seconds
    assert_same(either.figures["comparison"], expected)


def _speakers_of(report, split):
    examples = report.examples[split]
    return len({each.features.feature[features.SPEAKER].bytes_list.value[0] for each in examples})


def test_the_comparison_is_not_of_the_headlines_duration(troubled):
    head = troubled.figures["headline"]
    assert (head["duration_seconds"], troubled.figures["compared_seconds"]) == (0.5, 1.0)


def _pairs(heard):
    """How many pairs of one person, across recordings where there are two, and of two people."""
    speaker, recording = heard["speaker"].to_numpy(), heard["recording"].to_numpy()
    recordings = heard.groupby("speaker")["recording"].nunique()
    one, other = np.triu_indices(len(heard), 1)
    alone = recordings[speaker[one]].to_numpy() == 1
    similar = (speaker[one] == speaker[other]) & (alone | (recording[one] != recording[other]))
    return int(similar.sum()), int((speaker[one] != speaker[other]).sum())


def test_selections_count_the_scores(either, scores, possible):
    expected = []
    for (name, seconds), rows in scores.groupby(["set", "duration_seconds"]):
        heard = utterances(rows)
        similar, dissimilar = _pairs(heard)
        within = (rows["label"] == 1) & (rows["recording_a"] == rows["recording_b"])
        expected.append(
            {
                "set": name,
                "duration_seconds": seconds,
                "speakers": heard["speaker"].nunique(),
                "utterances": len(heard),
                "utterances_possible": sum(possible(name, seconds).values()),
                "similar": int((rows["label"] == 1).sum()),
                "similar_possible": similar,
                "similar_within_recording": int(within.sum()),
                "dissimilar": int((rows["label"] == 0).sum()),
                "dissimilar_possible": dissimilar,
                "least_heard_seconds": float(heard["speech_seconds"].min()),
                "most_heard_seconds": float(heard["speech_seconds"].max()),
            }
        )
    assert_same(either.figures["selections"], expected)


def test_some_trials_are_drawn_of_more(troubled):
    for part in troubled.figures["selections"][:2]:
        assert part["similar"] < part["similar_possible"]
        assert part["dissimilar"] < part["dissimilar_possible"]
        assert part["utterances"] < part["utterances_possible"]
        assert part["least_heard_seconds"] < part["most_heard_seconds"]
