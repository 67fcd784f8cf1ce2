"""Sizes that recorders left unfinished: one rule for the decoder and the served model."""

import io
import struct
from pathlib import Path

import numpy as np
import pytest
import soundfile
import tensorflow as tf

from components import audio, wav
from components.decoding.headers import MendedFile, MendedHeader
from tests.bad_recordings import by_ffmpeg, encoded, speech_like

RATE = 16_000
SPEECH = speech_like(1, RATE)
PCM16 = np.round(SPEECH * 32767).astype("<i2")
HELD = 2 * len(PCM16)
FORMAT = b"fmt " + struct.pack("<IHHIIHH", 16, 1, 1, RATE, 2 * RATE, 2, 16)
UNKNOWN = 0xFFFF_FFFF


def riff(
    size: int, data: int, *, before: bytes = b"", magic: bytes = b"RIFF", content: bytes = b""
) -> bytes:
    head = magic + struct.pack("<I", size) + b"WAVE" + before + FORMAT
    return head + b"data" + struct.pack("<I", data) + (content or PCM16.tobytes())


def ds64(data: int) -> bytes:
    return b"ds64" + struct.pack("<IQQQI", 28, 0, data, 0, 0)


WAVS = {
    "died: both 0": riff(0, 0),
    "died: only the header was counted": riff(36, 0),
    "streamed: RIFF unknown, data 0": riff(UNKNOWN, 0),
    "streamed: both unknown": riff(UNKNOWN, UNKNOWN),
    "streamed: unknown less the header": riff(UNKNOWN, UNKNOWN - 36),
    "streamed: half of unknown": riff(0x7FFF_FFFF, 0x7FFF_FFDB),
    "streamed: a round number": riff(2_000_000_036, 2_000_000_000),
    "streamed: 1 GiB": riff(2**30 + 36, 2**30),
    "a list of odd size without padding": riff(
        36 + 17 + HELD, HELD, before=b"LIST" + struct.pack("<I", 9) + b"INFOISFT\x01"
    ),
    "two of them": riff(
        36 + 34 + HELD, HELD, before=2 * (b"LIST" + struct.pack("<I", 9) + b"INFOISFT\x01")
    ),
    "other chunks of odd sizes without padding": riff(
        36 + 38 + HELD,
        HELD,
        before=b"cue "
        + struct.pack("<I", 3)
        + b"abcbext"
        + struct.pack("<I", 9)
        + b"x" * 9
        + b"fact"
        + struct.pack("<I", 1)
        + b"x",
    ),
}


def read_by_the_model(content: bytes) -> np.ndarray:
    header = wav.read_header(tf.constant(content))
    samples: np.ndarray = wav.read_mono(tf.constant(content), header).numpy()
    return samples


@pytest.mark.parametrize("name", WAVS)
def test_a_wav_is_read_to_its_end_by_both_readers(tmp_path: Path, name: str) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(WAVS[name])
    expected = (PCM16 / 32768.0).astype(np.float32)
    np.testing.assert_array_equal(audio.decode(path, sample_rate=RATE), expected)
    np.testing.assert_array_equal(read_by_the_model(WAVS[name]), expected)
    assert audio.own_sample_rate(path) == RATE


@pytest.mark.parametrize("magic", [b"RF64", b"BW64"])
@pytest.mark.parametrize("declared", [0, HELD])
def test_an_rf64_is_read_to_its_end(tmp_path: Path, magic: bytes, declared: int) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(riff(UNKNOWN, UNKNOWN, before=ds64(declared), magic=magic))
    assert len(audio.decode(path, sample_rate=RATE)) == len(PCM16)


def patched(content: bytes, marker: bytes, offset: int, layout: str, value: int) -> bytes:
    changed = bytearray(content)
    struct.pack_into(layout, changed, content.index(marker) + offset, value)
    return bytes(changed)


AU = encoded(SPEECH, RATE, "AU", "PCM_16")
AIFF = encoded(SPEECH, RATE, "AIFF", "PCM_16")
CAF = encoded(SPEECH, RATE, "CAF", "PCM_16")


@pytest.mark.parametrize(
    "content",
    [
        *(patched(AU, b".snd", 8, ">I", size) for size in (0, UNKNOWN, 0x7FFF_FFFF, 2 * 10**9)),
        *(patched(AIFF, b"SSND", 4, ">I", size) for size in (0, 8, UNKNOWN, 2 * 10**9)),
        patched(patched(AIFF, b"SSND", 4, ">I", 8), b"COMM", 10, ">I", 0),
        *(patched(CAF, b"data", 4, ">q", size) for size in (-1, 0, 4, 2**40)),
        *(by_ffmpeg(encoded(SPEECH, RATE), container) for container in ("aiff", "caf", "w64")),
        by_ffmpeg(encoded(SPEECH, RATE), "wav", "-rf64", "always"),
    ],
)
def test_what_was_streamed_or_broken_off_is_read_to_its_end(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a"
    path.write_bytes(content)
    assert len(audio.decode(path, sample_rate=RATE)) == len(SPEECH)


@pytest.mark.parametrize(
    "content",
    [
        riff(HELD, HELD + 100_000),
        riff(2**30, 2**30 - 1),
        patched(AU, b".snd", 8, ">I", HELD + 100_000),
        patched(AIFF, b"SSND", 4, ">I", HELD + 100_000),
    ],
)
def test_a_plausible_size_that_is_not_there_is_still_truncated(
    tmp_path: Path, content: bytes
) -> None:
    path = tmp_path / "a"
    path.write_bytes(content)
    with pytest.raises(audio.AudioError) as caught:
        audio.decode(path, sample_rate=RATE)
    assert caught.value.reason == audio.TRUNCATED


@pytest.mark.parametrize(
    "content",
    [
        riff(36 + HELD // 2, HELD // 2),
        encoded(SPEECH, RATE) + encoded(SPEECH, RATE),
        patched(AU, b".snd", 8, ">I", HELD // 2),
        AU + AU,
        patched(patched(AIFF, b"SSND", 4, ">I", 8 + HELD // 2), b"COMM", 10, ">I", HELD // 4),
        AIFF + AIFF,
        CAF + CAF,
    ],
    ids=["half", "joined", "half AU", "AUs", "half AIFF", "AIFFs", "CAFs"],
)
def test_a_recording_that_holds_more_than_it_says_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, content: bytes
) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(content)
    audio.decode(path, sample_rate=RATE)
    assert "bytes behind what its header tells of are not read" in caplog.text


def test_what_only_libsndfile_reads_right_is_not_read_by_ffmpeg(tmp_path: Path) -> None:
    rifx = io.BytesIO()
    soundfile.write(rifx, SPEECH, RATE, "PCM_16", "BIG", "WAV")
    (tmp_path / "a.wav").write_bytes(rifx.getvalue())
    decoded = audio.decode(tmp_path / "a.wav", sample_rate=RATE)
    np.testing.assert_allclose(decoded, SPEECH, atol=2 / 32_768)
    (tmp_path / "a.wav").write_bytes(2 * rifx.getvalue())
    with pytest.raises(audio.AudioError) as caught:
        audio.decode(tmp_path / "a.wav", sample_rate=RATE)
    assert caught.value.reason == audio.UNREADABLE


@pytest.mark.parametrize("content", [AU, AIFF, CAF, riff(36 + HELD, HELD)])
def test_a_recording_that_holds_what_it_says_is_not_spoken_of(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, content: bytes
) -> None:
    path = tmp_path / "a"
    path.write_bytes(content)
    audio.decode(path, sample_rate=RATE)
    assert caplog.text == ""


def test_a_wav_with_tags_behind_its_samples_holds_no_more(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "a.wav"
    tags = b"LIST" + struct.pack("<I", 30_000) + b"x" * 30_000
    path.write_bytes(encoded(SPEECH, RATE) + tags + b"id3 " + struct.pack("<I", 3) + b"abc\0")
    audio.decode(path, sample_rate=RATE)
    assert caplog.text == ""


def test_a_mended_file_reads_as_its_header_and_the_rest(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"0123456789")
    with path.open("rb") as file:
        mended = MendedFile(file, MendedHeader(b"head", 6))
        whole = b"head6789"
        assert mended.read() == whole
        for start in range(len(whole) + 2):
            assert mended.seek(start) == mended.tell() == start
            assert mended.read(3) == whole[start : start + 3]
        assert mended.seek(-2, io.SEEK_END) == 6
        assert mended.seek(-1, io.SEEK_CUR) == 5
