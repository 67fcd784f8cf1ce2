"""Grouping, smoothing and turns on made embeddings whose answer is known."""

import itertools

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving import diarization
from serving.answers import Vector
from serving.diarization import (
    best_sequence,
    follow_speakers,
    group_windows,
    islands,
    pieces,
    turns_of,
    window_positions,
)

DIMENSIONS = 32


def euclidean(a: Vector, b: Vector) -> npt.NDArray[np.float64]:
    apart: npt.NDArray[np.float64] = np.linalg.norm(a - b, axis=1).astype(np.float64)
    return apart


def windows_of(speakers: npt.ArrayLike, noise: float = 0.05, seed: int = 0) -> Vector:
    """float32 [N, D]: a direction for each speaker, and noise."""
    vectors = np.eye(DIMENSIONS)[np.asarray(speakers)]
    vectors = vectors + noise * np.random.default_rng(seed).normal(size=vectors.shape)
    unit: Vector = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    return unit


def test_islands_end_at_long_pauses() -> None:
    ranges = np.array([[0, 10], [12, 20], [31, 40], [50, 60]])
    assert [each.tolist() for each in islands(ranges, 10)] == [
        [[0, 10], [12, 20]],
        [[31, 40], [50, 60]],
    ]
    assert islands(ranges[:0], 10) == []


@given(st.integers(1, 500), st.integers(3, 60), st.integers(1, 30))
def test_windows_cover_the_speech_evenly(samples: int, window: int, hop: int) -> None:
    positions = window_positions(samples, window, hop)
    assert positions[0, 0] == 0
    assert positions[-1, 1] == samples
    if samples <= window:
        assert len(positions) == 1
    else:
        assert set(positions[:, 1] - positions[:, 0]) == {window}
        steps = np.diff(positions[:, 0])
        assert steps.max() <= hop
        assert steps.max() - steps.min() <= 1


def test_pieces_leave_out_the_pauses() -> None:
    island = np.array([[100, 110], [120, 125], [200, 230]])
    assert pieces(island, 8, 17).tolist() == [[108, 110], [120, 125], [200, 202]]
    assert pieces(island, 0, 45).tolist() == island.tolist()
    assert pieces(island, 10, 15).tolist() == [[120, 125]]


@pytest.mark.parametrize("count", [1, 2, 60])
def test_windows_of_a_speaker_are_one_group(count: int) -> None:
    (group,) = group_windows(windows_of([3] * count), euclidean, 0.9)
    assert group.tolist() == list(range(count))


def test_windows_are_grouped_by_speaker_in_the_order_of_their_first() -> None:
    speakers = np.array([4, 4, 1, 4, 7, 1, 1, 7])
    groups = group_windows(windows_of(speakers), euclidean, 0.9)
    assert [group.tolist() for group in groups] == [
        np.flatnonzero(speakers == speaker).tolist() for speaker in (4, 1, 7)
    ]


def test_average_linkage_is_that_of_all_pairs() -> None:
    """One block is what scipy's definition says: the two nearest groups by mean distance."""
    vectors = windows_of(np.random.default_rng(1).integers(0, 3, 12), noise=0.6)
    groups = [[at] for at in range(len(vectors))]
    while len(groups) > 1:
        means = {
            (a, b): np.mean([np.linalg.norm(vectors[i] - vectors[j]) for i in a for j in b])
            for a, b in itertools.combinations(map(tuple, groups), 2)
        }
        nearest = min(means, key=lambda pair: means[pair])
        if means[nearest] > 1.2:
            break
        groups = [g for g in groups if tuple(g) not in nearest] + [[*nearest[0], *nearest[1]]]
    found = [group.tolist() for group in group_windows(vectors, euclidean, 1.2)]
    assert sorted(found) == sorted(map(sorted, groups))
    assert 1 < len(found) < len(vectors)


def test_a_long_recording_is_grouped_in_parts_of_bounded_size() -> None:
    speakers = np.random.default_rng(2).integers(0, 5, 4 * diarization.WINDOWS_AT_ONCE + 7)
    compared: list[int] = []

    def counted(a: Vector, b: Vector) -> npt.NDArray[np.float64]:
        compared.append(len(a))
        return euclidean(a, b)

    groups = group_windows(windows_of(speakers), counted, 0.9)
    assert sorted(group.tolist() for group in groups) == sorted(
        np.flatnonzero(speakers == speaker).tolist() for speaker in range(5)
    )
    most = diarization.WINDOWS_AT_ONCE
    assert max(compared) == most * (most - 1) // 2


def test_more_speakers_than_a_part_are_still_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(diarization, "WINDOWS_AT_ONCE", 8)
    monkeypatch.setattr(diarization, "GROUPS_AT_ONCE", 4)
    speakers = np.tile(np.arange(20), 3)
    groups = group_windows(windows_of(speakers, noise=0.02), euclidean, 0.9)
    assert len(groups) == 20
    assert all(len(set(speakers[group])) == 1 for group in groups)


@given(
    st.integers(1, 6).flatmap(
        lambda count: st.lists(
            st.lists(st.floats(-1, 1, width=16), min_size=3, max_size=3),
            min_size=count,
            max_size=count,
        )
    ),
    st.floats(0.0, 1.0, width=16),
)
def test_the_best_sequence_is_as_good_as_the_best_of_all(
    rows: list[list[float]], cost: float
) -> None:
    similarity = np.array(rows)

    def worth(sequence: tuple[int, ...]) -> float:
        changes = sum(a != b for a, b in itertools.pairwise(sequence))
        return sum(row[state] for row, state in zip(rows, sequence, strict=True)) - cost * changes

    best = max(map(worth, itertools.product(range(3), repeat=len(rows))))
    found = tuple(best_sequence(similarity, cost).tolist())
    assert worth(found) == pytest.approx(best, abs=1e-9)


def test_a_window_that_differs_a_little_stays_with_its_neighbours() -> None:
    speakers = [2] * 6 + [5] * 6
    vectors = windows_of(speakers, noise=0.0)
    mixed = 0.52 * vectors[-1] + 0.48 * vectors[0]
    vectors[3] = mixed / np.linalg.norm(mixed)
    groups = [np.array([0, 1, 2, 4, 5]), np.array([3, 6, 7, 8, 9, 10, 11])]
    assert follow_speakers(vectors, groups, 2).tolist() == [0] * 6 + [1] * 6


def test_a_window_without_an_embedding_goes_with_its_neighbours() -> None:
    vectors = windows_of([2, 2, 2, 2, 5, 5, 5], noise=0.0)
    vectors[[0, 2]] = np.nan
    groups = [np.array([4, 5, 6]), np.array([1, 3])]
    assert follow_speakers(vectors, groups, 1).tolist() == [0, 0, 0, 0, 1, 1, 1]


def test_small_groups_are_given_up_but_the_largest() -> None:
    vectors = windows_of([2, 2, 2, 9, 5, 5, 5], noise=0.0)
    groups = [np.array([0, 1, 2]), np.array([3]), np.array([4, 5, 6])]
    assert set(follow_speakers(vectors, groups, 2).tolist()) == {0, 1}
    assert set(follow_speakers(vectors, groups, 99).tolist()) == {0}


ISLAND = np.array([[1000, 1100], [1150, 1250]])
WINDOWS = window_positions(200, 60, 20)  # with their middles at 30, 50, 70 ... 170


def test_a_change_lies_midway_between_windows() -> None:
    group = np.array([0, 0, 1, 1, 1, 1, 1, 1])
    assert turns_of(ISLAND, WINDOWS, group) == [(1000, 1060, 60, 0), (1060, 1250, 140, 1)]


@pytest.mark.parametrize("windows_before", [3, 4, 5])
def test_a_change_near_a_pause_lies_in_it(windows_before: int) -> None:
    group = (np.arange(len(WINDOWS)) >= windows_before).astype(np.int64)
    assert turns_of(ISLAND, WINDOWS, group) == [(1000, 1100, 100, 0), (1150, 1250, 100, 1)]


def test_a_turn_spans_the_pauses_of_its_island() -> None:
    assert turns_of(ISLAND, WINDOWS, np.full(len(WINDOWS), 3)) == [(1000, 1250, 200, 3)]


def test_two_changes_in_one_pause_are_one() -> None:
    group = np.array([0, 0, 0, 0, 2, 1, 1, 1])
    assert turns_of(ISLAND, WINDOWS, group) == [(1000, 1100, 100, 0), (1150, 1250, 100, 1)]
