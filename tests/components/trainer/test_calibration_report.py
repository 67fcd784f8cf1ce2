"""What the calibration promises: as somebody measures who evaluates the model on its speakers."""

import itertools
import json

import numpy as np
import pytest
from sklearn.metrics import roc_curve

from components.model.calibration import Calibration
from components.trainer.calibration_report import calibration_report
from components.trainer.utterances import EmbeddedWindows
from tests.components.trainer.support_windows import windows_of

CALIBRATION = Calibration(threshold=1.0, slope=3.0)
# Seconds of each recording; the first letter is the speaker.
RECORDINGS = {"a/1": 5, "a/2": 4, "b/1": 7, "c/1": 4, "c/2": 1, "c/3": 4, "d/1": 9}


def heard(recordings=RECORDINGS):
    rng = np.random.default_rng(0)
    rows = [
        (name[0].encode(), name.encode(), float(start))
        for name, seconds in recordings.items()
        for start in range(seconds)
    ]
    # The windows come in the order of their pairs' hashes, some of them in several pairs.
    rows = [rows[at] for at in rng.permutation(len(rows) * 2) % len(rows)]
    place = {name: rng.normal(size=3) for name in sorted({speaker for speaker, *_ in rows})}
    jitter = {row: 0.7 * rng.normal(size=3) for row in sorted(set(rows))}
    embedding = np.array([place[row[0]] + jitter[row] for row in rows], np.float32)
    return EmbeddedWindows(embedding, windows_of(*rows), 1.0, unit_norm=False)


def trials_by_hand(embedded, count):
    """Distances of (same, different) speakers, utterances end to end in every recording."""
    found = {
        (recording.decode(), start): vector
        for recording, start, vector in zip(
            embedded.windows.recording,
            embedded.windows.start_seconds,
            embedded.embedding,
            strict=True,
        )
    }
    utterances = [
        (name, np.mean([found[name, float(first + at)] for at in range(count)], axis=0))
        for name, seconds in RECORDINGS.items()
        for first in range(0, seconds - count + 1, count)
    ]
    same, different = [], []
    for (name, one), (other_name, other) in itertools.combinations(utterances, 2):
        distance = float(np.linalg.norm(one - other))
        if name[0] != other_name[0]:
            different.append(distance)
        elif name != other_name or name[0] in "bd":  # who have one recording
            same.append(distance)
    return np.array(same), np.array(different)


@pytest.mark.parametrize("place", [0, 1])
def test_a_promise_is_what_an_evaluation_of_its_speakers_finds(place):
    embedded, count = heard(), (2, 4)[place]
    row = calibration_report(embedded, CALIBRATION, 1.0, (2, 4), seed=0)["nontargets"][place]
    same, different = trials_by_hand(embedded, count)
    assert (row["seconds"], row["similar"], row["dissimilar"]) == (count, len(same), len(different))
    report = {name: row[name]["value"] for name in ("false_accept_rate", "false_reject_rate")}
    assert report["false_accept_rate"] == pytest.approx(np.mean(different <= 1.0))
    assert report["false_reject_rate"] == pytest.approx(np.mean(same > 1.0))
    losses = (
        np.log2(1.0 + np.exp(3.0 * (same - 1.0))),
        np.log2(1.0 + np.exp(3.0 * (1.0 - different))),
    )
    assert row["cllr"]["value"] == pytest.approx(
        np.mean([loss.mean() for loss in losses]), rel=1e-4
    )
    label = np.r_[np.ones(len(same)), np.zeros(len(different))]
    accepted, hits, _ = roc_curve(label, -np.r_[same, different], drop_intermediate=False)
    gap = accepted - (1.0 - hits)
    eer = np.interp(0.0, gap, accepted)
    assert row["eer"]["value"] == pytest.approx(eer, abs=1e-6)


def test_a_promise_has_the_interval_of_its_speakers():
    report = calibration_report(heard(), CALIBRATION, 1.0, (2,), seed=0)
    (row,) = report["nontargets"]
    assert report["speakers"] == 4
    assert max(row[name]["high"] for name in ("eer", "false_accept_rate")) <= 1.0
    for name in ("eer", "cllr", "false_accept_rate", "false_reject_rate"):
        assert row[name]["low"] <= row[name]["value"] <= row[name]["high"]
    assert row["cllr"]["low"] < row["cllr"]["high"]
    assert report == calibration_report(heard(), CALIBRATION, 1.0, (2,), seed=0)


def test_too_few_speakers_have_no_interval_that_json_could_not_hold():
    report = calibration_report(heard({"a/1": 4, "b/1": 4}), CALIBRATION, 1.0, (2,), seed=0)
    assert report["nontargets"][0]["eer"]["low"] is None
    json.dumps(report, allow_nan=False)


def test_nearest_nontargets_are_some_of_all():
    report = calibration_report(heard(), CALIBRATION, 0.1, (2,), seed=0)
    (among_all,), (among_near,) = report["nontargets"], report["nearest_nontargets"]
    assert 0 < among_near["dissimilar"] < among_all["dissimilar"]
    assert among_near["similar"] == among_all["similar"]
    assert among_near["false_accept_rate"]["value"] > among_all["false_accept_rate"]["value"]


def test_a_promise_takes_a_sample_of_too_many_trials(monkeypatch):
    monkeypatch.setattr("components.trainer.calibration_report.MAX_TRIALS_PER_CLASS", 5)
    (row,) = calibration_report(heard(), CALIBRATION, 1.0, (2,), seed=0)["nontargets"]
    assert (row["similar"], row["dissimilar"]) == (5, 5)


def test_the_report_has_a_point_for_each_risk_over_utterances_of_all_lengths():
    recordings = {
        f"{name}/{take}": 4 for name in "abcdefghijklmnopqrstuvwxyz0123456789" for take in "12"
    }
    report = calibration_report(heard(recordings), CALIBRATION, 1.0, (2, 4), seed=0)
    first, *others = report["operating_points"]
    assert (first["max_false_accept_rate"], first["speakers_needed"]) == (0.05, 36)
    assert 0.0 < first["false_accept_rate"]["value"] <= 0.05
    assert 0.0 < first["threshold"] < CALIBRATION.threshold * 3
    assert all(each["threshold"] is None for each in others)
    json.dumps(report, allow_nan=False)
