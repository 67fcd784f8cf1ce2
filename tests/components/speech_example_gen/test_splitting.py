"""Splits by time and by speaker."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.errors import SwarError
from components.settings import SpeechSettings
from components.speech_example_gen.splitting import split_speaker, unseen_speakers

RATE_10 = SpeechSettings.model_construct(
    sample_rate=10, max_piece_seconds=6.0, train_fraction=0.72, calibration_fraction=0.08
)


@given(lengths=st.dictionaries(st.text(min_size=1), st.integers(1, 1_000), min_size=1, max_size=6))
def test_pieces_cover_every_sample_once_and_splits_follow_time(lengths):
    pieces = split_speaker(lengths, False, RATE_10)
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
    pieces = split_speaker({"r": 61}, True, RATE_10)["r"]
    assert [(piece.split, piece.start, piece.end) for piece in pieces] == [
        ("unseen", 0, 30),
        ("unseen", 30, 61),
    ]


def test_unseen_speakers_are_a_fixed_fraction_and_stay_when_others_come():
    speakers = [f"speaker {index}" for index in range(100)]
    unseen = unseen_speakers(speakers, 0.2, seed=0)
    assert len(unseen) == 20
    assert unseen == unseen_speakers(speakers[::-1], 0.2, seed=0)
    assert unseen != unseen_speakers(speakers, 0.2, seed=1)
    grown = unseen_speakers([*speakers, "newcomer"], 0.2, seed=0)
    assert len(unseen - grown) <= 1


def test_unseen_speakers_are_two_at_least_or_none():
    assert len(unseen_speakers(["a", "b", "c", "d"], 0.1, seed=0)) == 2
    assert unseen_speakers(["a", "b"], 0.0, seed=0) == frozenset()
    with pytest.raises(SwarError, match="unseen_speaker_fraction"):
        unseen_speakers(["a", "b", "c"], 0.2, seed=0)
