"""Leakage that is there is found, and what is none is not."""

import pytest

from components.verification_report.data_card import (
    data_card,
    genders_not_judged,
    leakage_checks,
    piece_table,
)
from components.verification_report.pieces import SpeechPiece

RATE = 100


def _piece(split, speaker, recording, start, seconds, digest=None):
    return SpeechPiece(
        split=split,
        file="",
        number=0,
        speaker=speaker,
        gender="unknown",
        channel="unknown",
        recording=recording,
        start_seconds=start,
        samples=round(seconds * RATE),
        sample_rate=RATE,
        digest=digest or f"{split} {recording} {start}",
        session=None,
    )


CLEAN = [
    _piece("train", "asha", "a", 0.0, 7.2),
    _piece("calibration", "asha", "a", 7.2, 0.8),
    _piece("eval", "asha", "a", 8.0, 2.0),
    _piece("calibration", "bina", "b", 0.0, 5.0),
    _piece("unseen", "chandra", "c", 0.0, 5.0),
]


def _checks(pieces):
    return {row["check"]: row for row in leakage_checks(piece_table(pieces))}


def test_clean_splits_pass():
    checks = _checks(CLEAN)
    assert {name: (row["found"], row["looked_at"]) for name, row in checks.items()} == {
        "unseen_speakers": (0, 1),
        "calibration_speakers": (0, 1),
        "overlaps": (0, 2),
        "same_audio": (0, 5),
    }
    assert all(row["passed"] for row in checks.values())


@pytest.mark.parametrize(
    ("check", "leak"),
    [
        ("unseen_speakers", _piece("train", "chandra", "d", 0.0, 1.0)),
        ("unseen_speakers", _piece("calibration", "chandra", "d", 0.0, 1.0)),
        ("calibration_speakers", _piece("train", "bina", "d", 0.0, 1.0)),
        ("overlaps", _piece("eval", "asha", "a", 7.9, 0.2)),
        # Within a long piece, and not beside its border.
        ("overlaps", _piece("eval", "asha", "a", 1.0, 0.5)),
        ("same_audio", _piece("eval", "asha", "e", 0.0, 7.2, "train a 0.0")),
    ],
)
def test_each_leak_is_found_by_its_check_alone(check, leak):
    failed = {name for name, row in _checks([*CLEAN, leak]).items() if row["passed"] is False}
    assert failed == {check}


def test_one_sound_twice_in_a_split_is_no_leak():
    again = _piece("train", "asha", "e", 0.0, 7.2, "train a 0.0")
    assert _checks([*CLEAN, again])["same_audio"]["passed"]


def test_without_held_out_speakers_there_is_nothing_to_check():
    checks = _checks(CLEAN[:3])
    assert checks["unseen_speakers"]["passed"] is None
    assert checks["calibration_speakers"]["passed"] is None


def test_rounded_seconds_are_no_overlap():
    pieces = [
        _piece("train", "asha", "a", 0.0, 10_000.0),
        _piece("eval", "asha", "a", 9_999.999, 5.0),
    ]
    assert _checks(pieces)["overlaps"]["passed"]


def test_a_gender_that_is_learnt_from_and_not_judged_on_is_told():
    male = [each._replace(gender="male") for each in CLEAN]
    assert genders_not_judged(data_card(piece_table(male), []), "unseen") == []
    mixed = [male[0], male[4], _piece("train", "gita", "g", 0.0, 1.0)._replace(gender="female")]
    assert genders_not_judged(data_card(piece_table(mixed), []), "unseen") == ["female"]
