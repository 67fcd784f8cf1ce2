"""Which utterances of a speaker are cut, and which of them are put under conditions."""

from collections import Counter

import pytest

from components.verification.utterances import (
    LEAST_OF_A_SPEAKER,
    SpeechSegment,
    UtterancePlan,
    share_among_speakers,
)

RATE = 10


def segments(speaker, recordings=3, per_recording=4):
    """Segments of so many utterances of 3 s in each recording."""
    return [
        SpeechSegment(
            speaker, f"{speaker}/{number}.wav", None, "unknown", "wideband", 0.0,
            per_recording * 3 * RATE,
        )
        for number in range(recordings)
    ]  # fmt: skip


def planned(speakers, most, seed, **changed):
    """Recordings of the utterances under conditions, of every speaker."""
    plan = UtterancePlan(
        "made",
        [3 * RATE, RATE],
        RATE,
        **{
            "per_speaker": 100,
            "seed": seed,
            "condition_samples": 3 * RATE,
            "under_conditions": share_among_speakers(speakers, most, seed),
            **changed,
        },
    )
    return {
        speaker: [
            own[each.segment].recording for each in plan.positions(own) if each.under_conditions
        ]
        for speaker in speakers
        for own in [segments(speaker)]
    }


def test_utterances_under_conditions_are_of_all_speakers_and_recordings():
    chosen = planned([f"s{number}" for number in range(5)], 30, seed=0)
    assert {speaker: len(own) for speaker, own in chosen.items()} == {
        f"s{number}": 6 for number in range(5)
    }
    assert {count for own in chosen.values() for count in Counter(own).values()} == {2}


def test_of_many_speakers_some_have_enough():
    speakers = [f"s{number}" for number in range(50)]
    one, again, other = (planned(speakers, 20, seed) for seed in (0, 0, 1))
    assert {len(own) for own in one.values() if own} == {LEAST_OF_A_SPEAKER}
    assert sum(map(len, one.values())) == 20
    assert one == again
    assert {name for name, own in one.items() if own} != {
        name for name, own in other.items() if own
    }


def test_without_a_bound_all_of_that_duration_are_put_under_conditions():
    (own,) = planned(["asha"], 0, seed=0, under_conditions=None).values()
    assert len(own) == 3 * 4


def test_utterances_are_named_by_their_seconds_in_the_recording():
    plan = UtterancePlan("made", [3 * RATE], RATE, per_speaker=9, seed=0)
    segment = segments("asha")[0]._replace(start_seconds=61.5)
    second = plan.positions([segment])[1]
    utterance = plan.utterance(segment, second)
    assert (utterance.utterance, utterance.start_seconds) == ("asha/0.wav#64.500-67.500", 64.5)
    assert (utterance.set, utterance.duration_seconds) == ("made", 3.0)


@pytest.mark.parametrize("per_speaker", [1, 5, 12])
def test_a_bound_takes_a_sample_and_counts_all(per_speaker):
    def positions(seed):
        plan = UtterancePlan("made", [3 * RATE], RATE, per_speaker=per_speaker, seed=seed)
        return plan.positions(segments("asha")), plan.possible

    found, possible = positions(0)
    assert len(set(found)) == per_speaker
    assert found == sorted(found)
    assert possible == {3 * RATE: 12}
    assert positions(0)[0] == found
