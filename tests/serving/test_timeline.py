"""Who speaks when, against the small endpoint: hums of several pitches in one recording."""

import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from benchmarks.timeline import Turn, errors, frames_of
from benchmarks.timeline import conversation as made_conversation
from components.degradation import telephone
from components.errors import SwarError
from serving import recognition
from serving.client import Client
from serving.gallery import Gallery
from serving.recognition import Identification
from serving.recordings import RecordingChannel, Waveform
from serving.timeline import SpeakerTurn, Timeline, TimelineSpeaker, rttm, timeline
from tests.serving import support_endpoint
from tests.serving.support_endpoint import RATE, FakeModel, grpc_endpoint, voice

LOW, MIDDLE, HIGH = 110.0, 190.0, 320.0
PAUSE = 0.0
SLACK_SECONDS = 0.4
"""Half of the step from a window to the next, and what a mixed window may be taken for."""


def conversation(*parts: tuple[float, float]) -> np.ndarray:
    """Hums of a pitch and so many seconds, one after the other; a pitch of 0 is a pause."""
    return np.concatenate(
        [
            voice(pitch, seconds) if pitch else np.zeros(round(seconds * RATE), np.float32)
            for pitch, seconds in parts
        ]
    )


@pytest.fixture
def client(model: FakeModel) -> Iterator[Client]:
    with grpc_endpoint(model) as url, Client(url) as client:
        yield client


@pytest.fixture
def gallery(tmp_path: Path, client: Client) -> Gallery:
    gallery = Gallery(tmp_path / "gallery")
    recognition.enroll(client, gallery, "Low", [Waveform(voice(LOW, 6.0), RATE)])
    return gallery


def turns(recorded: Timeline) -> list[tuple[str, float, float]]:
    return [(turn.speaker, turn.start_seconds, turn.end_seconds) for turn in recorded.turns]


def close(*expected: tuple[str, float, float]) -> list[Any]:
    return [
        (name, pytest.approx(start, abs=SLACK_SECONDS), pytest.approx(end, abs=SLACK_SECONDS))
        for name, start, end in expected
    ]


CALL = conversation((LOW, 6), (PAUSE, 0.6), (HIGH, 6), (PAUSE, 2), (LOW, 3), (HIGH, 3), (MIDDLE, 8))


def test_enrolled_speakers_have_names_and_others_numbers(client: Client, gallery: Gallery) -> None:
    recorded = timeline(client, gallery, CALL)
    assert turns(recorded) == close(
        ("Low", 0.0, 6.0),
        ("speaker 1", 6.6, 12.6),
        ("Low", 14.6, 17.6),
        ("speaker 1", 17.6, 20.6),
        ("speaker 2", 20.6, 28.6),
    )
    assert recorded.recording_seconds == pytest.approx(28.6)
    low, one, two = recorded.speakers
    assert (low.speaker, low.is_enrolled, low.identification.speaker) == ("Low", True, "Low")
    assert (one.speaker, one.is_enrolled, one.identification.speaker) == ("speaker 1", False, None)
    assert two.identification.candidates[0].speaker == "Low"
    spoken = sum(each.speech_seconds for each in recorded.speakers)
    assert spoken == pytest.approx(26.0, abs=0.3)
    assert spoken == pytest.approx(sum(turn.speech_seconds for turn in recorded.turns))


def test_the_same_recording_has_the_same_timeline(client: Client, gallery: Gallery) -> None:
    assert timeline(client, gallery, CALL) == timeline(client, gallery, CALL)


def test_short_pauses_are_in_a_turn_and_too_short_speech_goes_with_it(
    client: Client, gallery: Gallery
) -> None:
    """Half a second is too little for an embedding by itself."""
    parts = ((LOW, 5), (PAUSE, 0.8), (LOW, 4), (PAUSE, 1.2), (LOW, 0.5))
    recorded = timeline(client, gallery, conversation(*parts))
    assert turns(recorded) == close(("Low", 0.0, 9.8), ("Low", 11.0, 11.5))
    assert recorded.turns[0].speech_seconds == pytest.approx(9.0, abs=0.1)


def test_a_channel_is_a_timeline_by_itself(
    client: Client, gallery: Gallery, tmp_path: Path
) -> None:
    left, right = conversation((LOW, 8), (PAUSE, 8)), conversation((PAUSE, 8), (HIGH, 8))
    soundfile.write(tmp_path / "call.wav", np.stack([left, right], axis=1), RATE)
    call = tmp_path / "call.wav"
    assert turns(timeline(client, gallery, RecordingChannel(call, 1))) == close(("Low", 0.0, 8.0))
    assert turns(timeline(client, gallery, RecordingChannel(call, 2))) == close(
        ("speaker 1", 8.0, 16.0)
    )
    assert turns(timeline(client, gallery, call)) == close(
        ("Low", 0.0, 8.0), ("speaker 1", 8.0, 16.0)
    )
    with pytest.raises(SwarError, match=r"has no channel 3: it has 2 in all: give another channel"):
        timeline(client, gallery, RecordingChannel(call, 3))


def test_a_recording_without_usable_speech_is_refused(client: Client, gallery: Gallery) -> None:
    with pytest.raises(SwarError, match="is silent"):
        timeline(client, gallery, np.zeros(5 * RATE, np.float32))
    with pytest.raises(SwarError, match="is too short"):
        timeline(client, gallery, voice(LOW, 1.0))


def test_ten_samples_are_too_short_and_not_silent(
    client: Client, gallery: Gallery, monkeypatch: pytest.MonkeyPatch
) -> None:
    adaptive = support_endpoint.CARD | {"speech": {"sample_rate": RATE}}
    monkeypatch.setattr(support_endpoint, "CARD", adaptive)
    with pytest.raises(SwarError, match="is too short"):
        timeline(client, gallery, np.full(10, 0.1, np.float32))


def test_a_model_that_does_not_say_how_it_finds_speech_is_refused(
    client: Client, gallery: Gallery, monkeypatch: pytest.MonkeyPatch
) -> None:
    for card in ({}, support_endpoint.CARD | {"spectrogram": {"window_seconds": 1e9}}):
        monkeypatch.setattr(support_endpoint, "CARD", card)
        with pytest.raises(SwarError, match="does not say how it finds speech"):
            timeline(client, gallery, CALL)


def test_rttm_has_a_line_for_each_turn_and_no_blanks_in_names() -> None:
    def speaker(name: str) -> TimelineSpeaker:
        return TimelineSpeaker(name, True, 1.0, Identification(name, "same", ()))

    recorded = Timeline(
        (
            SpeakerTurn(0.25, 2.0, 1.5, "Asha Rai"),
            SpeakerTurn(2.0, 3.0, 1.0, "Asha_Rai"),
            SpeakerTurn(3.5, 4.12349, 0.6, "speaker 1"),
        ),
        (speaker("Asha Rai"), speaker("Asha_Rai"), speaker("speaker 1")),
        5.0,
        "digest",
    )
    assert rttm(recorded, "my call", 2) == (
        "SPEAKER my_call 2 0.250 1.750 <NA> <NA> Asha_Rai <NA> <NA>\n"
        "SPEAKER my_call 2 2.000 1.000 <NA> <NA> Asha_Rai_2 <NA> <NA>\n"
        "SPEAKER my_call 2 3.500 0.623 <NA> <NA> speaker_1 <NA> <NA>\n"
    )


def test_nobody_is_called_as_another_who_is_enrolled(client: Client, tmp_path: Path) -> None:
    gallery = Gallery(tmp_path / "gallery")
    recognition.enroll(client, gallery, "speaker 1", [Waveform(voice(LOW, 6.0), RATE)])
    recorded = timeline(client, gallery, conversation((HIGH, 6), (LOW, 6)))
    assert [(each.speaker, each.is_enrolled) for each in recorded.speakers] == [
        ("speaker 2", False),
        ("speaker 1", True),
    ]


def test_an_answer_for_programs_is_json(
    client: Client, gallery: Gallery, capsys: pytest.CaptureFixture[str]
) -> None:
    from serving import display

    display.timeline(timeline(client, gallery, CALL), client.rule(), as_json=True)
    answer = json.loads(capsys.readouterr().out)
    assert set(answer) == {
        "turns",
        "speakers",
        "recording_seconds",
        "not_compared",
        "model_digest",
        "rule",
    }
    assert {"quality", "warnings"} <= set(answer["speakers"][0])
    assert set(answer["turns"][0]) == {"start_seconds", "end_seconds", "speech_seconds", "speaker"}
    assert [each["speaker"] for each in answer["speakers"]] == ["Low", "speaker 1", "speaker 2"]
    assert [each["verdict"] for each in answer["speakers"]] == ["same", "different", "different"]


def test_each_speaker_is_warned_of_as_a_recording_is(client: Client, gallery: Gallery) -> None:
    """The second of them is over a telephone."""
    low, pause, high = voice(LOW, 8), np.zeros(RATE, np.float32), voice(HIGH, 8)
    line = telephone(voice(MIDDLE, 8), RATE)[: 8 * RATE]
    recorded = timeline(client, gallery, np.concatenate([high, pause, line, pause, low]))
    by_name = {each.speaker: each.identification for each in recorded.speakers}
    high_found, line_found = (by_name[f"speaker {number}"] for number in (1, 2))
    assert high_found.quality is not None and line_found.quality is not None
    assert high_found.quality.bandwidth_hz > 7_000.0 > 4_300.0 > line_found.quality.bandwidth_hz
    assert high_found.quality.speech_seconds == pytest.approx(8.0, abs=0.5)
    assert not any("bandwidth" in each for each in high_found.warnings)
    assert any("the speaker's part 4.0 kHz" in each for each in line_found.warnings)


def test_who_was_enrolled_with_another_model_is_said_not_to_be_compared(
    client: Client, gallery: Gallery, model: FakeModel, capsys: pytest.CaptureFixture[str]
) -> None:
    from serving import display

    kept = [Waveform(voice(HIGH, 6.0), RATE)]
    recognition.enroll(client, gallery, "High", kept, keep_audio=True)
    model.digest = "model-2"
    with pytest.raises(SwarError, match="not those of Low"):
        recognition.reenroll(client, gallery)
    recorded = timeline(client, gallery, CALL)
    display.timeline(recorded, client.rule(), as_json=True)
    assert json.loads(capsys.readouterr().out)["not_compared"] == ["Low"]
    display.timeline(recorded, client.rule(), as_json=False)
    out = capsys.readouterr().out
    assert "warning: not compared: Low: another model embedded their recordings" in out


def test_only_named_candidates_are_found_in_a_timeline(client: Client, gallery: Gallery) -> None:
    recognition.enroll(client, gallery, "High", [Waveform(voice(HIGH, 6.0), RATE)])
    recorded = timeline(client, gallery, CALL, among=["High"])
    assert [each.speaker for each in recorded.speakers] == ["speaker 1", "High", "speaker 2"]
    candidates = {
        candidate.speaker
        for each in recorded.speakers
        for candidate in each.identification.candidates
    }
    assert candidates == {"High"}
    with pytest.raises(SwarError, match="nobody named 'Nobody' is in the gallery"):
        timeline(client, gallery, CALL, among=["Nobody"])


def test_errors_of_hand_made_conversations() -> None:
    def frames(text: str) -> np.ndarray:
        return np.array([each.strip(".") for each in text.split()])

    reference = frames("a a a a b b b b c . a .")
    # Names do not count for the confusion, as long as they are one to one.
    assert errors(reference, frames("x x x x y y y y z . x ."), ["a"]) == (
        0.0,
        0.5,
    )
    # Two speakers under one name: the smaller one is wrong. Speech that only one side has is out.
    two = errors(reference, frames("a a a . b b b b b a a a"), ["a", "b"])
    assert two == pytest.approx((1 / 9, 1 / 9))
    # One speaker under two names: the rarer one is wrong.
    one = errors(reference, frames("a a u u u2 u2 u2 u2 u3 . a ."), ["a"])
    assert one == pytest.approx((0.2, 0.2))


def test_frames_of_turns() -> None:
    turns = [Turn(0.0, 0.02, "a"), Turn(0.03, 0.05, "b")]
    assert frames_of(turns, 0.06).tolist() == ["a", "a", "", "b", "b", ""]


def test_a_made_conversation_is_what_its_turns_say() -> None:
    speech = {"a": np.full(5_000, 1.0, np.float32), "b": np.full(5_000, 2.0, np.float32)}
    samples, turns = made_conversation(speech, 60.0, 100, np.random.default_rng(0))
    assert len(samples) >= 6_000
    assert {one.speaker + other.speaker for one, other in itertools.pairwise(turns)} == {"ab", "ba"}
    heard = np.zeros(len(samples))
    for turn in turns:
        heard[round(turn.start_seconds * 100) : round(turn.end_seconds * 100)] = (
            1.0 if turn.speaker == "a" else 2.0
        )
    np.testing.assert_allclose(samples, heard, atol=0.01)
