"""Recordings whose header or first part is not all of them are read whole, or it is said."""

import struct
from pathlib import Path

import numpy as np
import pytest

from components import audio
from components.decoding import extent
from components.decoding.headers import FileBytes
from tests.bad_recordings import by_ffmpeg, encoded, speech_like

RATE = 16_000
SPEECH = speech_like(1, RATE, 4.0)
WAV = encoded(SPEECH, RATE)
HALVES = encoded(SPEECH[: 2 * RATE], RATE), encoded(SPEECH[2 * RATE :], RATE)


def joined(container: str, *options: str) -> bytes:
    return b"".join(by_ffmpeg(half, container, *options) for half in HALVES)


def with_frames(mp3: bytes, change: float) -> bytes:
    """The MP3 with another number of frames in its Xing header."""
    at = max(mp3.find(b"Xing"), mp3.find(b"Info")) + 8
    (frames,) = struct.unpack(">I", mp3[at : at + 4])
    return mp3[:at] + struct.pack(">I", round(change * frames)) + mp3[at + 4 :]


def mp3(*options: str, tmp_path: Path) -> bytes:
    """Written to a file: into a pipe, ffmpeg cannot go back to fill in the header."""
    import subprocess

    import imageio_ffmpeg

    path = tmp_path / "whole.mp3"
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-i", "-", *options, str(path)]
    subprocess.run(command, input=WAV, check=True)
    content = path.read_bytes()
    path.unlink()
    return content


def decoded(tmp_path: Path, content: bytes) -> np.ndarray:
    path = tmp_path / "a"
    path.write_bytes(content)
    return audio.decode(path, sample_rate=RATE)


@pytest.mark.parametrize(
    ("container", "options"),
    [
        ("ogg", ("-c:a", "libvorbis")),
        ("ogg", ("-c:a", "libopus")),
        ("ogg", ("-c:a", "flac")),
        ("flac", ()),
        ("mp3", ("-q:a", "4")),
        ("mp3", ("-b:a", "64k")),
        ("adts", ("-c:a", "aac")),
    ],
)
def test_joined_recordings_are_read_to_the_last(
    tmp_path: Path, container: str, options: tuple[str, ...]
) -> None:
    samples = decoded(tmp_path, joined(container, *options))
    assert 3.95 <= len(samples) / RATE <= 4.3
    end = samples[-RATE:]
    best = np.max(np.abs(np.correlate(SPEECH[-2 * RATE :].astype(np.float32), end[:8_000])))
    assert best / (np.linalg.norm(end[:8_000]) * np.linalg.norm(SPEECH[-RATE:])) > 0.3


def test_joined_flacs_behind_a_tag_are_read_to_the_last(tmp_path: Path) -> None:
    tag = b"ID3\x04\x00\x00\x00\x00\x00\x0a" + bytes(10)
    assert 3.95 <= len(decoded(tmp_path, tag + joined("flac"))) / RATE <= 4.05


def test_of_tracks_that_are_all_silent_it_is_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    silent = encoded(np.zeros(len(SPEECH)), RATE)
    content = by_ffmpeg(silent, "matroska", "-map", "0:a", "-map", "0:a", "-c:a", "flac")
    assert not decoded(tmp_path, content).any()
    assert "all its 2 audio tracks are silent" in caplog.text


def test_joined_recordings_that_ffmpeg_cannot_go_on_with_are_truncated(tmp_path: Path) -> None:
    parts = [encoded(SPEECH, RATE, "FLAC", kind) for kind in ("PCM_24", "PCM_16")]
    with pytest.raises(audio.AudioError, match="switching bps mid-stream") as caught:
        decoded(tmp_path, b"".join(parts))
    assert caught.value.reason == audio.TRUNCATED


@pytest.mark.parametrize("change", [0.0, 0.5, 0.9])
@pytest.mark.parametrize("options", [("-q:a", "4"), ("-b:a", "64k")])
def test_an_mp3_header_that_says_too_little_is_not_believed(
    tmp_path: Path, change: float, options: tuple[str, ...]
) -> None:
    content = mp3(*options, tmp_path=tmp_path)
    samples = decoded(tmp_path, with_frames(content, change))
    assert 4.0 <= len(samples) / RATE <= 4.15
    # In one piece: nothing is missing where the header says that the end is.
    matches = np.correlate(samples, SPEECH.astype(np.float32), "valid")
    start = int(np.argmax(matches))
    piece = samples[start : start + len(SPEECH)]
    assert matches[start] > 0.98 * np.linalg.norm(piece) * np.linalg.norm(SPEECH)


def test_an_mp3_header_that_is_right_is_believed(tmp_path: Path) -> None:
    for options in (("-q:a", "4"), ("-b:a", "32k", "-ac", "2"), ("-ar", "44100"), ("-ar", "8000")):
        path = tmp_path / "a.mp3"
        path.write_bytes(mp3(*options, tmp_path=tmp_path))
        with path.open("rb") as file:
            content = FileBytes(file)
            start = extent._behind_tags(content, 0)
            first, *rest = extent._mpeg_frames(content, start)
            declared = extent._declared_mp3_frames(content.at(start, 2_048), first.side_bytes)
            assert declared == len(rest)
            assert extent._mp3_is_as_declared(content)


def test_an_mp3_header_that_says_too_much_is_truncated(tmp_path: Path) -> None:
    content = mp3("-q:a", "4", tmp_path=tmp_path)
    with pytest.raises(audio.AudioError) as caught:
        decoded(tmp_path, with_frames(content, 2.0))
    assert caught.value.reason == audio.TRUNCATED


def track_file(tmp_path: Path, container: str, codec: str, *dispositions: str) -> bytes:
    """Two tracks, the first of them silent."""
    silent = tmp_path / "silent.wav"
    silent.write_bytes(encoded(np.zeros(len(SPEECH)), RATE))
    options = ["-i", str(silent), "-map", "1:a", "-map", "0:a", "-c:a", codec]
    movflags = ["-movflags", "frag_keyframe+empty_moov"] if container == "mp4" else []
    return by_ffmpeg(WAV, container, *options, *dispositions, *movflags)


@pytest.mark.parametrize(
    ("container", "codec", "dispositions"),
    [
        ("matroska", "flac", ()),
        ("mp4", "aac", ("-disposition:a:0", "0", "-disposition:a:1", "default")),
        ("mp4", "aac", ("-disposition:a:0", "default", "-disposition:a:1", "0")),
        ("mpegts", "aac", ()),
    ],
)
def test_of_several_tracks_one_that_is_not_silent_is_read_and_it_is_said(
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    container: str,
    codec: str,
    dispositions: tuple[str, ...],
) -> None:
    samples = decoded(tmp_path, track_file(tmp_path, container, codec, *dispositions))
    assert np.max(np.abs(samples)) > 0.1
    assert "of its 2 audio tracks number 2 is used" in caplog.text


def test_of_two_tracks_that_speak_the_default_one_is_read(tmp_path: Path) -> None:
    other = tmp_path / "other.wav"
    other.write_bytes(encoded(0.1 * speech_like(2, RATE, 4.0), RATE))
    options = ["-i", str(other), "-map", "0:a", "-map", "1:a", "-c:a", "flac"]
    for default, peak in ((0, 0.5), (1, 0.05)):
        marks = ["-disposition:a:0", "0", "-disposition:a:1", "0"]
        marks += [f"-disposition:a:{default}", "default"]
        samples = decoded(tmp_path, by_ffmpeg(WAV, "matroska", *options, *marks))
        assert np.max(np.abs(samples)) == pytest.approx(peak, rel=0.01)
