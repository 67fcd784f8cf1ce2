"""What is known of a trial from its two utterances."""

import pandas as pd
import pytest

from components.verification.slices import measure_slices
from tests.components.verification.support_trials import scored_trials, utterances


def place(table, recording, session):
    return table.assign(recording=recording, session=session)


@pytest.fixture(scope="module")
def trials():
    """Of two speakers, each with recordings of two sessions, and one of no session."""
    told = [("1.wav", "monday"), ("2.wav", "monday"), ("3.wav", "friday"), ("4.wav", None)]
    parts = []
    for speaker in ("asha", "bina"):
        own = utterances(1, recordings=1, per_recording=1)
        for recording, session in told:
            name = f"{speaker}/{recording}"
            row = place(own, name, session).assign(speaker=speaker, utterance=name)
            parts.append(row)
    return scored_trials(pd.concat(parts, ignore_index=True))


def test_trials_of_one_speaker_say_what_they_share(trials):
    same = trials[trials["label"] == 1]
    relation = {
        (row.recording_a[-5], row.recording_b[-5]): row.relation
        for row in same[same["speaker_a"] == "asha"].itertuples()
    }
    assert relation == {
        ("1", "2"): "within_session",
        ("1", "3"): "across_sessions",
        ("2", "3"): "across_sessions",
        ("1", "4"): "session_unknown",
        ("2", "4"): "session_unknown",
        ("3", "4"): "session_unknown",
    }


def test_sessions_of_two_speakers_are_not_compared(trials):
    assert set(trials[trials["label"] == 0]["relation"]) == {"different_speakers"}


def test_a_single_recording_is_compared_within():
    trials = scored_trials(utterances(2, recordings=1))
    assert set(trials[trials["label"] == 1]["relation"]) == {"within_recording"}


def test_a_relation_is_measured_against_all_trials_of_two_speakers(trials):
    slices = measure_slices(trials, resamples=5, seed=0)
    counts = {
        part.value: (part.similar, part.dissimilar)
        for part in slices
        if part.sliced_by == "relation"
    }
    assert counts == {
        "within_session": (2, 16),
        "across_sessions": (4, 16),
        "session_unknown": (6, 16),
    }
