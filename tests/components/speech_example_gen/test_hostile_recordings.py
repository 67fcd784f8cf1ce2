"""What a hostile recording does to a run: it is a reject with its name, whatever it holds."""

import errno
import json
import tempfile
from pathlib import Path

import numpy as np
import pytest
import soundfile

from components.audio import TOO_LARGE, AudioError
from components.errors import SwarError
from components.recordings.cleaning import Cleaner, UnusableRecording
from components.recordings.files import open_locally
from components.recordings.listing import Recording
from components.settings import SpeechSettings
from tests.bad_recordings import encoded, speech_like
from tests.support_executors import run_speech

RATE = 16_000
SETTINGS = SpeechSettings(
    require_voice=False,
    unseen_speaker_fraction=0.0,
    calibration_speaker_fraction=0.0,
    max_reject_fraction=0.9,
    max_recording_seconds=30.0,
    max_recording_megabytes=1.0,
)


def recording(path: Path, start: float | None = None, end: float | None = None) -> Recording:
    size = path.stat().st_size
    return Recording(str(path), "asha", "unknown", f"asha/{path.name}", start, end, size, None)


def test_hostile_recordings_are_rejects_and_the_others_are_used(tmp_path: Path) -> None:
    for number, speaker in enumerate(("asha", "bina")):
        (tmp_path / "data" / speaker).mkdir(parents=True)
        good = encoded(speech_like(number, RATE), RATE)
        (tmp_path / "data" / speaker / "good.wav").write_bytes(good)
    odd = tmp_path / "data" / "asha"
    flac = bytearray(encoded(speech_like(5, RATE), RATE, "FLAC"))
    flac[84] = 0xFF
    (odd / "one byte.flac").write_bytes(flac)
    (odd / "phone.wav").write_bytes(encoded(speech_like(6, 8_000), 8_000, "WAV", "GSM610"))
    (odd / "bomb.flac").write_bytes(encoded(np.zeros(7_200_000, np.int16), 1_000, "FLAC"))
    (odd / "large.wav").write_bytes(encoded(speech_like(7, RATE, 40.0), RATE))
    (odd / "etc").symlink_to("/etc")
    _, rejects = run_speech(str(tmp_path / "data"), tmp_path / "output", SETTINGS)
    rows = map(json.loads, Path(rejects.uri, "rejects.jsonl").read_text().splitlines())
    reasons = {row["file"]: row["reason"] for row in rows}
    assert reasons.pop("asha/one byte.flac", "ok") in ("ok", "truncated", "unreadable")
    assert reasons == {
        "asha/bomb.flac": "too_long",
        "asha/large.wav": "too_large",
        "asha/etc": "outside_link",
    }


def test_a_cut_of_a_long_recording_is_used(tmp_path: Path) -> None:
    path = tmp_path / "a.flac"
    path.write_bytes(encoded(speech_like(8, 4_000, 60.0), 4_000, "FLAC"))
    cleaner = Cleaner(SETTINGS)
    with pytest.raises(UnusableRecording) as caught, cleaner.clean(recording(path)):
        pass
    assert caught.value.reason == "too_long"
    with cleaner.clean(recording(path, 31.0, 61.0)) as cleaned:
        assert cleaned.speech_samples > 20 * RATE


def test_a_full_disk_is_told_with_the_recording(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.wav"
    soundfile.write(path, speech_like(9, RATE), RATE)
    cleaner = Cleaner(SETTINGS)
    temporary = tempfile.TemporaryFile

    class Full:
        def __init__(self) -> None:
            self.file = temporary()

        def __enter__(self) -> "Full":
            return self

        def __exit__(self, *_: object) -> None:
            self.file.close()

        def write(self, _: bytes) -> int:
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(tempfile, "TemporaryFile", Full)
    message = (
        r"no space is left in .* for the temporary files of 'asha/a\.wav'.*max_recording_seconds"
    )
    with pytest.raises(SwarError, match=message), cleaner.clean(recording(path)):
        pass


def test_a_local_file_has_a_bound_of_bytes(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(b"x" * 3_000_000)
    with open_locally(str(path), 3_000_000) as same:
        assert same == str(path)
    with (
        pytest.raises(AudioError, match="has more than 3 MB") as caught,
        open_locally(str(path), 2_999_999),
    ):
        pass
    assert caught.value.reason == TOO_LARGE
