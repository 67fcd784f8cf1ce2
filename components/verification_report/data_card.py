"""The data behind a model: speakers, minutes, unused recordings, and possible leaks."""

import itertools
import operator
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import pandas as pd

from components import features
from components.verification.manifest_columns import synthetic_speakers
from components.verification.utterances import Unused
from components.verification_report.pieces import SpeechPiece

TRAINED_ON: Final = "trained on"
CALIBRATED_ON: Final = "calibration only"
UNSEEN: Final = "unseen"
ROLES: Final = (TRAINED_ON, CALIBRATED_ON, UNSEEN)
REJECTS_LISTED: Final = 30
# Seconds are stored as float32, whose step three hours into a recording is a millisecond.
OVERLAP_SECONDS: Final = 0.01
SECONDS_IN_A_MINUTE: Final = 60.0


def piece_table(pieces: Sequence[SpeechPiece]) -> pd.DataFrame:
    """A row for each piece, with `minutes` and `seconds` beside its own fields."""
    table = pd.DataFrame(pieces, columns=SpeechPiece._fields)
    table["seconds"] = table["samples"] / table["sample_rate"]
    table["minutes"] = table["seconds"] / SECONDS_IN_A_MINUTE
    return table


def data_card(table: pd.DataFrame, rejects: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Totals, splits, speakers, and recordings that were not used.

    Args:
        table: a `piece_table` of every split, with the data's own columns.
        rejects: rows `file`, `reason`, `seconds`, `detail`.
    """
    splits = [split for split in features.SPLITS if split in set(table["split"])]
    return {
        "speakers": int(table["speaker"].nunique()),
        "recordings": int(table["recording"].nunique()),
        "minutes": float(table["minutes"].sum()),
        "synthetic_speakers": synthetic_speakers(table),
        "repeated": 0,
        "splits": [_of_split(split, table[table["split"] == split]) for split in splits],
        "by_speaker": _by_speaker(table, splits),
        **_rejects(rejects),
    }


def evaluation_card(
    utterances: pd.DataFrame, rejected: Sequence[Unused], repeated: int
) -> dict[str, Any]:
    """Speakers whose utterances were compared, and recordings that gave none; no splits or minutes.

    Args:
        utterances: UTTERANCE_COLUMNS, of all sets.
        rejected: recordings.
        repeated: how many recordings were repeated to a window.
    """
    of_speaker = utterances.groupby("speaker")
    facts = of_speaker.agg(gender=("gender", "first"), recordings=("recording", "nunique"))
    sets = of_speaker["set"].agg(lambda names: ", ".join(dict.fromkeys(names)))
    rows: list[dict[str, Any]] = [
        {
            "speaker": speaker,
            "gender": gender,
            "role": sets[speaker],
            "recordings": recordings,
            "minutes": {},
        }
        for speaker, gender, recordings in facts.itertuples(name=None)
    ]
    rows.sort(key=lambda row: (row["role"], row["gender"], row["speaker"]))
    return {
        "speakers": len(rows),
        "recordings": len(utterances[["set", "recording"]].drop_duplicates()),
        "minutes": None,
        "synthetic_speakers": synthetic_speakers(utterances),
        "repeated": repeated,
        "splits": [],
        "by_speaker": [{"number": number, **row} for number, row in enumerate(rows, 1)],
        **_rejects(
            [
                {"file": each.name, "reason": each.reason, "seconds": None, "detail": each.detail}
                for each in rejected
            ]
        ),
    }


def _rejects(rejects: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    reasons = Counter(row["reason"] for row in rejects)
    return {
        "rejected": len(rejects),
        "rejected_by_reason": [
            {"reason": reason, "count": count} for reason, count in sorted(reasons.items())
        ],
        "rejects": [dict(row) for row in rejects[:REJECTS_LISTED]],
    }


def _of_split(split: str, part: pd.DataFrame) -> dict[str, Any]:
    gender = part.groupby("speaker")["gender"].first()
    return {
        "split": split,
        "speakers": int(part["speaker"].nunique()),
        **{name: int((gender == name).sum()) for name in features.GENDERS},
        "recordings": int(part["recording"].nunique()),
        "minutes": float(part["minutes"].sum()),
    }


def _by_speaker(table: pd.DataFrame, splits: Sequence[str]) -> list[dict[str, Any]]:
    """Speakers by role, gender and name; their places, from 1, are their numbers in plots."""
    of_speaker = table.groupby("speaker")
    facts = of_speaker.agg(gender=("gender", "first"), recordings=("recording", "nunique"))
    minutes = table.groupby(["speaker", "split"])["minutes"].sum().unstack(fill_value=0.0)
    present = of_speaker["split"].agg(set)
    rows: list[dict[str, Any]] = [
        {
            "speaker": speaker,
            "gender": gender,
            "role": _role(present[speaker]),
            "recordings": recordings,
            "minutes": {split: float(minutes.at[speaker, split]) for split in splits},
        }
        for speaker, gender, recordings in facts.itertuples(name=None)
    ]
    rows.sort(key=lambda row: (ROLES.index(row["role"]), row["gender"], row["speaker"]))
    return [{"number": number, **row} for number, row in enumerate(rows, 1)]


def _role(splits: set[str]) -> str:
    if features.TRAIN in splits:
        return TRAINED_ON
    return UNSEEN if features.UNSEEN in splits else CALIBRATED_ON


def genders_not_judged(card: Mapping[str, Any], judged_on: str) -> list[str]:
    """The genders that a model learnt from and that the split it is judged on lacks.

    Args:
        card: from `data_card`.
        judged_on: that split.
    """
    of = {row["split"]: row for row in card["splits"]}
    learnt, judged = of.get(features.TRAIN, {}), of[judged_on]
    return [name for name in ("female", "male") if learnt.get(name) and not judged[name]]


def leakage_checks(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Checks whether a model learnt from the data that it is judged on.

    Args:
        table: a `piece_table` of every split.

    Returns:
        For each check its name `check`, the numbers `found` and `looked_at`, and `passed`: whether
        none was found, None if there was nothing to look at.
    """
    speakers = {split: set(own["speaker"]) for split, own in table.groupby("split")}
    trained_on = speakers.get(features.TRAIN, set())
    unseen = speakers.get(features.UNSEEN, set())
    others = set().union(*(speakers[split] for split in speakers if split != features.UNSEEN))
    # Speakers whose later speech is in `eval` are trained on by design.
    held_out = speakers.get(features.CALIBRATION, set()) - speakers.get(features.EVAL, set())
    by_digest = table.groupby("digest")["split"].nunique()
    shared = list(_shared_seconds(table))
    return [
        _check("unseen_speakers", len(unseen & others), len(unseen)),
        _check("calibration_speakers", len(held_out & trained_on), len(held_out)),
        _check("overlaps", sum(each > OVERLAP_SECONDS for each in shared), len(shared)),
        _check("same_audio", int((by_digest > 1).sum()), len(by_digest)),
    ]


def _check(name: str, found: int, looked_at: int) -> dict[str, Any]:
    passed = found == 0 if looked_at else None
    return {"check": name, "found": found, "looked_at": looked_at, "passed": passed}


def _shared_seconds(table: pd.DataFrame) -> Iterator[float]:
    """Seconds that each piece shares with earlier ones of other splits in its recording."""
    columns = ["recording", "start_seconds", "split", "seconds"]
    pieces = table[columns].sort_values(columns[:3]).itertuples(index=False, name=None)
    for _, own in itertools.groupby(pieces, key=operator.itemgetter(0)):
        ends: dict[str, float] = {}
        for _, start, split, seconds in own:
            others = [end for other, end in ends.items() if other != split]
            if others:
                yield max(others) - start
            ends[split] = max(ends.get(split, 0.0), start + seconds)
