"""The report's numbers under conditions, from the scores beside them and the model."""

import io

import numpy as np
import pytest
from PIL import Image

from components.conditions import CLEAN, CONDITIONS
from components.nonspeech import nonspeech
from components.pcm16 import pack_wav, to_pcm16
from components.verification_report import report
from tests.components.verification_report.support_oracle import (
    assert_same,
    measured,
    rate_interval,
    resampled,
    table,
)
from tests.components.verification_report.support_report import RATE, PitchModel

PAIR = ["utterance_a", "utterance_b", "label"]


@pytest.fixture
def condition_scores(either):
    return table(either, "conditions.parquet")


def _rows(scores, part):
    keys = ["set", "condition", "changed_sides"]
    return scores[(scores[keys] == [part[key] for key in keys]).all(axis=1)]


def test_every_split_has_every_condition_at_the_duration_in_detail(either):
    rows = [
        (part["set"], part["condition"], part["changed_sides"])
        for part in either.figures["conditions"]
    ]
    changed = [(name, sides) for name in CONDITIONS for sides in ("one", "both")]
    expected = [(CLEAN, CLEAN), *changed]
    assert rows == [(name, *each) for name in ("eval", "unseen") for each in expected]
    seconds = {part["duration_seconds"] for part in either.figures["conditions"]}
    assert seconds == {either.figures["headline"]["duration_seconds"]}


def test_rates_under_conditions_follow_from_the_scores(either, condition_scores):
    for part in either.figures["conditions"]:
        rows = _rows(condition_scores, part)
        expected = measured(rows)
        assert part["similar"] == (rows["label"] == 1).sum()
        assert part["dissimilar"] == (rows["label"] == 0).sum()
        assert_same({name: one["value"] for name, one in part["figures"].items()}, expected)


@pytest.mark.parametrize("condition", ["hum", "quiet"])
def test_their_intervals_are_over_speakers(either, condition_scores, condition):
    for part in either.figures["conditions"]:
        if part["condition"] == condition:
            rows = _rows(condition_scores, part)
            drawn = [measured(each) for each in resampled(rows, either)]
            for name in ("eer", "cllr", "false_accept_rate"):
                bounds = rate_interval(
                    name, rows, measured(rows)[name], [each[name] for each in drawn]
                )
                found = {end: part["figures"][name][end] for end in ("low", "high")}
                assert_same(found, dict(zip(("low", "high"), bounds, strict=True)))


def test_conditions_have_the_trials_of_the_clean_ones(either, condition_scores):
    for part in either.figures["conditions"]:
        clean = _rows(condition_scores, part | {"condition": CLEAN, "changed_sides": CLEAN})
        rows = _rows(condition_scores, part)
        assert part["utterances"] <= either.settings.condition_utterances
        if not part["refused"]:
            assert rows[PAIR].to_numpy().tolist() == clean[PAIR].to_numpy().tolist()
        assert set(map(tuple, rows[PAIR].to_numpy())) <= set(map(tuple, clean[PAIR].to_numpy()))


def test_clean_trials_under_conditions_are_scored_as_all_are(either, condition_scores, scores):
    """At half of full scale, which rounds a little."""
    clean = condition_scores[condition_scores["condition"] == CLEAN]
    names = ["set", "utterance_a", "utterance_b"]
    both = clean.merge(scores, on=[*names, "duration_seconds"], suffixes=("", "_of_all"))
    assert len(both)
    np.testing.assert_allclose(both["distance"], both["distance_of_all"], atol=0.01)


def test_sounds_without_speech_are_counted(either):
    seconds = either.figures["headline"]["duration_seconds"]
    sounds = nonspeech(RATE, seconds, either.settings.seed)
    wavs = [pack_wav(to_pcm16(each.samples), RATE) for each in sounds]
    answer = PitchModel().embed(wavs)
    taken = answer.embedding[[status == "ok" for status in answer.status]]
    first, second = np.triu_indices(len(taken), 1)
    *_, same = PitchModel().score(taken[first], taken[second])
    assert [part["set"] for part in either.figures["nonspeech"]] == ["eval", "unseen"]
    for part in either.figures["nonspeech"]:
        assert (part["sounds"], part["taken"]) == (len(wavs), len(taken))
        assert (part["pairs"], part["same_speaker_pairs"]) == (len(first), same.sum())


def test_conditions_without_an_interval_are_drawn_and_sets_without_a_rate_are_not(made):
    def height(rates):
        rows = [
            row | {"figures": {"eer": {"value": rates[row["set"]], "low": None, "high": None}}}
            for row in made.figures["conditions"]
        ]
        drawn = report.draw(made.figures | {"conditions": rows}).get("conditions")
        return 0 if drawn is None else Image.open(io.BytesIO(drawn)).height

    both, one, none = (
        height({"unseen": unseen, "eval": known})
        for unseen, known in ((0.0, 0.1), (0.0, None), (None, None))
    )
    assert both > 1.5 * one > none == 0
