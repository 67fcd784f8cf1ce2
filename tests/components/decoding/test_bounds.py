"""A recording takes no more memory, disk and time than its bound, whatever it is and says."""

import subprocess
import sys
import threading
import time
from pathlib import Path

import imageio_ffmpeg
import numpy as np
import pytest
import soundfile

from components import audio
from components.decoding import ffmpeg
from components.errors import SwarError
from tests.bad_recordings import by_ffmpeg, encoded, speech_like

RATE = 16_000
ROOT = Path(audio.__file__).parents[1]


def flac_bomb(path: Path, hours: float) -> Path:
    """Silence at 1 kHz, which resampling makes 16 times as much: 12 KB an hour."""
    with soundfile.SoundFile(path, "w", 1_000, 1, "PCM_16", format="FLAC") as file:
        quarter = np.zeros(900_000, np.int16)
        for _ in range(round(4 * hours)):
            file.write(quarter)
    return path


def refusal(path: Path, max_seconds: float) -> audio.AudioError:
    with pytest.raises(audio.AudioError) as caught:
        for _ in audio.decode_blocks(path, sample_rate=RATE, max_seconds=max_seconds):
            pass
    return caught.value


def test_a_declared_length_is_refused_before_anything_is_decoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = flac_bomb(tmp_path / "a.flac", 20.0)
    assert path.stat().st_size < 300_000
    monkeypatch.setattr(soundfile.SoundFile, "read", None)
    error = refusal(path, 3_600.0)
    assert error.reason == audio.TOO_LONG
    assert "has 72000 s or more, at most 3600 s" in error.message


@pytest.mark.parametrize(
    ("container", "options"),
    [("adts", ()), ("mp3", ("-write_xing", "0")), ("flac", ()), ("matroska", ("-c:a", "flac"))],
)
def test_a_length_that_is_not_declared_is_refused_where_it_is_reached(
    tmp_path: Path, container: str, options: tuple[str, ...]
) -> None:
    path = tmp_path / "a"
    wav = encoded(speech_like(1, RATE, 90.0), RATE)
    path.write_bytes(by_ffmpeg(wav, container, *options))
    samples = 0
    with pytest.raises(audio.AudioError) as caught:
        for block in audio.decode_blocks(path, sample_rate=RATE, max_seconds=31.0):
            samples += len(block)
    assert caught.value.reason == audio.TOO_LONG
    assert samples <= 31 * RATE
    assert len(audio.decode(path, sample_rate=RATE, max_seconds=100.0)) >= 90 * RATE


def test_a_cut_of_a_long_recording_is_as_long_as_itself(tmp_path: Path) -> None:
    path = flac_bomb(tmp_path / "a.flac", 2.0)
    cut = audio.decode(
        path, sample_rate=RATE, start_seconds=7_000.0, end_seconds=7_010.0, max_seconds=10.0
    )
    assert len(cut) == 10 * RATE
    with pytest.raises(audio.AudioError) as caught:
        audio.decode(path, sample_rate=RATE, start_seconds=7_000.0, max_seconds=100.0)
    assert caught.value.reason == audio.TOO_LONG


def test_channels_and_rate_do_not_multiply_the_bound(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    soundfile.write(path, np.zeros((192_000, 20), np.int16), 192_000)
    assert refusal(path, 1.5).reason == audio.TOO_LONG
    assert len(audio.decode(path, sample_rate=RATE, max_seconds=3.0)) == RATE


_PEAK_OF_TRACKS = r"""
import re, sys
from pathlib import Path
from components import audio
try:
    audio.decode(sys.argv[1], sample_rate=16_000)
except audio.AudioError as error:
    print(error.reason, end=" ")
status = Path("/proc/self/status").read_text()  # getrusage's peak may be the parent's
print(re.search(r"VmHWM:\s+(\d+)", status)[1])
"""


@pytest.mark.parametrize(
    ("rate", "channels", "wanted"), [(400_000_000, 1, ["unreadable"]), (768_000, 64, [])]
)
def test_several_tracks_take_no_more_memory_than_one(
    tmp_path: Path, rate: int, channels: int, wanted: list[str]
) -> None:
    """Which of them somebody speaks in is found a second at a time, and of what length that is."""
    path = tmp_path / "a.mkv"
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-f", "u8", "-ar", str(rate)]
    command += ["-ac", str(channels), "-i", "-", "-map", "0:a", "-map", "0:a", "-c:a", "pcm_u8"]
    subprocess.run([*command, str(path)], input=b"\x80" * 50_000_000, check=True)
    command = [sys.executable, "-c", _PEAK_OF_TRACKS, str(path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    *reasons, peak_kilobytes = done.stdout.split()
    assert reasons == wanted
    assert int(peak_kilobytes) < 300_000


_PEAK = r"""
import re, sys
from pathlib import Path
from serving.recordings import to_wav
wav = to_wav(Path(sys.argv[1]), 16_000, 120.0)
status = Path("/proc/self/status").read_text()  # getrusage's peak may be the parent's
print(len(wav), re.search(r"VmHWM:\s+(\d+)", status)[1])
"""


def test_a_client_decodes_a_second_more_than_the_model_takes(tmp_path: Path) -> None:
    path = flac_bomb(tmp_path / "a.flac", 100.0)
    command = [sys.executable, "-c", _PEAK, str(path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    size, peak_kilobytes = map(int, done.stdout.split())
    assert size == 44 + 2 * 121 * RATE
    # The hundred hours are 23 GB as float32 at 16 kHz.
    assert peak_kilobytes < 300_000


@pytest.fixture
def aac(tmp_path: Path) -> Path:
    path = tmp_path / "a.aac"
    path.write_bytes(by_ffmpeg(encoded(speech_like(2, RATE), RATE), "adts"))
    return path


def instead_of_ffmpeg(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    program = tmp_path / "program"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setattr(imageio_ffmpeg, "get_ffmpeg_exe", lambda: str(program))


def test_ffmpeg_has_a_bound_of_memory(aac: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ffmpeg, "MEMORY_BYTES", 2**24)
    with pytest.raises(audio.AudioError):
        audio.decode(aac, sample_rate=RATE)


def test_ffmpeg_has_a_bound_of_processor_time(
    aac: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    instead_of_ffmpeg(tmp_path, monkeypatch, "while :; do :; done")
    monkeypatch.setattr(ffmpeg, "PROCESSOR_SECONDS", 1)
    began = time.process_time()
    with pytest.raises(audio.AudioError):
        audio.decode(aac, sample_rate=RATE)
    assert time.process_time() - began < 1.0


def test_ffmpeg_writes_no_file_but_a_mebibyte_of_messages(
    aac: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = f"dd if=/dev/zero of={tmp_path}/big bs=4M count=2"
    instead_of_ffmpeg(tmp_path, monkeypatch, script)
    with pytest.raises(audio.AudioError):
        audio.decode(aac, sample_rate=RATE)
    assert (tmp_path / "big").stat().st_size <= 2**20


def test_bounds_hold_before_ffmpeg_begins(
    aac: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where this process has much else to do."""
    instead_of_ffmpeg(tmp_path, monkeypatch, f"cat /proc/self/limits > {tmp_path}/limits")
    ended = threading.Event()

    def busy() -> None:
        while not ended.is_set():
            sum(range(1_000))

    threads = [threading.Thread(target=busy) for _ in range(8)]
    for thread in threads:
        thread.start()
    try:
        with pytest.raises(audio.AudioError):
            audio.decode(aac, sample_rate=RATE)
    finally:
        ended.set()
        for thread in threads:
            thread.join()
    limits = {line[:26].strip(): line[26:].split() for line in (tmp_path / "limits").open()}
    assert limits["Max address space"][:2] == [str(2**30)] * 2
    assert limits["Max cpu time"][:2] == ["600"] * 2
    assert limits["Max file size"][:2] == [str(2**20)] * 2
    assert limits["Max core file size"][:2] == ["0"] * 2


_LOWER = """
import resource, sys
resource.setrlimit(resource.RLIMIT_CPU, (300, 300))
from components import audio
print(len(audio.decode(sys.argv[1], sample_rate=16_000)) > 0)
"""


def test_a_recording_is_decoded_where_the_caller_has_lower_bounds(aac: Path) -> None:
    """Who may not raise them is no fault of the recording."""
    command = [sys.executable, "-c", _LOWER, str(aac)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "True\n"


def test_a_missing_ffmpeg_is_no_fault_of_the_recording(
    aac: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IMAGEIO_FFMPEG_EXE", "/nowhere/ffmpeg")
    with pytest.raises(SwarError, match="/nowhere/ffmpeg is no program"):
        audio.decode(aac, sample_rate=RATE)


@pytest.mark.parametrize(("container", "options"), [("ast", ()), ("wav", ("-c:a", "dfpwm"))])
def test_formats_and_codecs_that_no_recorder_has_are_not_opened(
    tmp_path: Path, container: str, options: tuple[str, ...]
) -> None:
    path = tmp_path / "a"
    path.write_bytes(by_ffmpeg(encoded(speech_like(3, RATE), RATE), container, *options))
    with pytest.raises(audio.AudioError) as caught:
        audio.decode(path, sample_rate=RATE)
    assert caught.value.reason in (audio.NOT_AUDIO, audio.UNREADABLE)


@pytest.mark.parametrize(
    "text",
    [
        "#EXTM3U\n#EXTINF:1,\n{secret}\n#EXT-X-ENDLIST\n",
        "ffconcat version 1.0\nfile {secret}\n",
        "v=0\no=- 0 0 IN IP4 127.0.0.1\nc=IN IP4 127.0.0.1\nm=audio 5004 RTP/AVP 0\n",
        '<MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static"><Period><AdaptationSet>'
        "<Representation><BaseURL>{secret}</BaseURL></Representation></AdaptationSet></Period>"
        "</MPD>",
        "[playlist]\nFile1={secret}\n",
        "RTSPtextRTSP://127.0.0.1/a\n",
    ],
)
def test_what_names_other_files_opens_none(tmp_path: Path, text: str) -> None:
    secret = tmp_path / "secret.wav"
    secret.write_bytes(encoded(speech_like(4, RATE), RATE))
    for name in ("list.wav", "list.m3u8", "list.mp4"):
        path = tmp_path / name
        path.write_text(text.format(secret=secret))
        with pytest.raises(audio.AudioError) as caught:
            audio.decode(path, sample_rate=RATE)
        assert caught.value.reason == audio.NOT_AUDIO
