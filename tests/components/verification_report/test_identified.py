"""Who is recognised, once more from the speech itself, speaker by speaker."""

import itertools
from typing import Any

import numpy as np
import pytest

from components.keyed_random import keyed_generator
from components.pcm16 import pack_wav
from components.verification.gallery_threshold import gallery_threshold
from tests.components.verification_report.support_oracle import (
    assert_same,
    interval,
    part_of,
    spoken,
    utterances,
    widened,
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


def _searches(rows, report, seconds, count):
    """Embeddings of each speaker: of what is enrolled, and of what is asked about."""
    speakers = {}
    for name, own in utterances(rows).groupby("speaker"):
        asked = _asked(own, count)
        if asked and len(asked[1]):
            speakers[name] = [
                np.stack([_embedding(report, row, seconds) for _, row in part.iterrows()])
                for part in asked
            ]
    return speakers


def _references(speakers):
    """The mean of each speaker's embeddings, of norm 1."""
    means = {name: enrolled.mean(axis=0) for name, (enrolled, _) in speakers.items()}
    return {name: mean / np.linalg.norm(mean) for name, mean in means.items()}


def _ranks(speakers):
    """The right speaker's place among the enrolled, query by query of each speaker."""
    references = _references(speakers)
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
    bounds = widened(interval(drawn), value, len(ranks))
    return dict(zip(("value", "low", "high"), [float(value), *bounds], strict=True))


def test_who_is_recognised_is_found_again(either, scores):
    seconds = max(scores["duration_seconds"])
    expected = []
    for name, wanted in itertools.product(("eval", "unseen"), either.settings.enrolment_seconds):
        rows = part_of(scores, {"set": name, "duration_seconds": seconds})
        ranks = _ranks(_searches(rows, either, seconds, int(np.ceil(wanted / seconds))))
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


def _distances(speakers, reference):
    """Speaker by speaker, each query's distance from everybody."""
    means = _references(speakers)
    compared = {
        name: means[name][np.newaxis] if reference == "mean" else enrolled
        for name, (enrolled, _) in speakers.items()
    }
    return {
        own: [
            {
                name: np.linalg.norm(vectors - query, axis=1).min()
                for name, vectors in compared.items()
            }
            for query in queries
        ]
        for own, (_, queries) in speakers.items()
    }


def _outcomes(distances, report):
    """Of every query in every gallery of two: who asks, is that one enrolled, who is nearest."""
    names = list(distances)
    for number in range(50):
        order = keyed_generator(report.settings.seed, "galleries", number).permutation(len(names))
        gallery = [names[place] for place in order[:2]]
        for own, queries in distances.items():
            for distance in queries:
                nearest = min(gallery, key=distance.__getitem__)
                yield own, own in gallery, nearest, distance[nearest]


def _half_way(distances, share):
    """Between the last of so many that may pass and the next one that is farther."""
    distances = np.sort(distances)
    passing = int(share * len(distances))
    farther = distances[passing]
    nearer = distances[:passing][distances[:passing] < farther]
    return (farther + (nearer[-1] if len(nearer) else 0.0)) / 2.0


def _rates(outcomes, threshold, times):
    """FPIR and FNIR, every search as often as its speakers are drawn."""
    counts = np.zeros((2, 2))
    for own, is_enrolled, nearest, distance in outcomes:
        named = distance <= threshold
        is_wrong = not (named and own == nearest) if is_enrolled else named
        counts[int(is_enrolled), int(is_wrong)] += times[own] * (
            1 if is_enrolled else times[nearest]
        )
    with np.errstate(invalid="ignore"):
        return counts[:, 1] / counts.sum(axis=1)


def _held_rate(outcomes, names):
    """The least of the larger of FPIR and FNIR, with the threshold at every distance."""
    once = dict.fromkeys(names, 1)
    thresholds = {0.0, *(distance for *_, distance in outcomes)}
    return min(max(_rates(outcomes, threshold, once)) for threshold in thresholds)


def _estimates(outcomes, names, threshold, report):
    """FPIR and FNIR with their intervals."""
    rng = np.random.default_rng(report.settings.seed)
    even = [1.0 / len(names)] * len(names)
    drawn = [
        _rates(outcomes, threshold, dict(zip(names, each, strict=True)))
        for each in rng.multinomial(len(names), even, report.settings.resamples)
    ]
    values = _rates(outcomes, threshold, dict.fromkeys(names, 1))
    found = {}
    for place, kind in enumerate(("fpir", "fnir")):
        people = len({own for own, is_enrolled, *_ in outcomes if is_enrolled == place})
        low, high = widened(interval([each[place] for each in drawn]), values[place], people)
        found[kind] = {"value": float(values[place]), "low": low, "high": high}
    return found


def test_galleries_of_two_are_searched_again(either, scores):
    """Of four or five speakers no larger gallery is drawn."""
    seconds = max(scores["duration_seconds"])
    points = either.card["calibration"].get("operating_points", [])
    actual, expected = either.figures["open_set"], list[dict[str, Any]]()
    for name, wanted in itertools.product(("eval", "unseen"), either.settings.enrolment_seconds):
        rows = part_of(scores, {"set": name, "duration_seconds": seconds})
        speakers = _searches(rows, either, seconds, int(np.ceil(wanted / seconds)))
        for reference in ("mean", "best_match") if len(speakers) > 2 else ():
            outcomes = list(_outcomes(_distances(speakers, reference), either))
            nonmated = [distance for _, is_enrolled, _, distance in outcomes if not is_enrolled]
            held = {
                f"fpir_{fpir:g}": actual[len(expected)]["rates"][f"fpir_{fpir:g}"]["threshold"]
                for fpir in (0.05, 0.01)
            }
            # Float32 distances: the threshold between two of them differs in its last digits.
            half_way = [_half_way(nonmated, fpir) for fpir in (0.05, 0.01)]
            assert list(held.values()) == pytest.approx(half_way, abs=1e-4)
            thresholds = held | {
                "default": gallery_threshold(either.card, either.card["threshold"], 2),
                "per_query_0.05": points[1]["threshold"] if points else None,  # 2 % of 2.53 %
            }
            nothing = dict.fromkeys(
                ("fpir", "fnir"), dict.fromkeys(("value", "low", "high"), np.nan)
            )
            rates = {
                kind: {"threshold": threshold}
                | (
                    nothing
                    if threshold is None
                    else _estimates(outcomes, list(speakers), threshold, either)
                )
                for kind, threshold in thresholds.items()
            }
            expected.append(
                {
                    "set": name, "enrolment_seconds": wanted, "query_seconds": seconds,
                    "reference": reference, "gallery_speakers": 2, "speakers": len(speakers),
                    "galleries": 50, "mated_searches": len(outcomes) - len(nonmated),
                    "nonmated_searches": len(nonmated), "rates": rates,
                    "held_rate": _held_rate(outcomes, list(speakers)),
                    "comparison_rate": 1.0 - 0.95**0.5, "speakers_needed": None,
                    "missing": None if points else "no_operating_points",
                }
            )  # fmt: skip
    assert len(expected) >= 4
    assert_same(actual, expected)


def test_some_unknown_speakers_get_a_name_and_some_enrolled_ones_do_not(made, troubled):
    rows = [row for report in (made, troubled) for row in report.figures["open_set"]]
    for kind in ("fpir", "fnir"):
        shares = {row["rates"]["default"][kind]["value"] for row in rows}
        assert max(shares) > 0.0
        assert len(shares) > 1
