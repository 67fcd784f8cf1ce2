"""What stops a run, what is only listed, and how work is shared out."""

import pytest

from components.errors import SwarError
from components.recordings.acoustics import AcousticStatistics
from components.recordings.sources import Recording, Reject
from components.recordings.splitting import Piece
from components.settings import SpeechSettings
from components.speech_example_gen import planning

ACOUSTICS = AcousticStatistics(10.0, 1.0, -20.0, -40.0, -30.0)
SETTINGS = SpeechSettings(unseen_speaker_fraction=0.0, calibration_speaker_fraction=0.0)


def recording(speaker, name):
    return Recording(
        path=f"/data/{speaker}/{name}",
        speaker=speaker,
        gender="unknown",
        recording=f"{speaker}/{name}",
        start_seconds=None,
        end_seconds=None,
        size_bytes=1,
        modified=None,
    )


def summary(speaker, name, digest=None, samples=160_000):
    return planning.RecordingSummary(
        recording(speaker, name), samples, digest or f"{speaker}{name}", ACOUSTICS
    )


def reject(name, reason="silent"):
    return Reject(name, reason, 1.0, "detail")


def test_the_same_speech_twice_of_one_speaker_is_listed():
    kept, rejects = planning.without_duplicates(
        [summary("a", "2.wav", "same"), summary("a", "1.wav", "same"), summary("b", "1.wav")]
    )
    assert [item.recording.recording for item in kept] == ["a/1.wav", "b/1.wav"]
    assert [(item.file, item.reason) for item in rejects] == [("a/2.wav", "duplicate")]
    assert "a/1.wav" in rejects[0].detail


def test_the_same_speech_under_two_speakers_stops_the_run_and_names_both():
    with pytest.raises(SwarError, match=r"a/1\.wav.*b/9\.wav"):
        planning.without_duplicates([summary("a", "1.wav", "x"), summary("b", "9.wav", "x")])


def test_more_rejects_than_allowed_stop_the_run_with_the_list():
    recordings = [recording("a", f"{index}.wav") for index in range(10)]
    planning.check_rejects([reject("a/0.wav")], recordings, ["a"], SETTINGS)
    with pytest.raises(SwarError, match=r"2 of 10 recordings.*a/0\.wav.*a/1\.wav"):
        planning.check_rejects([reject("a/0.wav"), reject("a/1.wav")], recordings, ["a"], SETTINGS)


def test_files_that_are_no_recordings_do_not_count():
    recordings = [recording("a", f"{index}.wav") for index in range(3)]
    planning.check_rejects(
        [reject(f"a/.{index}", "hidden") for index in range(9)], recordings, ["a"], SETTINGS
    )


def test_rejects_that_were_never_surveyed_count_among_all():
    recordings = [recording("a", f"{index}.wav") for index in range(9)]
    planning.check_rejects([reject("a/link", "broken_link")], recordings, ["a"], SETTINGS)


def test_a_speaker_with_nothing_left_is_a_reject_and_lies_in_no_split():
    usable = [summary("a", "1.wav"), summary("c", "1.wav")]
    (silent,) = planning.without_speech(usable, ["a", "b", "c"])
    assert (silent.file, silent.reason, silent.counts) == ("b", "speaker_without_speech", False)
    work = planning.plan(usable, ["a", "b", "c"], SETTINGS)
    assert {item.recording.speaker for item in work} == {"a", "c"}


def test_more_speakers_without_speech_than_allowed_stop_the_run_with_the_list():
    names = [f"{number:02d}" for number in range(20)]
    recordings = [recording(name, "1.wav") for name in names]
    silent = [reject(name, "speaker_without_speech") for name in names]
    planning.check_rejects(silent[:2], recordings, names, SETTINGS)
    listed = r"12 of 20 speakers, more than 10%: '00', .* '09' and 2 more: "
    with pytest.raises(SwarError, match=listed):
        planning.check_rejects(silent[:12], recordings, names, SETTINGS)


def test_one_speaker_is_not_enough():
    with pytest.raises(SwarError, match="at least 2"):
        planning.plan([summary("a", "1.wav")], ["a"], SETTINGS)


def test_shards_group_neighbours_by_duration(monkeypatch):
    monkeypatch.setattr(planning, "SHARD_SECONDS", 600)

    def work(name, seconds):
        return planning.RecordingPlan(recording("a", name), (Piece("train", 0, 0, seconds * 10),))

    groups = planning.shards([work("1", 400), work("2", 400), work("3", 10), work("4", 10)], 10)
    assert [[item.recording.recording for item in group] for group in groups] == [
        ["a/1", "a/2"],
        ["a/3", "a/4"],
    ]


def test_reasons_are_counted_for_people():
    rejects = [reject("a", "silent"), reject("b", "too_short"), reject("c", "silent")]
    assert planning.reasons(rejects) == "3 rejected (2 silent, 1 too_short)"
    assert planning.reasons([]) == "0 rejected"
