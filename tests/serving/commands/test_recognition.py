"""verify, identify and embed: answers, exit statuses, many files."""

import json
from pathlib import Path
from typing import Any

import pytest
import soundfile

from components.degradation import telephone
from serving.bulk import read_pair_list
from tests.serving.commands.support_commands import HIGH, LOW, Swar
from tests.serving.support_endpoint import RATE, THRESHOLD, FakeModel, voice

QUALITY = {"speech_seconds", "snr_db", "bandwidth_hz", "clipped_fraction"}


def test_verify_says_same_or_different(swar: Swar, recording: Any) -> None:
    low, again, high = recording("a.wav", LOW), recording("bb.wav", LOW), recording("c.wav", HIGH)
    status, out, _ = swar("verify", low, again)
    assert status == 0
    assert out.startswith("same speaker (probability 9")
    status, out, _ = swar("verify", low, high)
    assert status == 1
    assert out.startswith("different speakers (probability below")


def test_a_line_from_a_telephone_is_warned_of(swar: Swar, recording: Any, tmp_path: Path) -> None:
    wide, line = recording("a.wav", LOW), tmp_path / "line.wav"
    soundfile.write(line, telephone(voice(LOW, 6.0), RATE), RATE)
    out = swar("verify", wide, line)[1].splitlines()
    assert out[2].startswith("recording A: 6.0 s of speech, SNR ") and "8.0 kHz" in out[2]
    assert out[3].startswith("recording B: ") and "4.0 kHz" in out[3]
    warning = "warning: the bandwidths differ: recording A 8.0 kHz and recording B 4.0 kHz: the "
    assert warning + "expected error rates cannot be promised" in out
    swar("enroll", "Low", wide)
    for command in (("verify", line, "--speaker", "Low"), ("identify", line)):
        shown, answer = swar(*command)[1], json.loads(swar(*command, "--json")[1])
        assert "\nrecording: 5." in shown
        assert [f"warning: {each}" in shown for each in answer["warnings"]] == [True] * 2


def test_verify_for_programs(swar: Swar, recording: Any) -> None:
    status, out, _ = swar("verify", recording("a.wav", LOW), recording("b.wav", HIGH), "--json")
    answer = json.loads(out)
    assert status == 1
    assert answer["same_speaker"] is False
    assert answer["verdict"] == "different"
    decision = {"distance", "probability", "same_speaker", "verdict"}
    assert set(answer) == decision | {"quality_a", "quality_b", "warnings", "rule"}
    assert set(answer["quality_a"]) == QUALITY
    assert answer["quality_b"]["speech_seconds"] == pytest.approx(6.0, abs=0.1)
    assert answer["rule"]["accept_up_to"] == answer["rule"]["different_beyond"] == THRESHOLD
    assert answer["rule"]["false_accepts"] == {"value": 0.02, "low": 0.01, "high": 0.04}


def test_a_bound_on_false_accepts_has_a_third_verdict(swar: Swar, recording: Any) -> None:
    low, again, high = recording("a.wav", LOW), recording("bb.wav", LOW), recording("c.wav", HIGH)
    assert swar("verify", low, again, "--max-false-accept", 0.05)[0] == 0
    status, out, _ = swar("verify", low, again, "--max-false-accept", 0.01)
    assert status == 4
    assert out.startswith("inconclusive (probability 9")
    expectation = "up to distance 0.000: false accepts 2 % (1 to 4 %), false rejects 2 % (1 to 4 %)"
    assert f"{expectation}, of 120 calibration speakers; prior 0.5" in out
    assert swar("verify", low, high, "--max-false-accept", 0.01)[0] == 1
    status, out, err = swar("verify", low, again, "--max-false-accept", 0.001)
    assert (status, out) == (2, "")
    assert "cannot hold 0.1 % false accepts" in err and "246 calibration speakers would do" in err


def test_a_prior_moves_the_probability_and_not_the_verdict(swar: Swar, recording: Any) -> None:
    low, again = recording("a.wav", LOW), recording("bb.wav", LOW)
    even = json.loads(swar("verify", low, again, "--json")[1])
    status, out, _ = swar("verify", low, again, "--json", "--prior", 0.001)
    rare = json.loads(out)
    assert status == 0
    assert rare["probability"] < even["probability"]
    assert rare["verdict"] == even["verdict"] == "same"
    assert swar("verify", low, again, "--prior", 1)[0] == 2


def test_a_bound_holds_for_a_query_however_many_are_enrolled(swar: Swar, recording: Any) -> None:
    swar("enroll", "Low", recording("a.wav", LOW))
    query = recording("query.wav", LOW, 3.0)
    assert swar("identify", query, "--max-false-accept", 0.05)[0] == 0
    swar("enroll", "High", recording("h.wav", HIGH))
    status, out, _ = swar("identify", query, "--max-false-accept", 0.05, "--json")
    answer = json.loads(out)
    assert status == 4
    assert (answer["speaker"], answer["verdict"]) == (None, "inconclusive")
    assert answer["rule"]["accept_up_to"] == 1e-4
    assert swar("identify", query, "--max-false-accept", 0.05)[1].startswith("inconclusive\n")
    status, _, err = swar("identify", query, "--max-false-accept", 0.005)
    assert status == 2
    assert "0.5 % false accepts of a query among 2 speakers" in err
    assert "246 calibration speakers would do" in err


def test_an_error_is_one_line_and_status_2(swar: Swar, recording: Any) -> None:
    status, out, err = swar("verify", recording("a.wav", LOW, 1.0), recording("b.wav", LOW))
    assert (status, out) == (2, "")
    assert err.count("\n") == 1
    assert err.startswith("swar: error: ")
    assert "a.wav' is too short" in err


@pytest.mark.parametrize("wrong", [["a"], ["a", "b", "--speaker", "x"], []])
def test_verify_wants_a_second_recording_or_a_speaker(swar: Swar, wrong: list[str]) -> None:
    status, out, err = swar("verify", *wrong)
    assert (status, out) == (2, "")
    assert err.count("\n") == 1 and "see `swar verify -h`" in err


def test_identify_for_programs(swar: Swar, recording: Any) -> None:
    swar("enroll", "श्रेष्ठ", recording("a.wav", LOW), "--gallery", "people")
    query = recording("query.wav", LOW, 3.0)
    status, out, _ = swar("identify", query, "--json", "--gallery", "people")
    answer = json.loads(out)
    assert status == 0
    assert answer["speaker"] == answer["candidates"][0]["speaker"] == "श्रेष्ठ"
    assert answer["candidates"][0]["same_speaker"] is True
    stranger = recording("s.wav", HIGH, 3.0)
    status, out, _ = swar("identify", stranger, "--json", "--gallery", "people")
    assert (status, json.loads(out)["speaker"]) == (1, None)
    status, _, err = swar("identify", query, "--gallery", "nobody")
    assert status == 2
    assert "no gallery at 'nobody'" in err


def test_candidates_are_named(swar: Swar, recording: Any) -> None:
    swar("enroll", "Low", recording("a.wav", LOW))
    swar("enroll", "High", recording("h.wav", HIGH))
    query, other = recording("query.wav", LOW, 3.0), recording("other.wav", HIGH, 3.0)
    assert swar("identify", query, "--max-false-accept", 0.05)[0] == 4  # the nearest of two
    status, out, _ = swar("identify", query, "--max-false-accept", 0.05, "--among", "Low", "--json")
    answer = json.loads(out)
    assert (status, answer["speaker"], answer["rule"]["comparisons"]) == (0, "Low", 1)
    assert [each["speaker"] for each in answer["candidates"]] == ["Low"]
    out = swar("identify", query, other, "--among", "High", "--json")[1]
    assert [json.loads(line)["speaker"] for line in out.splitlines()] == [None, "High"]
    both = ("--among", "High", "--among", " Low")
    assert json.loads(swar("identify", query, *both, "--json")[1])["rule"]["comparisons"] == 2
    assert "speaker 1" in swar("identify", query, "--timeline", "--among", "High")[1]


@pytest.mark.parametrize("more", [(), ("b.wav",), ("--timeline",)])
def test_a_candidate_who_is_not_enrolled_is_one_line(
    swar: Swar, recording: Any, model: FakeModel, more: tuple[str, ...]
) -> None:
    swar("enroll", "Low", recording("a.wav", LOW))
    calls = len(model.calls)
    arguments = ("identify", "a.wav", *more, "--among", "Low", "--among", "Nobody")
    status, out, err = swar(*arguments)
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert "nobody named 'Nobody' is in the gallery" in err
    assert len(model.calls) == calls


def test_many_answers_end_with_what_to_expect_of_them(
    swar: Swar, recording: Any, pairs: Path
) -> None:
    pairs.write_text("../a.wav\t../c.wav\n")
    _, out, err = swar("verify", "--pairs", pairs, "--prior", 0.1)
    assert err == (
        "up to distance 0.500: false accepts 2 % (1 to 4 %), false rejects 2 % (1 to 4 %), of 120 "
        "calibration speakers; prior 0.1\n"
    )
    assert len(out.splitlines()) == 1
    _, out, err = swar("verify", "--pairs", pairs, "--prior", 0.1, "--json")
    assert json.loads(out)["rule"]["prior"] == 0.1
    assert err == ""
    swar("enroll", "Low", "a.wav")
    _, out, err = swar("identify", "a.wav", "c.wav")
    assert err.startswith("up to distance 0.500: false accepts 2 % (1 to 4 %)")
    assert err.count("\n") == 2  # and the gallery
    rows = swar("identify", "a.wav", "c.wav", "--json")[1].splitlines()
    assert [json.loads(row)["rule"]["accept_up_to"] for row in rows] == [THRESHOLD] * 2


def test_verify_with_a_speaker(swar: Swar, recording: Any) -> None:
    swar("enroll", "Low", recording("a.wav", LOW))
    assert swar("verify", recording("b.wav", LOW, 3.0), "--speaker", "Low")[0] == 0
    assert swar("verify", recording("c.wav", HIGH, 3.0), "--speaker", "Low")[0] == 1
    status, _, err = swar("verify", recording("b.wav", LOW, 3.0), "--speaker", "Nobody")
    assert status == 2
    assert "nobody named 'Nobody'" in err


@pytest.fixture
def pairs(recording: Any, tmp_path: Path) -> Path:
    """Three pairs of which the last has a bad recording, listed in another folder."""
    for name, pitch, seconds in (("a.wav", LOW, 6), ("bb.wav", LOW, 6), ("c.wav", HIGH, 6)):
        recording(name, pitch, seconds)
    recording("short.wav", LOW, 1.0)
    (tmp_path / "lists").mkdir()
    listed = [("a", "bb"), ("a", "c"), ("c", "short"), ("a", "gone")]
    lines = (f"../{a}.wav\t../{b}.wav\n" for a, b in listed)
    path = tmp_path / "lists" / "pairs.tsv"
    path.write_text("".join(lines) + "\n")
    return path


def test_many_pairs_are_a_line_each(swar: Swar, pairs: Path, model: FakeModel) -> None:
    status, out, _ = swar("verify", "--pairs", pairs, "--json")
    lines = [json.loads(line) for line in out.splitlines()]
    assert status == 1  # not all are usable
    assert [line["same_speaker"] for line in lines] == [True, False, None, None]
    assert [(line["status_a"], line["status_b"]) for line in lines[2:]] == [
        ("ok", "too_short"),
        ("ok", "unreadable"),
    ]
    assert {line["model_digest"] for line in lines} == {"model-1"}
    assert lines[3]["distance"] is None
    assert sum(count for name, count in model.calls if name == "embed") == 4  # each file once
    status, out, _ = swar("verify", "--pairs", pairs)
    assert status == 1
    first, second, third, _ = out.splitlines()
    assert "a.wav" in first and ": same speaker (probability 9" in first
    assert ": different speakers (" in second
    assert third.endswith(": not compared: " + third.split()[1].rstrip(":") + " is too_short")


def test_lines_of_a_list_of_pairs_end_at_line_ends_alone(tmp_path: Path) -> None:
    pairs = tmp_path / "pairs.tsv"
    pairs.write_bytes("a\u2028b.wav\tc.wav\r\nd\x0c.wav\te.wav\r".encode())
    assert [(pair.a.name, pair.b.name) for pair in read_pair_list(pairs)] == [
        ("a\u2028b.wav", "c.wav"),
        ("d\x0c.wav", "e.wav"),
    ]


def test_of_usable_pairs_the_status_is_0(swar: Swar, pairs: Path) -> None:
    pairs.write_text("../a.wav\t../c.wav\n")
    assert swar("verify", "--pairs", pairs)[0] == 0
    pairs.write_text("../a.wav\t../c.wav\n1\t../a.wav\t../c.wav\n")
    status, _, err = swar("verify", "--pairs", pairs)
    assert (status, err.count("\n")) == (2, 1)
    assert "line 2: is not two paths" in err
    for text in (b"", b"\xff\t\xff"):
        pairs.write_bytes(text)
        assert swar("verify", "--pairs", pairs)[0] == 2
    status, _, err = swar("verify", "--pairs", pairs.with_name("nope.tsv"))
    assert (status, err.count("\n")) == (2, 1)
    assert err.endswith("nope.tsv cannot be read (No such file or directory): name another list\n")
    assert "see `swar verify -h`" in swar("verify", "a.wav", "--pairs", pairs)[2]


def test_many_recordings_are_identified(swar: Swar, recording: Any) -> None:
    swar("enroll", "Low", recording("a.wav", LOW))
    known, unknown = recording("query.wav", LOW, 3.0), recording("stranger.wav", HIGH, 3.0)
    assert swar("identify", known, unknown)[0] == 0
    status, out, _ = swar("identify", known, "gone.wav", unknown, "--json", "--top", 1)
    lines = [json.loads(line) for line in out.splitlines()]
    assert status == 1
    assert [(line["status"], line["speaker"]) for line in lines] == [
        ("ok", "Low"),
        ("unreadable", None),
        ("ok", None),
    ]
    assert [len(line["candidates"]) for line in lines] == [1, 0, 1]
    assert set(lines[0]["quality"]) == QUALITY
    assert lines[1]["quality"] is None
    assert [len(line["warnings"]) for line in lines] == [1, 0, 1]
    assert [line["not_compared"] for line in lines] == [[]] * 3
    assert {line["model_digest"] for line in lines} == {"model-1"}
    out = swar("identify", known, "gone.wav", unknown)[1]
    first, second, third = out.splitlines()
    assert "query.wav: Low (probability 9" in first
    assert second == "gone.wav: not usable: unreadable"
    assert "stranger.wav: unknown; warning: the recording has an SNR of" in third


def test_embed_says_what_became_of_the_recordings(
    swar: Swar, recording: Any, tmp_path: Path
) -> None:
    (tmp_path / "calls").mkdir()
    recording("calls/a.wav", LOW)
    recording("calls/short.wav", LOW, 1.0)
    status, out, err = swar("embed", "calls", "--output", "calls.parquet")
    assert (status, err) == (0, "")
    assert out.splitlines() == [
        "1 recording embedded: calls.parquet",
        "not usable, without an embedding: 1 too_short",
    ]
    status, out, _ = swar("embed", "calls", "--output", "calls.parquet", "--json")
    assert json.loads(out)["statuses"] == {"ok": 1, "too_short": 1}
    status, _, err = swar("embed", "absent", "--output", "calls.parquet")
    assert (status, err.count("\n")) == (2, 1)
