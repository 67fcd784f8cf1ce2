"""Slices of the trials, and what is stored of them."""

import json
import math
import os

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from components.errors import SwarError
from components.verification.attacks import CLAIM_COLUMNS
from components.verification.error_rates import TrialMetrics
from components.verification.results import Evaluation, read_trials, write_evaluation
from components.verification.slices import measure_slices
from components.verification.trials import scores_of
from tests.components.verification.support_trials import scored_trials, utterances

NO_CLAIMS = pd.DataFrame(columns=list(CLAIM_COLUMNS))


@pytest.fixture(scope="module")
def trials():
    return pd.concat(
        [
            scored_trials(utterances(9), seed=0),
            scored_trials(utterances(9, seconds=5.0), seed=1),
            scored_trials(utterances(4, name="other"), seed=2),
        ],
        ignore_index=True,
    )


@pytest.fixture(scope="module")
def slices(trials):
    return measure_slices(trials, resamples=50, seed=0)


def rows_of(trials, part):
    rows = (trials["set"] == part.set) & (trials["duration_seconds"] == part.duration_seconds)
    if part.sliced_by == "all":
        return trials[rows]
    wanted = trials[part.sliced_by] == part.value
    if part.sliced_by == "relation":
        wanted |= trials["label"] == 0
    return trials[rows & wanted]


def test_every_set_duration_and_pair_is_a_slice(trials, slices):
    found = {(s.set, s.duration_seconds, s.sliced_by, s.value) for s in slices}
    expected = set()
    for (name, seconds), part in trials.groupby(["set", "duration_seconds"]):
        expected.add((name, seconds, "all", "all"))
        for column in ("gender_pair", "channel_pair"):
            expected |= {(name, seconds, column, value) for value in part[column].unique()}
        relations = set(part["relation"]) - {"different_speakers"}
        expected |= {(name, seconds, "relation", value) for value in relations}
    assert found == expected
    assert len(slices) == len(expected)
    genders = {value for *_, column, value in expected if column == "gender_pair"}
    assert genders == {"female", "male", "mixed", "unknown"}
    channels = {value for *_, column, value in expected if column == "channel_pair"}
    assert channels == {"telephone", "wideband", "mixed"}


def test_figures_are_those_of_the_slices_own_trials(trials, slices):
    for part in slices:
        rows = rows_of(trials, part)
        assert part.similar == (rows["label"] == 1).sum()
        assert part.dissimilar == (rows["label"] == 0).sum()
        assert part.speakers == len({*rows["speaker_a"], *rows["speaker_b"]})
        expected = TrialMetrics(scores_of(rows)).weighted(np.ones(len(rows)))
        values = {name: figure.value for name, figure in part.figures.items()}
        assert values == pytest.approx(expected, nan_ok=True)
        if part.similar and part.dissimilar:
            assert values["auc"] == pytest.approx(roc_auc_score(rows["label"], -rows["distance"]))


def test_intervals_hold_their_figure(slices):
    (part,) = (
        s for s in slices if (s.set, s.duration_seconds, s.sliced_by) == ("made", 3.0, "all")
    )
    for figure in part.figures.values():
        assert figure.low <= figure.value <= figure.high
    assert part.figures["eer"].low < part.figures["eer"].high


def test_two_genders_have_no_same_speaker_trial_and_no_eer(slices):
    (part,) = (
        s
        for s in slices
        if (s.set, s.duration_seconds, s.value) == ("made", 3.0, "mixed")
        and s.sliced_by == "gender_pair"
    )
    assert part.similar == 0
    assert math.isnan(part.figures["eer"].value)
    assert part.figures["false_accept_rate"].low <= part.figures["false_accept_rate"].value


def test_the_same_seed_gives_the_same_intervals(trials, slices):
    again = measure_slices(trials, resamples=50, seed=0)
    other = measure_slices(trials, resamples=50, seed=1)
    assert repr(again) == repr(slices)  # a NaN equals no other
    assert repr(other) != repr(slices)


def evaluation(slices):
    return Evaluation(
        model={"folder": "published/1", "threshold": 0.5},
        data={"made": "/data/made"},
        trial_list=None,
        trained_on=(),
        calibrated_on=(),
        synthetic_speakers=0,
        settings={"seed": 0},
        selections=(),
        rejected_recordings=(),
        repeated_recordings=0,
        unusable_utterances=(),
        slices=tuple(slices),
        conditions=(),
        nonspeech=(),
        identification=(),
        open_set=(),
        attacks=(),
    )


def test_what_is_stored_is_read_again(tmp_path, trials, slices):
    folder = tmp_path / "deep" / "evaluation"
    write_evaluation(folder, evaluation(slices), trials, NO_CLAIMS)
    pd.testing.assert_frame_equal(read_trials(folder), trials)
    stored = json.loads((folder / "metrics.json").read_text("utf-8"))["slices"]
    assert measure_slices(read_trials(folder), resamples=50, seed=0)[0] == slices[0]
    for told, part in zip(stored, slices, strict=True):
        for name, figure in part.figures.items():
            value = told["figures"][name]["value"]
            assert value is None if math.isnan(figure.value) else value == figure.value


def test_a_folder_with_something_in_it_is_left_alone(tmp_path, trials, slices):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(SwarError, match="not an empty folder"):
        write_evaluation(tmp_path, evaluation(slices), trials, NO_CLAIMS)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_a_broken_write_leaves_nothing(tmp_path, trials, slices, monkeypatch):
    def fails(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", fails)
    with pytest.raises(SwarError, match="No space left on device"):
        write_evaluation(tmp_path / "evaluation", evaluation(slices), trials, NO_CLAIMS)
    assert list(tmp_path.iterdir()) == []
