"""Splits by time and by speaker."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.errors import SwarError
from components.recordings.splitting import (
    held_out_speakers,
    split_speaker,
    unseen_speakers,
)
from components.settings import SpeechSettings

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


def speech_of(*names: str) -> dict[str, int]:
    return dict.fromkeys(names, 1_000)


HUNDRED = speech_of(*(f"speaker {index}" for index in range(100)))


def test_held_out_speakers_are_fixed_fractions():
    held_out = held_out_speakers(HUNDRED, SpeechSettings())
    assert Counter(held_out.values()) == {"unseen": 20, "calibration": 10}
    assert held_out == held_out_speakers(dict(reversed(HUNDRED.items())), SpeechSettings())
    assert held_out != held_out_speakers(HUNDRED, SpeechSettings(seed=1))


def test_who_is_unseen_stays_so_when_others_come():
    unseen = unseen_speakers(HUNDRED, SpeechSettings())
    assert len(unseen - unseen_speakers([*HUNDRED, "newcomer"], SpeechSettings())) <= 1


def test_a_speaker_without_speech_is_not_held_out_and_the_next_ones_are():
    unseen = unseen_speakers(HUNDRED, SpeechSettings())
    silent = sorted(unseen)[:3]
    held_out = held_out_speakers({**HUNDRED, **dict.fromkeys(silent, 0)}, SpeechSettings())
    now_unseen = {name for name, split in held_out.items() if split == "unseen"}
    assert len(now_unseen) == len(unseen)
    assert now_unseen > unseen - set(silent)
    assert held_out.keys().isdisjoint(silent)


@pytest.mark.parametrize("calibration", [0.0, 0.1, 0.5])
def test_who_is_unseen_does_not_depend_on_the_calibration(calibration):
    settings = SpeechSettings(calibration_speaker_fraction=calibration)
    held_out = held_out_speakers(HUNDRED, settings)
    unseen = {name for name, split in held_out.items() if split == "unseen"}
    assert unseen == unseen_speakers(HUNDRED, SpeechSettings())


@given(seed=st.integers(0, 1_000))
def test_the_threshold_is_set_on_speakers_with_little_and_with_much_speech(seed):
    settings = SpeechSettings(seed=seed, unseen_speaker_fraction=0.0)
    speech = {f"speaker {index}": 1_000 * (index + 1) for index in range(100)}
    tens = [speech[name] // 10_001 for name in held_out_speakers(speech, settings)]
    assert sorted(tens) == list(range(10))


def test_held_out_speakers_are_two_at_least_or_none():
    few = SpeechSettings(unseen_speaker_fraction=0.1, calibration_speaker_fraction=0.1)
    held_out = held_out_speakers(speech_of(*"abcdef"), few)
    assert Counter(held_out.values()) == {"unseen": 2, "calibration": 2}
    nobody = SpeechSettings(unseen_speaker_fraction=0.0, calibration_speaker_fraction=0.0)
    assert held_out_speakers(speech_of("a", "b"), nobody) == {}
    with pytest.raises(SwarError, match="unseen_speaker_fraction"):
        held_out_speakers(speech_of(*"abcde"), few)
