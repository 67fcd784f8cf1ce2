"""The numbers that do not follow from scores, from the speech, the rejects and the model's card."""

from collections import Counter

import pytest

from tests.components.verification_report.support_oracle import assert_same, spoken
from tests.components.verification_report.support_report import (
    REJECTS,
    SEEN,
    SPLIT_SECONDS,
    UNSEEN,
)

SPLITS = ("train", "calibration", "eval", "unseen")
ROLES = ("trained on", "calibration only", "unseen")


@pytest.fixture
def speech(either):
    return spoken(either)


def test_the_data_card_counts_the_speech(made):
    data = made.figures["data"]
    assert data["speakers"] == len(SEEN) + len(UNSEEN)
    assert data["recordings"] == len(SEEN) + 2 * len(UNSEEN)
    minutes = {split: len(SEEN) * seconds / 60.0 for split, seconds in SPLIT_SECONDS.items()}
    minutes["unseen"] = len(UNSEEN) * 2 * 5 / 60.0
    assert {part["split"]: part["minutes"] for part in data["splits"]} == pytest.approx(minutes)
    figures = {row["speaker"]: (row["gender"], row["role"]) for row in data["by_speaker"]}
    assert figures == {name: (gender, "trained on") for name, gender in SEEN.items()} | {
        name: (gender, "unseen") for name, gender in UNSEEN.items()
    }
    assert data["rejects"] == REJECTS


def test_synthetic_speakers_and_those_of_the_training_are_counted(made, many):
    assert made.figures["data"]["synthetic_speakers"] == 0
    assert many.figures["data"]["synthetic_speakers"] == many.figures["data"]["speakers"]
    assert made.figures["trained_speakers"] == len(SEEN)


def test_totals_are_those_of_the_speech(either, speech):
    data = either.figures["data"]
    figures = {name: data[name] for name in ("speakers", "recordings", "minutes")}
    expected = {
        "speakers": len(set(speech["speaker"])),
        "recordings": len(set(speech["recording"])),
        "minutes": sum(speech["seconds"]) / 60.0,
    }
    assert_same(figures, expected)


def test_splits_are_those_of_the_speech(either, speech):
    expected = []
    for split in SPLITS:
        own = speech[speech["split"] == split]
        people = dict(zip(own["speaker"], own["gender"], strict=True))
        genders = Counter(people.values())
        expected.append(
            {
                "split": split,
                "speakers": len(people),
                **{name: genders[name] for name in ("female", "male", "unknown")},
                "recordings": len(set(own["recording"])),
                "minutes": sum(own["seconds"]) / 60.0,
            }
        )
    assert_same(either.figures["data"]["splits"], expected)


def test_speakers_are_those_of_the_speech(either, speech):
    rows = []
    for speaker in set(speech["speaker"]):
        own = speech[speech["speaker"] == speaker]
        splits = set(own["split"])
        role = "unseen" if "unseen" in splits else "calibration only"
        seconds = {split: sum(own["seconds"][own["split"] == split]) for split in SPLITS}
        rows.append(
            {
                "speaker": speaker,
                "gender": next(iter(own["gender"])),
                "role": "trained on" if "train" in splits else role,
                "recordings": len(set(own["recording"])),
                "minutes": {split: each / 60.0 for split, each in seconds.items()},
            }
        )
    rows.sort(key=lambda row: (ROLES.index(row["role"]), row["gender"], row["speaker"]))
    expected = [{"number": number, **row} for number, row in enumerate(rows, 1)]
    assert_same(either.figures["data"]["by_speaker"], expected)


def test_every_role_is_played(troubled):
    assert {row["role"] for row in troubled.figures["data"]["by_speaker"]} == set(ROLES)


def test_rejects_are_counted_and_the_first_are_listed(either):
    data = either.figures["data"]
    reasons = Counter(row["reason"] for row in either.rejects)
    assert data["rejected"] == len(either.rejects)
    assert data["rejected_by_reason"] == [
        {"reason": reason, "count": reasons[reason]} for reason in sorted(reasons)
    ]
    assert data["rejects"] == either.rejects[:30]


def _check(name, found, looked_at):
    passed = None if not looked_at else not found
    return {"check": name, "found": found, "looked_at": looked_at, "passed": passed}


def _shared_seconds(speech):
    """Of each piece that has a piece of another split before it in its recording."""
    order = [*zip(speech["start"], speech["split"], speech["recording"], strict=True)]
    ends = speech["start"] + speech["seconds"]
    for start, split, recording in order:
        before = [
            end
            for end, each in zip(ends, order, strict=True)
            if each[:2] < (start, split) and each[2] == recording and each[1] != split
        ]
        if before:
            yield max(before) - start


def test_leaks_are_those_of_the_speech(either, speech):
    of = {split: set(speech["speaker"][speech["split"] == split]) for split in SPLITS}
    held_out = of["calibration"] - of["eval"]
    known = of["train"] | of["calibration"] | of["eval"]
    splits_of = speech.groupby("pcm16")["split"].nunique()
    shared = list(_shared_seconds(speech))
    expected = [
        _check("unseen_speakers", len(of["unseen"] & known), len(of["unseen"])),
        _check("calibration_speakers", len(held_out & of["train"]), len(held_out)),
        _check("overlaps", sum(seconds > 0.01 for seconds in shared), len(shared)),
        _check("same_audio", int(sum(splits_of > 1)), len(splits_of)),
    ]
    assert either.figures["checks"] == expected
    learnt, judged = (
        set(speech["gender"][speech["split"] == split]) for split in ("train", "unseen")
    )
    assert either.figures["genders_not_judged"] == sorted(learnt - judged - {"unknown"})


def test_every_leak_is_there_once_and_men_are_not_judged(troubled):
    assert [row["found"] for row in troubled.figures["checks"]] == [1, 1, 1, 1]
    assert troubled.figures["genders_not_judged"] == ["male"]


def test_what_the_model_refuses_is_counted(either, scores, possible):
    refused: Counter[str] = Counter()
    for (name, seconds), rows in scores.groupby(["set", "duration_seconds"]):
        bound = either.settings.utterances_per_speaker
        chosen = sum(min(bound, each) for each in possible(name, seconds).values())
        refused[name] += chosen - len({*rows["utterance_a"], *rows["utterance_b"]})
    expected = [
        {"set": name, "reason": "no_speech", "count": count}
        for name, count in sorted(refused.items())
        if count
    ]
    assert either.figures["unusable"] == expected


def test_the_model_refuses_some(made, troubled):
    assert made.figures["unusable"] == []
    assert [row["set"] for row in troubled.figures["unusable"]] == ["eval", "unseen"]


def test_the_card_is_told_as_it_is(either):
    card, figures = either.card, either.figures
    trainer = ("blocks", "head", "loss", "weights", "epochs", "learning_rate")
    whole = ("model", "config", "data", "code")
    assert figures["model"] == {
        **{f"{name}_digest": card[f"{name}_digest"] for name in whole},
        **{name: card[name] for name in ("sample_rate", "embedding_size", "threshold", "slope")},
        **{name: card["trainer"][name] for name in trainer},
        "best_epoch": card["best_epoch"],
        "window_seconds": card["spectrogram"]["window_seconds"],
        "max_seconds": card["serving"]["max_seconds"],
    }
    assert figures["history"] == card["history"]
    assert figures["blessed"] == either.blessed
    assert figures["settings"] == either.settings.model_dump(mode="json")
