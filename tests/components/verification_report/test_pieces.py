"""What is cut is what lies there, in bounds, and the same again."""

from collections import Counter
from itertools import pairwise

import numpy as np
import pytest

from components import features
from components.verification.utterances import UtterancePlan
from components.verification_report.judging import utterance_durations
from components.verification_report.pieces import cut, positions_of, repeated_words
from tests.components.verification_report.support_report import (
    RATE,
    SETTINGS,
    WINDOW_SAMPLES,
    piece,
    pieces_of,
    voice,
    write_speech,
)


@pytest.fixture
def pieces(tmp_path):
    """Two pieces of 6.3 s of one recording, one of 1.2 s of another, one speaker."""
    pcm16 = voice(1, 13.8)
    borders = np.array([0.0, 6.3, 12.6, 13.8])
    spans = [pcm16[round(a * RATE) : round(b * RATE)] for a, b in pairwise(borders)]
    examples = [
        piece("asha", "female", "one", 2.0, spans[0]),
        piece("asha", "female", "one", 8.3, spans[1], 1),
        piece("asha", "female", "two", 0.0, spans[2]),
    ]
    return pieces_of(write_speech(tmp_path, {features.EVAL: examples}))


def _cuts(pieces, settings=SETTINGS):
    durations = utterance_durations({features.EVAL: pieces}, WINDOW_SAMPLES, RATE, settings)
    plan = UtterancePlan(
        features.EVAL,
        [round(seconds * RATE) for seconds in durations],
        RATE,
        per_speaker=settings.utterances_per_speaker,
        seed=settings.seed,
    )
    batches = cut(positions_of(pieces, plan), plan)
    cuts = [each for batch in batches for each in batch]
    return {samples / RATE: count for samples, count in plan.possible.items()}, cuts


def _sounds(*arguments):
    """Comparable: an array equals no other."""
    return [(each.utterance, each.pcm16.tobytes()) for each in _cuts(*arguments)[1]]


def test_utterances_hold_the_samples_of_their_place(pieces):
    _, cuts = _cuts(pieces)
    assert cuts
    starts = {"one": 2.0, "two": 0.0}
    spoken = {
        "one": voice(1, 13.8)[: round(12.6 * RATE)],
        "two": voice(1, 13.8)[round(12.6 * RATE) :],
    }
    for utterance, samples, rate, _ in cuts:
        first = round((utterance.start_seconds - starts[utterance.recording]) * RATE)
        expected = spoken[utterance.recording][first : first + len(samples)]
        np.testing.assert_array_equal(samples, expected)
        assert (rate, len(samples)) == (RATE, utterance.duration_seconds * RATE)


def test_no_more_than_the_bound_and_none_twice(pieces):
    possible, cuts = _cuts(pieces)
    counts = Counter(each.utterance.duration_seconds for each in cuts)
    assert counts == {0.5: SETTINGS.utterances_per_speaker, 1.0: SETTINGS.utterances_per_speaker}
    assert len({(each.utterance.utterance) for each in cuts}) == len(cuts)
    assert possible == {0.5: 12 + 12 + 2, 1.0: 6 + 6 + 1}


def test_the_same_seed_gives_the_same_utterances(pieces):
    assert _sounds(pieces) == _sounds(list(reversed(pieces)))
    other = SETTINGS.model_copy(update={"seed": 1})
    assert _sounds(pieces) != _sounds(pieces, other)


def test_a_duration_below_the_window_is_the_window(pieces):
    short = SETTINGS.model_copy(update={"duration_seconds": (0.1, 0.2)})
    assert {each.utterance.duration_seconds for each in _cuts(pieces, short)[1]} == {0.5}


def test_where_nobody_speaks_long_enough_the_window_is_taken_too(pieces):
    long = SETTINGS.model_copy(update={"duration_seconds": (6.0, 20.0)})
    possible, _ = _cuts(pieces[:1], long)
    assert possible == {
        0.5: 12, 6.0: 1, 20.0: 0,
    }  # fmt: skip


def test_single_words_are_repeated_to_a_window(tmp_path):
    word, more = voice(1, 0.3), voice(2, 0.4)
    examples = [
        piece("asha", "female", "one", 0.0, word),
        piece("bina", "female", "long", 0.0, voice(3, 1.0)),
        piece("bina", "female", "short", 0.0, more),
    ]
    pieces = pieces_of(write_speech(tmp_path, {features.EVAL: examples}))
    _, cuts = _cuts(repeated_words(pieces, WINDOW_SAMPLES))
    of = {each.utterance.recording: each.pcm16 for each in cuts}
    assert set(of) == {"one", "long"}  # who has a longer one needs no words
    np.testing.assert_array_equal(of["one"], np.resize(word, WINDOW_SAMPLES))
