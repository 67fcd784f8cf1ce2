"""Every format that is read, whole and in part, is told or decoded, and never anything else."""

import contextlib
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from benchmarks.fuzz import (
    MAX_SECONDS,
    MOST_GROWN_BYTES,
    MOST_SECONDS,
    Outcome,
    check_decoder,
    check_reader,
    decoded,
    recordings,
)
from components import audio
from tests.bad_recordings import encoded, speech_like

RATE = 16_000
ROOT = Path(audio.__file__).parents[1]
# Compressed ones have frames of up to 0.13 s; some repeat their last.
SECONDS = 1.0
SLACK_SECONDS = 0.15
UNSEEKABLE = (
    "AIFF GSM610",
    "AU G721_32",
    "AU G723_24",
    "AU G723_40",
    "W64 GSM610",
    "WAV G721_32",
    "WAV GSM610",
    "WAV NMS_ADPCM_16",
    "WAV NMS_ADPCM_24",
    "WAV NMS_ADPCM_32",
    "XI DPCM_16",
    "XI DPCM_8",
)


@pytest.fixture
def written(tmp_path: Path) -> dict[str, Path]:
    files = {}
    for number, (name, content) in enumerate(recordings().items()):
        files[name] = tmp_path / str(number)
        files[name].write_bytes(content)
    return files


def test_every_format_that_can_be_written_is_read_whole(written: dict[str, Path]) -> None:
    assert len(written) >= 80
    # Of DPCM in XI the rate is not stored: libsndfile says 44,100 Hz.
    seconds = {
        name: len(audio.decode(path, sample_rate=RATE)) / RATE for name, path in written.items()
    }
    off = {
        name: length
        for name, length in seconds.items()
        if abs(length - SECONDS) > SLACK_SECONDS and not name.startswith("XI")
    }
    assert off == {}


@pytest.mark.parametrize("name", UNSEEKABLE)
def test_what_cannot_be_sought_in_is_read_and_cut(written: dict[str, Path], name: str) -> None:
    whole = audio.decode(written[name], sample_rate=RATE, max_seconds=10.0)
    own_rate = audio.own_sample_rate(written[name])
    assert own_rate is not None
    own = audio.decode(written[name], sample_rate=own_rate)
    cut = audio.decode(written[name], sample_rate=own_rate, start_seconds=0.1, end_seconds=0.3)
    np.testing.assert_array_equal(cut, own[round(0.1 * own_rate) : round(0.3 * own_rate)])
    assert np.any(whole)


def test_every_flipped_byte_of_a_flac_header_is_read_or_a_reason(tmp_path: Path) -> None:
    content = encoded(speech_like(1, RATE, 1.0), RATE, "FLAC")
    path = tmp_path / "a.flac"
    reasons = set()
    for at in range(0, 464, 3):
        for value in (0xFF, content[at] ^ 1):
            path.write_bytes(content[:at] + bytes([value]) + content[at + 1 :])
            try:
                audio.decode(path, sample_rate=RATE, max_seconds=5.0)
            except audio.AudioError as error:
                reasons.add(error.reason)
                assert "\n" not in error.message
    assert reasons <= {audio.UNREADABLE, audio.TRUNCATED, audio.NOT_AUDIO, audio.TOO_LONG}


@pytest.mark.parametrize(
    ("container", "subtype"),
    [
        ("WAV", "GSM610"), ("WAV", "IMA_ADPCM"), ("AIFF", None), ("CAF", "ALAC_16"), ("W64", None),
        ("RF64", None), ("OGG", "VORBIS"), ("OGG", "OPUS"), ("AU", "G721_32"), ("MP3", None),
        ("XI", "DPCM_16"), ("NIST", None), ("VOC", None),
    ],
)  # fmt: skip
def test_flipped_bytes_of_other_headers_are_read_or_a_reason(
    tmp_path: Path, container: str, subtype: str | None
) -> None:
    content = encoded(speech_like(1, RATE, 1.0), RATE, container, subtype)
    path = tmp_path / "a"
    for at in range(0, 200, 5):
        for value in (0xFF, content[at] ^ 1):
            path.write_bytes(content[:at] + bytes([value]) + content[at + 1 :])
            with contextlib.suppress(audio.AudioError):
                assert len(audio.decode(path, sample_rate=RATE, max_seconds=5.0)) <= 5 * RATE


@pytest.mark.parametrize(
    "field", ["7ffff80000000000", "7ff8000000000000", "3ff0000000000000", "0000000000000001",
              "c0bf400000000000", "41dfffffffc00000", "7fefffffffffffff"],
)  # fmt: skip
def test_a_sample_rate_without_sense_is_a_reason(tmp_path: Path, field: str) -> None:
    """CAF has it as a float: infinite, NaN, 1 Hz, next to nothing, negative, 2 GHz, the largest."""
    content = encoded(speech_like(1, RATE, 1.0), RATE, "CAF")
    at = content.index(b"desc") + 12
    path = tmp_path / "a.caf"
    path.write_bytes(content[:at] + bytes.fromhex(field) + content[at + 8 :])
    with pytest.raises(audio.AudioError) as caught:
        audio.decode(path, sample_rate=RATE, max_seconds=5.0)
    assert caught.value.reason == audio.UNREADABLE


@pytest.mark.parametrize("size", [2**31 - 1, 2**32, 2**62, 2**63 - 1])
def test_a_chunk_that_ends_behind_every_file_is_a_reason(tmp_path: Path, size: int) -> None:
    content = encoded(speech_like(1, RATE, 1.0), RATE, "CAF")
    at = content.index(b"desc") + 4
    path = tmp_path / "a.caf"
    path.write_bytes(content[:at] + size.to_bytes(8, "big") + content[at + 8 :])
    with pytest.raises(audio.AudioError) as caught:
        audio.decode(path, sample_rate=RATE, max_seconds=5.0)
    assert caught.value.reason == audio.UNREADABLE
    assert audio.own_sample_rate(path) is None


_DECODE = """
import sys
from components import audio
try:
    audio.decode(sys.argv[1], sample_rate=16_000)
except audio.AudioError:
    print("refused")
"""


@pytest.mark.parametrize("inserted", [b"\xff" * 50, b"\xff" * 127])
def test_a_damaged_recording_prints_nothing(tmp_path: Path, inserted: bytes) -> None:
    """What a command prints may be read by a program."""
    content = encoded(speech_like(1, RATE, 1.0), RATE, "SDS")
    path = tmp_path / "a.sds"
    path.write_bytes(content[: 21 + 10 * 127] + inserted + content[21 + 10 * 127 :])
    command = [sys.executable, "-c", _DECODE, str(path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "refused\n"


def test_changed_recordings_are_read_or_refused_within_bounds(tmp_path: Path) -> None:
    """Twenty thousand of them: `python -m benchmarks.fuzz`."""
    numbers = range(0, 3 * len(recordings()), 10)
    outcomes = [decoded(number, 0, tmp_path / "a") for number in numbers]
    assert len({outcome.name for outcome in outcomes}) >= 30
    assert [outcome for outcome in outcomes if not outcome.is_within_bounds] == []


@pytest.mark.long
def test_thousands_of_changed_recordings_are_read_or_refused_within_bounds() -> None:
    """In processes that a crash ends and whose address space is bounded."""
    outcomes = list(check_decoder(3_000, 1))
    assert len(outcomes) == 3_000
    assert {outcome.name for outcome in outcomes} == recordings().keys()
    assert [outcome for outcome in outcomes if not outcome.is_within_bounds] == []


@pytest.mark.parametrize(
    "beyond",
    [{"reason": "MemoryError: no memory"}, {"seconds": MOST_SECONDS},
     {"samples": int((MAX_SECONDS + 2.0) * RATE)}, {"grown_bytes": MOST_GROWN_BYTES + 1}],
)  # fmt: skip
def test_what_went_beyond_a_bound_is_told(beyond: dict[str, Any]) -> None:
    outcome = Outcome("WAV PCM_16", "ok", 0.1, RATE, 2**33, 2**20)
    assert outcome.is_within_bounds
    assert not replace(outcome, **beyond).is_within_bounds


def test_changed_wavs_are_read_or_refused_by_the_model() -> None:
    assert [each for each in check_reader(100, 0) if not each.is_within_bounds] == []


@pytest.mark.parametrize("error", [TypeError("x"), OSError(5, "I/O error"), ValueError("a\nb")])
def test_whatever_a_decoder_raises_is_a_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(encoded(speech_like(2, RATE), RATE))

    def raising(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(soundfile.SoundFile, "read", raising)
    with pytest.raises(audio.AudioError) as caught:
        audio.decode(path, sample_rate=RATE)
    assert caught.value.reason == audio.TRUNCATED
    monkeypatch.setattr(soundfile.SoundFile, "__init__", raising)
    assert audio.own_sample_rate(path) is None
