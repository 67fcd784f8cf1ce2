"""Pair sampling: counts, disjoint windows, and nothing that depends on the order of work."""

import collections

import numpy as np
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from components.keyed_random import keyed_generator
from components.settings import PairCounts, PairSettings
from components.spectrogram_pair_gen.sampling import (
    SplitSpeakers,
    TimelineSegment,
    TrainSpeaker,
    WindowRequest,
    has_room,
    place,
    requests,
)


@given(total=st.integers(1, 60), chosen=st.integers(1, 60))
def test_speakers_under_conditions_are_so_many_and_evenly_spread(total, chosen):
    roster = [TrainSpeaker(f"{number:02d}") for number in range(total)]
    pair_settings = PairSettings(condition_speakers=chosen)
    repeated = [
        position
        for position, voice in enumerate(roster)
        if any(
            request.is_repeated
            for owner, request in requests("eval", voice, roster, COUNTS, pair_settings)
            if request.label == 1
        )
    ]
    assert len(repeated) == min(total, chosen)
    gaps = np.diff([*repeated, total])
    assert gaps.max() - gaps.min() <= 1


COUNTS = PairCounts(similar_per_speaker=5, dissimilar=3)
DISJOINT = PairSettings(windows="disjoint")


def listed(protocol, roster, counts=COUNTS):
    pair_settings = PairSettings(protocol=protocol)
    return [
        (owner, request)
        for speaker in roster
        for owner, request in requests("train", speaker, roster, counts, pair_settings)
    ]


def test_every_ordered_pair_gives_the_seeds_counts():
    roster = [TrainSpeaker(f"s{index:02d}") for index in range(34)]
    made = listed("every_ordered_pair", roster, PairCounts(similar_per_speaker=100, dissimilar=25))
    labels = collections.Counter(request.label for _, request in made if "a" in request.sides)
    assert labels == {1: 3_400, 0: 28_050}


@settings(max_examples=25)
@given(speakers=st.integers(2, 30), seed=st.integers(0, 1000))
def test_per_speaker_protocol_is_bounded_and_never_pairs_a_speaker_with_itself(speakers, seed):
    roster = [TrainSpeaker(f"s{index:02d}") for index in range(speakers)]
    pair_settings = PairSettings(seed=seed)
    sides: dict[str, dict[str, object]] = collections.defaultdict(dict)
    for speaker in roster:
        for owner, request in requests("eval", speaker, roster, COUNTS, pair_settings):
            for side in request.sides:
                sides[request.pair_id][side] = owner
                sides[request.pair_id]["label"] = request.label
    assert len(sides) == speakers * 8
    for pair in sides.values():
        assert set(pair) == {"a", "b", "label"}
        assert (pair["a"] == pair["b"]) == (pair["label"] == 1)


def test_counts_in_proportion_keep_their_mean_and_never_vanish():
    speech = {
        TrainSpeaker("much"): 300,
        TrainSpeaker("some"): 90,
        TrainSpeaker("little"): 10,
        TrainSpeaker("none"): 0,
    }
    roster = SplitSpeakers.of(speech.items())
    assert roster.speakers == tuple(sorted(speech))
    assert roster.mean_samples == 100
    counts = PairCounts(similar_per_speaker=20, dissimilar=0)
    made = {voice: roster.in_proportion(counts, samples) for voice, samples in speech.items()}
    assert [made[voice].similar_per_speaker for voice in speech] == [60, 18, 2, 1]
    assert {one.dissimilar for one in made.values()} == {0}


def test_a_lonely_speaker_has_no_different_speaker_trials():
    assert {request.label for _, request in listed("per_speaker", [TrainSpeaker("only")])} == {1}


def timelines():
    stretch = st.tuples(st.integers(0, 3), st.integers(1, 400))
    return st.lists(stretch, min_size=1, max_size=5).map(
        lambda items: [
            TimelineSegment(recording=f"r{recording}", piece=index, samples=samples, file="f")
            for index, (recording, samples) in enumerate(items)
        ]
    )


@settings(max_examples=300)
@given(timeline=timelines(), window=st.integers(1, 200), seed=st.integers(0, 10**6))
def test_disjoint_windows_lie_inside_do_not_overlap_and_prefer_other_recordings(
    timeline, window, seed
):
    assume(any(item.samples >= window for item in timeline))
    placed = place(WindowRequest(str(seed), 1, "ab"), TrainSpeaker("s"), timeline, window, DISJOINT)
    samples = {(item.recording, item.piece): item.samples for item in timeline}
    rooms = [item for item in timeline if item.samples >= window]
    if not placed:
        assert len(rooms) == 1 and rooms[0].samples < 2 * window
        return
    a, b = placed
    assert (a.side, b.side) == ("a", "b")
    for one in placed:
        assert 0 <= one.start <= samples[one.recording, one.piece] - window
    if (a.recording, a.piece) == (b.recording, b.piece):
        assert abs(a.start - b.start) >= window
    if len({item.recording for item in rooms}) > 1:
        assert a.recording != b.recording


def test_of_single_words_each_is_a_window_and_scraps_are_none():
    words = [
        TimelineSegment(name, 0, samples, "f") for name, samples in (("a", 60), ("b", 30), ("c", 9))
    ]
    assert has_room(words, 100) and not has_room(words[2:], 100)
    drawn = [
        place(WindowRequest(str(seed), 1, "ab"), TrainSpeaker("s"), words, 100, DISJOINT)
        for seed in range(20)
    ]
    assert {frozenset(item.recording for item in pair) for pair in drawn} == {frozenset("ab")}
    assert {item.start for pair in drawn for item in pair} == {0}
    assert not place(WindowRequest("0", 1, "ab"), TrainSpeaker("s"), words[:1], 100, DISJOINT)
    sentence = TimelineSegment("d", 0, 300, "f")
    placed = place(WindowRequest("0", 0, "a"), TrainSpeaker("s"), [*words, sentence], 100, DISJOINT)
    assert [item.recording for item in placed] == ["d"]


def test_starts_are_drawn_evenly():
    timeline = [
        TimelineSegment("r", 0, 12, "f"),
        TimelineSegment("r", 1, 6, "f"),
        TimelineSegment("r", 2, 4, "f"),
    ]
    starts = collections.Counter(
        (placed.piece, placed.start)
        for index in range(6_000)
        for placed in place(
            WindowRequest(str(index), 0, "a"), TrainSpeaker("s"), timeline, 5, DISJOINT
        )
    )
    assert sorted(starts) == [*((0, start) for start in range(8)), (1, 0), (1, 1)]
    assert np.allclose(list(starts.values()), 600, atol=120)


def test_draws_depend_on_the_key_alone():
    assert keyed_generator(0, "a").integers(10**9) == keyed_generator(0, "a").integers(10**9)
    assert keyed_generator(0, "a").integers(10**9) != keyed_generator(1, "a").integers(10**9)
    timeline = [TimelineSegment("r", 0, 1_000, "f")]
    request = WindowRequest("pair", 1, "ab")
    assert place(request, TrainSpeaker("s"), timeline, 10, DISJOINT) == place(
        request, TrainSpeaker("s"), timeline, 10, DISJOINT
    )
    reseeded = place(
        request, TrainSpeaker("s"), timeline, 10, PairSettings(windows="disjoint", seed=1)
    )
    assert place(request, TrainSpeaker("s"), timeline, 10, DISJOINT) != reseeded
