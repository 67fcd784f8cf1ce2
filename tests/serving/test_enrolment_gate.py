from collections.abc import Iterator

import numpy as np
import pytest

from components.pcm16 import pack_wav, to_pcm16
from serving.client import Client
from serving.enrolment_gate import (
    LEAST_DIVIDED_SECONDS,
    MOST_PASSAGES,
    SpeakerGroups,
    speaker_groups,
)
from tests.serving.support_endpoint import RATE, THRESHOLD, FakeModel, grpc_endpoint, voice

LOW, HIGH = 110.0, 320.0
# That the model may find; passages are looked at as they are.
SPEECH_SECONDS = LEAST_DIVIDED_SECONDS


@pytest.fixture
def client(model: FakeModel) -> Iterator[Client]:
    with grpc_endpoint(model) as url, Client(url) as client:
        yield client


def _wav(*turns: tuple[float, float]) -> bytes:
    """Voices one after another, each of a pitch and so many seconds."""
    sounds = [voice(pitch, seconds, seed=at) for at, (pitch, seconds) in enumerate(turns)]
    return pack_wav(to_pcm16(np.concatenate(sounds)), RATE)


def _groups(client: Client, wav: bytes) -> SpeakerGroups:
    groups = speaker_groups(client, wav, SPEECH_SECONDS)
    assert groups is not None
    return groups


@pytest.mark.parametrize(
    ("turns", "one", "other"),
    [
        ([(LOW, 3.0), (HIGH, 3.0)], (0.0, 0.375, 0.75, 1.125, 1.5), (3.0, 3.375, 3.75, 4.125, 4.5)),
        ([(LOW, 1.5), (HIGH, 3.0), (LOW, 3.0)], (0.0, 4.5, 5.25, 6.0), (1.5, 2.25, 3.0)),
        ([(HIGH, 4.5), (LOW, 2.25)], (0.0, 0.75, 1.5, 2.25, 3.0), (4.5, 5.25)),
    ],
)
def test_passages_within_the_turns_of_two_speakers_are_in_two_groups(
    client: Client,
    turns: list[tuple[float, float]],
    one: tuple[float, ...],
    other: tuple[float, ...],
) -> None:
    groups = _groups(client, _wav(*turns))
    first, second = groups.starts_seconds
    assert set(one) <= set(first)
    assert set(other) <= set(second)
    assert len(first) + len(second) == 1 + (sum(each for _, each in turns) - 1.5) / 0.375
    assert groups.distance > THRESHOLD
    assert not groups.is_one_speaker


def test_one_speaker_has_little_difference(client: Client) -> None:
    groups = _groups(client, _wav((LOW, 9.0)))
    assert groups.difference < 0.3
    assert groups.is_one_speaker


def test_passages_that_are_all_alike_are_of_one_speaker(client: Client) -> None:
    one = to_pcm16(voice(LOW, 1.5))
    groups = _groups(client, pack_wav(np.tile(one, 4), RATE))
    assert groups.difference == pytest.approx(0.0, abs=1e-3)
    assert sum(map(len, groups.starts_seconds)) == 13


def test_too_little_speech_says_nothing(client: Client) -> None:
    assert speaker_groups(client, _wav((LOW, 4.4)), SPEECH_SECONDS) is None
    silence = np.zeros(3 * RATE, np.int16)
    mostly_silent = pack_wav(np.concatenate([to_pcm16(voice(LOW, 2.0)), silence]), RATE)
    assert speaker_groups(client, mostly_silent, SPEECH_SECONDS) is None
    of_two = _wav((LOW, 4.0), (HIGH, 4.0))
    assert speaker_groups(client, of_two, LEAST_DIVIDED_SECONDS - 0.1) is None
    assert not _groups(client, of_two).is_one_speaker


def test_of_a_long_recording_some_passages_are_compared(client: Client, model: FakeModel) -> None:
    groups = _groups(client, _wav((LOW, 40.0), (HIGH, 40.0)))
    assert not groups.is_one_speaker
    assert sum(map(len, groups.starts_seconds)) == MOST_PASSAGES
    assert max(groups.starts_seconds[0]) < 40.0 < min(groups.starts_seconds[1]) + 1.5
    assert [count for name, count in model.calls if name == "score_embeddings"] == [1]


def test_two_people_one_behind_the_other_are_divided_where_they_change(client: Client) -> None:
    first, second = _groups(client, _wav((LOW, 6.0), (HIGH, 3.0))).starts_seconds
    assert max(first) < min(second)
    assert min(second) == pytest.approx(6.0, abs=1.5)
