"""What `figures.json` must say, from the files beside it and the speech, without what wrote it."""

import io
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.optimize import brentq
from sklearn.metrics import auc
from sklearn.metrics import roc_curve as sklearn_roc

from components import features

CLOSE: dict[str, Any] = {"rel": 1e-6, "abs": 1e-9}
ENOUGH = 20
NO_FIGURE = {"value": None, "low": None, "high": None}


def table(report, name):
    """A Parquet file of a report."""
    return pd.read_parquet(io.BytesIO(report.files[name]))


def assert_same(actual, expected, place="figures"):
    """The same keys, the same lengths, numbers that are close, and all else equal."""
    if isinstance(expected, dict):
        assert set(actual) == set(expected), place
        for key, value in expected.items():
            assert_same(actual[key], value, f"{place}/{key}")
    elif isinstance(expected, list):
        assert len(actual) == len(expected), place
        for index, value in enumerate(expected):
            assert_same(actual[index], value, f"{place}/{index}")
    elif isinstance(expected, float) and np.isnan(expected):
        assert actual is None, place
    elif isinstance(expected, float):
        assert actual == pytest.approx(expected, **CLOSE), place
    else:
        assert actual == expected, place


def part_of(scores, part):
    """The trials of a slice."""
    rows = scores[
        (scores["set"] == part["set"]) & (scores["duration_seconds"] == part["duration_seconds"])
    ]
    sliced_by = part.get("sliced_by", "all")
    if sliced_by == "all":
        return rows
    wanted = rows[sliced_by] == part["value"]
    return rows[wanted | (rows["label"] == 0)] if sliced_by == "relation" else rows[wanted]


def detail(scores, report, name):
    """The trials of a split that curves, maps and pairs are drawn from."""
    seconds = report.figures["headline"]["duration_seconds"]
    return part_of(scores, {"set": name, "duration_seconds": seconds})


def roc(rows):
    """False acceptance and recall by rising threshold."""
    return sklearn_roc(rows["label"], -rows["distance"], drop_intermediate=False)[:2]


def measured(rows):
    """Each figure of a slice by name, NaN where a class that it needs is missing."""
    label, distance = rows["label"].to_numpy(), rows["distance"].to_numpy().astype(np.float64)
    probability = rows["probability"].to_numpy().astype(np.float64)
    said, similar = rows["same_speaker"].to_numpy(), label == 1
    recall, false_accept = _mean(said[similar]), _mean(said[~similar])
    surprise = _mean(-np.log2(probability[similar])), _mean(-np.log2(1.0 - probability[~similar]))
    return _of_the_roc(rows) | {
        "cllr": sum(surprise) / 2.0,
        "balanced_precision": recall / (recall + false_accept) if recall + false_accept else np.nan,
        "recall": recall,
        "f1": 2.0 * recall / (1.0 + recall + false_accept),
        "false_accept_rate": false_accept,
        "false_reject_rate": 1.0 - recall,
        "mean_similar_distance": _mean(distance[similar]),
        "mean_dissimilar_distance": _mean(distance[~similar]),
    }


def _mean(values):
    return float(np.mean(values)) if len(values) else np.nan


def _of_the_roc(rows):
    if not has_both(rows):
        return dict.fromkeys(("eer", "auc", "min_dcf_0.01", "min_dcf_0.05"), np.nan)
    false_accept, recall = roc(rows)
    costs = {p: np.min(p * (1.0 - recall) + (1.0 - p) * false_accept) / p for p in (0.01, 0.05)}
    return {
        "eer": brentq(lambda x: 1.0 - x - np.interp(x, false_accept, recall), 0.0, 1.0),
        "auc": auc(false_accept, recall),
        **{f"min_dcf_{p}": float(cost) for p, cost in costs.items()},
    }


def has_both(rows):
    """Whether there are trials of one person and of two."""
    return rows["label"].nunique() == 2


def resampled(rows, report):
    """Rows of each resample of the speakers, repeated as often as they are drawn."""
    names = list(dict.fromkeys([*rows["speaker_a"], *rows["speaker_b"]]))
    rng = np.random.default_rng(report.settings.seed)
    drawn = rng.multinomial(len(names), [1.0 / len(names)] * len(names), report.settings.resamples)
    for times in drawn:
        of = dict(zip(names, times, strict=True))
        weight = rows["speaker_a"].map(of) * np.where(
            rows["label"] == 1, 1, rows["speaker_b"].map(of)
        )
        yield rows.loc[rows.index.repeat(weight)]


def interval(drawn):
    """Where 95 % of the resamples lie, NaN twice where more than a tenth of them has no figure."""
    found = np.array(drawn, np.float64)
    found = found[~np.isnan(found)]
    if len(found) < 0.9 * len(drawn):
        return [np.nan, np.nan]
    return np.quantile(found, [0.025, 0.975]).tolist()


def widened(bounds, value, people):
    """Of a rate of 0 or 1: to what none among so many people leaves possible."""
    if value not in (0.0, 1.0) or bounds[0] < bounds[1]:
        return bounds
    end = 0.025 ** (1.0 / people)
    return [0.0, 1.0 - end] if value == 0.0 else [end, 1.0]


def rate_interval(name, rows, value, drawn):
    """As `interval`; of a rate, `widened`."""
    bounds, target, nontarget = interval(drawn), 1, 0
    classes = {
        "eer": (target, nontarget),
        "false_accept_rate": (nontarget,),
        "false_reject_rate": (target,),
        "recall": (target,),
    }
    if name not in classes or np.isnan(value):
        return bounds
    parts = [rows[rows["label"] == label] for label in classes[name]]
    people = min(len({*part["speaker_a"], *part["speaker_b"]}) for part in parts)
    return widened(bounds, value, people)


def utterances(rows):
    """The utterances that trials are made of, a row for each."""
    names = ["utterance", "speaker", "recording", "gender", "start_seconds", "speech_seconds"]
    sides = [
        rows[["set", *(f"{name}_{side}" for name in names)]].set_axis(["set", *names], axis=1)
        for side in "ab"
    ]
    return pd.concat(sides).drop_duplicates(ignore_index=True)


def spoken(report):
    """The pieces of speech, a row for each."""
    rows = []
    for split, examples in report.examples.items():
        for example in examples:
            feature = example.features.feature
            pcm16 = feature[features.PCM16].bytes_list.value[0]
            rate = feature[features.SAMPLE_RATE].int64_list.value[0]
            text = {
                name: feature[name].bytes_list.value[0].decode()
                for name in (features.SPEAKER, features.GENDER, features.RECORDING)
            }
            start = feature[features.START_SECONDS].float_list.value[0]
            sound = {"start": start, "seconds": len(pcm16) / 2 / rate, "pcm16": pcm16}
            rows.append({"split": split, **text, **sound})
    return pd.DataFrame(rows)
