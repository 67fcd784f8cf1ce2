"""The same trials under conditions: what changes, what does not, and what is missing."""

from types import SimpleNamespace

import numpy as np
import pytest

from components.conditions import CLEAN, CONDITIONS
from components.verification.error_rates import TrialMetrics
from components.verification.robustness import (
    PEAK,
    measure_condition,
    score_conditions,
    under_conditions,
)
from components.verification.trials import choose_trials, scores_of, trial_table
from components.verification.utterances import Cut, EmbeddedUtterances, Unused, Utterance, embed
from tests.bad_recordings import speech_like
from tests.components.verification.support_trials import embeddings, score, utterances

RATE = 8_000
NAMES = ("hum", "quiet")


def cut(name="a/1.wav#0", seconds=1.0, seed=0):
    pcm16 = (speech_like(seed, RATE, seconds) * 32_767).astype(np.int16)
    return Cut(Utterance("made", seconds, name, "a", "a/1.wav", None, "unknown", "wideband", 0.0),
               pcm16, RATE, under_conditions=True)  # fmt: skip


def level_db(pcm16):
    return 20.0 * np.log10(np.sqrt(np.mean((pcm16 / 32_768.0) ** 2)))


def test_every_condition_makes_another_utterance_of_the_same_name_and_length():
    made = under_conditions([cut()], list(CONDITIONS), seed=0)
    assert [each.utterance.condition for each in made] == [CLEAN, *CONDITIONS]
    assert {each.utterance._replace(condition=CLEAN) for each in made} == {cut().utterance}
    for each in made:
        assert each.pcm16.dtype == np.int16 and len(each.pcm16) == RATE
    assert len({each.pcm16.tobytes() for each in made}) == len(made)


def test_other_durations_stay_clean():
    made = under_conditions(
        [cut(), cut(seconds=2.0)._replace(under_conditions=False)], NAMES, seed=0
    )
    of = [(each.utterance.duration_seconds, each.utterance.condition) for each in made]
    assert of == [(1.0, CLEAN), (2.0, CLEAN), (1.0, "hum"), (1.0, "quiet")]


def test_nothing_is_normalised_behind_a_condition():
    clean, quiet = under_conditions([cut()], ["quiet"], seed=0)
    assert np.abs(clean.pcm16).max() == pytest.approx(PEAK * 32_767, abs=1)
    assert level_db(quiet.pcm16) - level_db(clean.pcm16) == pytest.approx(-40.0, abs=0.1)


def test_draws_depend_on_seed_condition_and_utterance_alone():
    noise = "white_noise_10_db"
    both = under_conditions([cut(), cut("a/1.wav#1")], [noise], seed=0)[2:]
    alone = under_conditions([cut("a/1.wav#1")], ["hum", noise], seed=0)[-1]
    reseeded = under_conditions([cut("a/1.wav#1")], [noise], seed=1)[-1]
    np.testing.assert_array_equal(both[1].pcm16, alone.pcm16)
    assert not np.array_equal(both[0].pcm16, both[1].pcm16)
    assert not np.array_equal(both[1].pcm16, reseeded.pcm16)


def test_silence_stays_silence():
    silent = cut()._replace(pcm16=np.zeros(RATE, np.int16))
    assert not any(each.pcm16.any() for each in under_conditions([silent], ["hum"], seed=0))


@pytest.fixture(scope="module")
def embedded():
    """Utterances under two conditions, of which one was refused under the hum."""
    clean = utterances(6)
    parts = [clean.assign(condition=name) for name in (CLEAN, *NAMES)]
    table = type(clean)(np.concatenate(parts), columns=clean.columns).astype(clean.dtypes)
    places = np.concatenate([embeddings(clean, noise, seed=0) for noise in (0.2, 0.4, 0.8)])
    rows = np.delete(np.arange(len(table)), len(clean) + 5)
    lost = table.iloc[len(clean) + 5]
    refused = Unused("made", lost["utterance"], "no_speech", "0.00 s", "hum")
    return EmbeddedUtterances(table.iloc[rows], places[rows], [refused]), lost["utterance"]


@pytest.fixture(scope="module")
def scored(embedded):
    table, places, _ = embedded[0]
    clean = (table["condition"] == CLEAN).to_numpy()
    chosen = choose_trials(table[clean], 10**9, 0)
    trials = trial_table(table[clean], places[clean], chosen.first, chosen.second, chosen.label,
                         score)  # fmt: skip
    return score_conditions(
        embedded[0], trials, NAMES, score, set_name="made", duration_seconds=3.0
    )


def test_conditions_have_the_clean_trials_with_one_side_or_both_changed(embedded, scored):
    lost = embedded[1]
    found = [(each.condition, each.changed_sides) for each in scored]
    assert found == [
        (CLEAN, CLEAN),
        *((name, sides) for name in NAMES for sides in ("one", "both")),
    ]
    clean = scored[0].trials
    place = {
        (row.condition, row.utterance): embedded[0].embeddings[at]
        for at, row in enumerate(embedded[0].utterances.itertuples())
    }
    for each in scored[1:]:
        expected = clean
        if each.condition == "hum":
            expected = clean[clean["utterance_b"] != lost]
            if each.changed_sides == "both":
                expected = expected[expected["utterance_a"] != lost]
        pairs = ["utterance_a", "utterance_b", "label"]
        assert each.trials[pairs].to_numpy().tolist() == expected[pairs].to_numpy().tolist()
        assert set(each.trials["condition"]) == {each.condition}
        assert set(each.trials["changed_sides"]) == {each.changed_sides}
        first = each.condition if each.changed_sides == "both" else CLEAN
        row = each.trials.iloc[7]
        distance = np.linalg.norm(
            place[first, row["utterance_a"]] - place[each.condition, row["utterance_b"]]
        )
        assert row["distance"] == pytest.approx(distance, rel=1e-6)


def test_what_the_model_refused_is_counted(scored):
    counts = {(each.condition, each.utterances, each.refused) for each in scored}
    assert counts == {(CLEAN, 24, 0), ("hum", 24, 1), ("quiet", 24, 0)}


def test_metrics_are_those_of_the_conditions_own_trials(scored):
    for each in scored:
        measured = measure_condition(each, resamples=20, seed=0)
        expected = TrialMetrics(scores_of(each.trials)).weighted(np.ones(len(each.trials)))
        assert {name: one.value for name, one in measured.figures.items()} == expected
        assert measured.similar == (each.trials["label"] == 1).sum()
        assert measured.similar + measured.dissimilar == len(each.trials)
        assert measured.figures["eer"].low <= measured.figures["eer"].value


def test_a_condition_under_which_everything_is_refused_has_no_rates(scored):
    nothing = scored[1]._replace(trials=scored[1].trials.iloc[:0], refused=24)
    measured = measure_condition(nothing, resamples=20, seed=0)
    assert (measured.similar, measured.dissimilar, measured.refused) == (0, 0, 24)
    assert all(np.isnan(one.value) for one in measured.figures.values())


class RefusesAllButTheFirst:
    """A model that takes one utterance of a group."""

    score = staticmethod(score)

    def embed(self, wavs):
        status = ["ok", *["no_speech"] * (len(wavs) - 1)]
        ones = np.ones((len(wavs), 2), np.float32)
        return SimpleNamespace(embedding=ones, speech_seconds=ones[:, 0], status=status)


def test_refusals_say_the_condition():
    found = embed([under_conditions([cut()], NAMES, seed=0)], RefusesAllButTheFirst())
    assert list(found.utterances["condition"]) == [CLEAN]
    assert [each.condition for each in found.unusable] == list(NAMES)
