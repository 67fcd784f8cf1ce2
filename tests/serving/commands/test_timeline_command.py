"""identify --timeline, and the channel of a recording."""

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from components.degradation import telephone
from tests.serving.commands.support_commands import HIGH, LOW, Swar
from tests.serving.support_endpoint import RATE, voice


def stereo(name: str, left: float, right: float) -> Path:
    """A file in the current folder with a pitch on each channel."""
    sides = [voice(pitch, 6.0, seed=len(name)) for pitch in (left, right)]
    soundfile.write(name, np.stack(sides, axis=1), RATE)
    return Path(name)


def test_a_channel_is_chosen(swar: Swar, recording: Any) -> None:
    call = stereo("call.wav", LOW, HIGH)
    other = stereo("other.wav", HIGH, LOW)
    assert swar("verify", call, other, "--channel", "left")[0] == 1
    assert swar("enroll", "Low", call, "--channel", "left")[0] == 0
    assert swar("verify", other, "--speaker", "Low", "--channel", 2)[0] == 0
    assert swar("identify", other, "--channel", "right")[0] == 0
    assert swar("identify", other, "--channel", "left")[0] == 1
    status, out, _ = swar("identify", call, other, "--channel", "right", "--json")
    assert status == 0
    assert [json.loads(line)["speaker"] for line in out.splitlines()] == [None, "Low"]
    Path("pairs.tsv").write_text("call.wav\tother.wav\n")
    status, out, _ = swar("verify", "--pairs", "pairs.tsv", "--channel", "left", "--json")
    assert (status, json.loads(out)["same_speaker"]) == (0, False)
    status, _, err = swar("identify", call, "--channel", 3)
    assert (status, "has no channel 3" in err) == (2, True)
    status, _, err = swar("identify", call, "--channel", "top")
    assert (status, "is not left, right, mean or a number" in err) == (2, True)


def test_a_timeline_is_a_table_or_rttm(swar: Swar, recording: Any) -> None:
    swar("enroll", "Low Voice", recording("a.wav", LOW))
    parts = [voice(LOW, 6.0), np.zeros(RATE // 2, np.float32), voice(HIGH, 6.0)]
    soundfile.write("the call.wav", np.concatenate(parts), RATE)
    status, out, _ = swar("identify", "--timeline", "the call.wav")
    lines = [line.split() for line in out.splitlines()]
    assert status == 0
    assert lines[1] == ["0:00.0", "0:06.0", "Low", "Voice"]
    assert lines[2] == ["0:06.5", "0:12.5", "speaker", "1"]
    assert lines[6][:7] == ["speaker", "1", "6.0", "s", "unknown", "Low", "Voice"]
    status, out, _ = swar("identify", "--timeline", "--rttm", "the call.wav")
    assert status == 0
    assert [line.split()[:3] for line in out.splitlines()] == [["SPEAKER", "the_call", "1"]] * 2
    assert [line.split()[7] for line in out.splitlines()] == ["Low_Voice", "speaker_1"]
    Path("the call.wav").rename(os.fsdecode(b"caf\xe9.wav"))
    status, out, _ = swar("identify", "--timeline", "--rttm", os.fsdecode(b"caf\xe9.wav"))
    assert (status, out.split()[1]) == (0, "caf\\xe9")


def test_a_timeline_warns_of_who_is_on_another_line(swar: Swar, recording: Any) -> None:
    swar("enroll", "Low", recording("a.wav", LOW))
    soundfile.write("line.wav", telephone(voice(HIGH, 8.0), RATE), RATE)
    out = swar("identify", "--timeline", "line.wav", "--json")[1]
    (one,) = json.loads(out)["speakers"]
    assert any("bandwidths differ: the speaker's part 4.0 kHz" in each for each in one["warnings"])
    shown = swar("identify", "--timeline", "line.wav")[1].splitlines()
    assert {f"warning: {one['speaker']}: {each}" for each in one["warnings"]} <= set(shown)


@pytest.mark.parametrize(
    "arguments", [("--rttm",), ("--timeline", "--rttm", "--json"), ("--timeline", "b.wav")]
)
def test_a_timeline_is_of_one_recording_and_in_one_form(swar: Swar, arguments: Any) -> None:
    status, out, err = swar("identify", "a.wav", *arguments)
    assert (status, "--timeline takes one recording" in out + err) == (2, True)
