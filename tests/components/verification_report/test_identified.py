"""Who is recognised, once more from the speech itself, speaker by speaker."""

import itertools

import numpy as np

from components.pcm16 import pack_wav
from tests.components.verification_report.support_oracle import (
    assert_same,
    interval,
    part_of,
    spoken,
    utterances,
)
from tests.components.verification_report.support_report import RATE, PitchModel

NO_INTERVAL = [np.nan, np.nan]


def _embedding(report, row, seconds):
    """What the model makes of an utterance, cut from the speech by its place."""
    speech = spoken(report)
    (piece,) = [
        piece
        for _, piece in speech[speech["recording"] == row["recording"]].iterrows()
        if piece["split"] == row["set"]
        and piece["start"] - 1e-3 < row["start_seconds"]
        and row["start_seconds"] + seconds < piece["start"] + piece["seconds"] + 1e-3
    ]
    samples = np.frombuffer(piece["pcm16"], "<i2")
    first = round((row["start_seconds"] - piece["start"]) * RATE)
    wav = pack_wav(samples[first : first + round(seconds * RATE)], RATE)
    return PitchModel().embed([wav]).embedding[0].astype(np.float64)


def _asked(own, count):
    """A speaker's utterances to enrol, and those to ask about."""
    own = own.sort_values(["recording", "start_seconds"])
    enrolled, rest = own[:count], own[count:]
    untouched = rest[~rest["recording"].isin(enrolled["recording"])]
    # Of the last recording that was enrolled, what follows is behind it.
    return (enrolled, rest if untouched.empty else untouched) if len(enrolled) == count else None


def _ranks(rows, report, seconds, count):
    """The right speaker's place among the enrolled, query by query of each speaker."""
    speakers = {}
    for name, own in utterances(rows).groupby("speaker"):
        asked = _asked(own, count)
        if asked and len(asked[1]):
            speakers[name] = [
                np.stack([_embedding(report, row, seconds) for _, row in part.iterrows()])
                for part in asked
            ]
    references = {name: enrolled.mean(axis=0) for name, (enrolled, _) in speakers.items()}
    references = {name: mean / np.linalg.norm(mean) for name, mean in references.items()}
    return [
        [
            sorted(references, key=lambda name: np.linalg.norm(query - references[name])).index(own)
            for query in queries
        ]
        for own, (_, queries) in speakers.items()
    ]


def _share(ranks, top, report):
    """Of all queries, with its interval over speakers; nothing where anybody is among so many."""
    if len(ranks) <= top:
        return dict(zip(("value", "low", "high"), [np.nan, *NO_INTERVAL], strict=True))
    rng = np.random.default_rng(report.settings.seed)
    even = [1.0 / len(ranks)] * len(ranks)
    drawn = [
        np.mean([rank < top for own, times in zip(ranks, each, strict=True)
                 for rank in own * times])
        for each in rng.multinomial(len(ranks), even, report.settings.resamples)
    ]  # fmt: skip
    value = np.mean([rank < top for rank in itertools.chain(*ranks)])
    return dict(zip(("value", "low", "high"), [float(value), *interval(drawn)], strict=True))


def test_who_is_recognised_is_found_again(either, scores):
    seconds = max(scores["duration_seconds"])
    expected = []
    for name, wanted in itertools.product(("eval", "unseen"), either.settings.enrolment_seconds):
        rows = part_of(scores, {"set": name, "duration_seconds": seconds})
        ranks = _ranks(rows, either, seconds, int(np.ceil(wanted / seconds)))
        if len(ranks) < 2:
            continue
        figures = {f"top_{top}": _share(ranks, top, either) for top in (1, 5)}
        expected.append(
            {
                "set": name, "enrolment_seconds": wanted, "query_seconds": seconds,
                "speakers": len(ranks), "queries": sum(map(len, ranks)), "figures": figures,
            }
        )  # fmt: skip
    assert len(expected) >= 3
    assert_same(either.figures["identification"], expected)


def test_somebody_is_mistaken_for_somebody_else(made, troubled):
    shares = [
        row["figures"]["top_1"]["value"]
        for report in (made, troubled)
        for row in report.figures["identification"]
    ]
    assert min(shares) < 1.0
