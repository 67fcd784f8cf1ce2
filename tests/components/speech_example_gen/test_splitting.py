"""Splits by time and by speaker."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.errors import SwarError
from components.settings import SpeechSettings
from components.speech_example_gen.splitting import held_out_speakers, split_speaker

RATE_10 = SpeechSettings.model_construct(
    sample_rate=10, max_piece_seconds=6.0, train_fraction=0.72, calibration_fraction=0.08
)


@given(lengths=st.dictionaries(st.text(min_size=1), st.integers(1, 1_000), min_size=1, max_size=6))
def test_pieces_cover_every_sample_once_and_splits_follow_time(lengths):
    pieces = split_speaker(lengths, None, RATE_10)
    assert set(pieces) == set(lengths)
    order = {"train": 0, "calibration": 1, "eval": 2}
    sequence, totals = [], dict.fromkeys(order, 0)
    for recording in sorted(lengths):
        end = 0
        for index, piece in enumerate(pieces[recording]):
            assert (piece.index, piece.start) == (index, end)
            assert 0 < piece.end - piece.start <= 60
            end = piece.end
            sequence.append(order[piece.split])
            totals[piece.split] += piece.end - piece.start
        assert end == lengths[recording]
    assert sequence == sorted(sequence)
    total = sum(lengths.values())
    assert totals["train"] == round(0.72 * total)
    assert abs(totals["eval"] - 0.2 * total) <= 1


def test_a_span_is_cut_into_equal_pieces():
    pieces = split_speaker({"r": 61}, "unseen", RATE_10)["r"]
    assert [(piece.split, piece.start, piece.end) for piece in pieces] == [
        ("unseen", 0, 30),
        ("unseen", 30, 61),
    ]


def test_held_out_speakers_are_fixed_fractions_and_stay_when_others_come():
    speakers = [f"speaker {index}" for index in range(100)]
    held_out = held_out_speakers(speakers, SpeechSettings())
    assert Counter(held_out.values()) == {"unseen": 20, "calibration": 10}
    assert held_out == held_out_speakers(speakers[::-1], SpeechSettings())
    assert held_out != held_out_speakers(speakers, SpeechSettings(seed=1))
    grown = held_out_speakers([*speakers, "newcomer"], SpeechSettings())
    assert len(held_out.items() - grown.items()) <= 2


def test_who_is_unseen_does_not_depend_on_the_calibration():
    speakers = [f"speaker {index}" for index in range(30)]
    alone = held_out_speakers(speakers, SpeechSettings(calibration_speaker_fraction=0.0))
    both = held_out_speakers(speakers, SpeechSettings())
    assert alone == {name: split for name, split in both.items() if split == "unseen"}


def test_held_out_speakers_are_two_at_least_or_none():
    few = SpeechSettings(unseen_speaker_fraction=0.1, calibration_speaker_fraction=0.1)
    held_out = held_out_speakers(list("abcdef"), few)
    assert Counter(held_out.values()) == {"unseen": 2, "calibration": 2}
    nobody = SpeechSettings(unseen_speaker_fraction=0.0, calibration_speaker_fraction=0.0)
    assert held_out_speakers(["a", "b"], nobody) == {}
    with pytest.raises(SwarError, match="unseen_speaker_fraction"):
        held_out_speakers(list("abcde"), few)
