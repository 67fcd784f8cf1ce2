import errno
import os
import pickle
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import imageio_ffmpeg
import librosa
import numpy as np
import pytest
import soundfile
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from components import audio
from components.audio import AudioError, decode, decode_blocks
from components.decoding import ffmpeg
from tests.bad_recordings import by_ffmpeg, encoded, speech_like

RATE = 16_000


def oracle(path: Path, sample_rate: int) -> np.ndarray:
    samples, _ = librosa.load(path, sr=sample_rate, mono=True, res_type="soxr_hq")
    return np.asarray(samples)


def assert_close(samples: np.ndarray, expected: np.ndarray) -> None:
    """librosa pads or cuts to the rounded-up length: one sample more or less."""
    assert abs(len(samples) - len(expected)) <= 1
    shared = min(len(samples), len(expected))
    np.testing.assert_allclose(samples[:shared], expected[:shared], atol=1e-4)


def write(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(
    ("container", "subtype"),
    [
        ("WAV", "PCM_U8"),
        ("WAV", "PCM_16"),
        ("WAV", "PCM_24"),
        ("WAV", "PCM_32"),
        ("WAV", "FLOAT"),
        ("WAV", "DOUBLE"),
        ("FLAC", "PCM_24"),
        ("OGG", "VORBIS"),
        ("MP3", "MPEG_LAYER_III"),
    ],
)
def test_decode_equals_librosa(tmp_path: Path, container: str, subtype: str) -> None:
    stereo = np.stack([speech_like(1, 22_050), speech_like(2, 22_050)], axis=1)
    path = write(tmp_path / "sound", encoded(stereo, 22_050, container, subtype))
    # A seek, even to 0, changes the last bit of what libsndfile's MP3 decoder gives.
    tolerance = 1e-6 if container == "MP3" else 0.0
    np.testing.assert_allclose(
        decode(path, sample_rate=22_050), oracle(path, 22_050), rtol=0.0, atol=tolerance
    )
    assert_close(decode(path, sample_rate=RATE), oracle(path, RATE))


def test_m4a_equals_the_wav_that_ffmpeg_makes_of_it(tmp_path: Path) -> None:
    wav = write(tmp_path / "sound.wav", encoded(speech_like(3, 44_100), 44_100))
    m4a, decoded = tmp_path / "sound.m4a", tmp_path / "decoded.wav"
    ffmpeg = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-i"]
    subprocess.run([*ffmpeg, wav, m4a], check=True)
    subprocess.run([*ffmpeg, m4a, "-c:a", "pcm_f32le", decoded], check=True)
    samples = decode(m4a, sample_rate=44_100)
    np.testing.assert_array_equal(samples, oracle(decoded, 44_100))
    assert_close(decode(m4a, sample_rate=RATE), oracle(decoded, RATE))
    source = speech_like(3, 44_100)
    assert np.corrcoef(samples[: len(source)], source)[0, 1] > 0.95


def test_variable_rate_mp3_without_length_is_whole(tmp_path: Path) -> None:
    wav = encoded(speech_like(4, RATE, 5.0), RATE)
    path = write(tmp_path / "a.mp3", by_ffmpeg(wav, "mp3", "-q:a", "4", "-write_xing", "0"))
    assert len(oracle(path, RATE)) < 4 * RATE, "libsndfile reads it whole now: ffmpeg is not needed"
    assert 5.0 <= len(decode(path, sample_rate=RATE)) / RATE < 5.2


@given(
    source_rate=st.sampled_from([4_000, 8_000, 11_025, 22_050, 44_100, 48_000, 192_000]),
    target_rate=st.sampled_from([8_000, 16_000, 22_050]),
    channels=st.integers(1, 6),
    frames=st.integers(1, 20_000),
    block_values=st.integers(100, 30_000),
)
@settings(max_examples=30)
def test_blocks_equal_one_shot_librosa(
    tmp_path_factory: pytest.TempPathFactory,
    source_rate: int,
    target_rate: int,
    channels: int,
    frames: int,
    block_values: int,
) -> None:
    path = tmp_path_factory.mktemp("audio") / "sound.wav"
    # Of a few samples channels may cancel by chance, of which the loudest is then taken.
    assume(channels == 1 or frames >= 50)
    chance = np.random.default_rng(frames)
    noise = chance.uniform(-0.4, 0.4, (frames, 1)) + chance.uniform(-0.1, 0.1, (frames, channels))
    soundfile.write(path, noise, source_rate)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(audio, "_MAX_BLOCK_VALUES", block_values)
        blocks = list(decode_blocks(path, sample_rate=target_rate))
    assert all(block.dtype == np.float32 and block.ndim == 1 for block in blocks)
    assert_close(np.concatenate(blocks), oracle(path, target_rate))


@pytest.mark.parametrize("container", ["WAV", "FLAC", "OGG", "MP3"])
def test_cut_is_the_same_as_cutting_the_decoded(tmp_path: Path, container: str) -> None:
    path = write(tmp_path / "sound", encoded(speech_like(5, RATE), RATE, container))
    whole = decode(path, sample_rate=RATE)
    cut = decode(path, sample_rate=RATE, start_seconds=1.25, end_seconds=2.5)
    np.testing.assert_allclose(cut, whole[20_000:40_000], atol=1e-6)
    to_the_end = decode(path, sample_rate=RATE, start_seconds=2.0, end_seconds=99.0)
    np.testing.assert_allclose(to_the_end, whole[32_000:], atol=1e-6)
    with pytest.raises(AudioError, match="the recording has 3 s") as caught:
        decode(path, sample_rate=RATE, start_seconds=3.0)
    assert caught.value.reason == audio.NO_SAMPLES


@pytest.mark.parametrize(
    "container", ["WAV", "AIFF", "AU", "W64", "RF64", "CAF", "NIST", "FLAC", "OGG", "MP3"]
)
@pytest.mark.parametrize("kept_percent", [30, 90])
def test_truncated_is_told(tmp_path: Path, container: str, kept_percent: int) -> None:
    content = encoded(speech_like(6, RATE), RATE, container)
    path = write(tmp_path / "sound", content[: len(content) * kept_percent // 100])
    with pytest.raises(AudioError) as caught:
        decode(path, sample_rate=RATE)
    assert caught.value.reason == audio.TRUNCATED


@pytest.mark.parametrize(
    ("container", "subtype"),
    [("NIST", "ULAW"), ("CAF", "ALAC_16"), ("FLAC", None), ("OGG", "VORBIS"), ("OGG", "OPUS")],
)
def test_what_ends_in_the_middle_of_a_frame_is_truncated(
    tmp_path: Path, container: str, subtype: str | None
) -> None:
    content = encoded(speech_like(6, RATE, 6.0), RATE, container, subtype)
    path = write(tmp_path / "sound", content[:-1_500])
    with pytest.raises(AudioError) as caught:
        decode(path, sample_rate=RATE)
    assert caught.value.reason == audio.TRUNCATED


@pytest.mark.parametrize("container", ["WAV", "FLAC", "AIFF", "AU", "CAF", "NIST"])
@pytest.mark.parametrize("samples", [1, 2])
def test_a_sample_or_two_are_a_recording(tmp_path: Path, container: str, samples: int) -> None:
    path = write(tmp_path / "sound", encoded(np.full(samples, 0.5), RATE, container, "PCM_16"))
    np.testing.assert_array_equal(decode(path, sample_rate=RATE), np.full(samples, 0.5))


@pytest.mark.parametrize("front", [b"\0" * 512, b"\xef\xbb\xbf", b"HTTP/1.1 200 OK\r\n\r\n"])
def test_a_recording_behind_something_else_is_said_to_be_no_audio(
    tmp_path: Path, front: bytes
) -> None:
    path = write(tmp_path / "sound.wav", front + encoded(speech_like(6, RATE), RATE))
    with pytest.raises(AudioError) as caught:
        decode(path, sample_rate=RATE)
    assert caught.value.reason == audio.NOT_AUDIO
    assert "resource fork" not in caught.value.message


@pytest.mark.parametrize("faststart", [False, True])
def test_truncated_m4a_is_told(tmp_path: Path, faststart: bool) -> None:
    wav = write(tmp_path / "sound.wav", encoded(speech_like(7, RATE), RATE))
    whole = tmp_path / "whole.m4a"
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-i", wav]
    subprocess.run([*command, *["-movflags", "+faststart"] * faststart, whole], check=True)
    content = whole.read_bytes()
    path = write(tmp_path / "half.m4a", content[: len(content) // 2])
    with pytest.raises(AudioError) as caught:
        decode(path, sample_rate=RATE)
    assert caught.value.reason == audio.TRUNCATED


@pytest.mark.parametrize("container", ["WAV", "AIFF", "CAF", "FLAC", "OGG", "MP3"])
def test_garbage_behind_the_sound_is_no_fault(tmp_path: Path, container: str) -> None:
    content = encoded(speech_like(8, RATE), RATE, container)
    whole = decode(write(tmp_path / "whole", content), sample_rate=RATE)
    garbage = np.random.default_rng(0).bytes(5_000)
    np.testing.assert_array_equal(
        decode(write(tmp_path / "longer", content + garbage), sample_rate=RATE), whole
    )


@pytest.mark.parametrize("container", ["wav", "flac", "au", "ogg"])
def test_a_file_written_to_a_pipe_has_no_length_and_is_whole(
    tmp_path: Path, container: str
) -> None:
    content = by_ffmpeg(encoded(speech_like(9, RATE), RATE), container)
    assert len(decode(write(tmp_path / "piped", content), sample_rate=RATE)) == 3 * RATE


def test_damage_in_an_mp3_without_length_is_skipped(tmp_path: Path) -> None:
    content = by_ffmpeg(encoded(speech_like(10, RATE), RATE), "mp3", "-write_xing", "0")
    middle = len(content) // 2
    garbage = np.random.default_rng(0).bytes(1_500)
    path = write(tmp_path / "a.mp3", content[:middle] + garbage + content[middle:])
    assert len(decode(path, sample_rate=RATE)) > 2.8 * RATE


def test_samples_beyond_full_scale_are_kept(tmp_path: Path) -> None:
    samples = 6.0 * speech_like(11, RATE)
    path = write(tmp_path / "a.wav", encoded(samples, RATE, subtype="FLOAT"))
    np.testing.assert_array_equal(decode(path, sample_rate=RATE), samples.astype(np.float32))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e300])
def test_samples_that_are_no_numbers(tmp_path: Path, value: float) -> None:
    samples = speech_like(12, RATE)
    samples[-1] = value
    path = write(tmp_path / "a.wav", encoded(samples, RATE, subtype="DOUBLE"))
    with pytest.raises(AudioError) as caught:
        decode(path, sample_rate=8_000)
    assert caught.value.reason == audio.NAN_SAMPLES


def test_only_regular_files_are_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.wav")
    for path in (tmp_path / "pipe.wav", tmp_path, "/dev/zero"):
        with pytest.raises(AudioError) as caught:
            decode(path, sample_rate=RATE)
        assert caught.value.reason == audio.NOT_A_FILE
    with pytest.raises(AudioError, match="No such file") as caught:
        decode(tmp_path / "missing.wav", sample_rate=RATE)
    assert caught.value.reason == audio.UNREADABLE


def test_a_playlist_opens_no_other_file(tmp_path: Path) -> None:
    write(tmp_path / "secret.wav", encoded(speech_like(13, RATE), RATE))
    path = write(
        tmp_path / "list.wav", f"ffconcat version 1.0\nfile {tmp_path}/secret.wav\n".encode()
    )
    with pytest.raises(AudioError) as caught:
        decode(path, sample_rate=RATE)
    assert caught.value.reason == audio.NOT_AUDIO


def test_ffmpeg_has_a_time_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "a.aac", by_ffmpeg(encoded(speech_like(14, RATE), RATE), "adts"))
    monkeypatch.setattr(ffmpeg, "WAIT_SECONDS", 0.001)
    with pytest.raises(AudioError, match="did not finish") as caught:
        decode(path, sample_rate=RATE)
    assert caught.value.reason == audio.UNREADABLE


def test_a_full_disk_is_no_fault_of_the_recording(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path / "a.aac", by_ffmpeg(encoded(speech_like(15, RATE), RATE), "adts"))

    def full() -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(tempfile, "TemporaryFile", full)
    with pytest.raises(OSError, match="No space left"):
        decode(path, sample_rate=RATE)


def test_nothing_comes_on_the_disk_and_no_process_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path / "a.aac", by_ffmpeg(encoded(speech_like(16, RATE), RATE), "adts"))
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))
    monkeypatch.setattr(audio, "_MAX_BLOCK_VALUES", 1_000)
    children = Path(f"/proc/self/task/{threading.get_native_id()}/children")
    others = children.read_text().split()  # a server of forks, of a test before
    blocks = decode_blocks(path, sample_rate=RATE)
    next(blocks)
    assert not list(scratch.iterdir())
    assert len(children.read_text().split()) == len(others) + 1
    del blocks
    assert children.read_text().split() == others


def test_error_survives_pickling() -> None:
    error = pickle.loads(pickle.dumps(AudioError(audio.TRUNCATED, "breaks off")))
    assert (error.reason, str(error)) == (audio.TRUNCATED, "breaks off")


_PEAK = """
import resource, sys
from components.audio import decode_blocks
samples = sum(len(block) for block in decode_blocks(sys.argv[1], sample_rate=16_000))
print(samples, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def test_length_costs_no_memory(tmp_path: Path) -> None:
    minute = np.random.default_rng(0).integers(-9_000, 9_000, 60 * 8_000, dtype=np.int16)
    peaks = {}
    for minutes in (1, 60):
        path = tmp_path / f"{minutes}.wav"
        with soundfile.SoundFile(path, "w", samplerate=8_000, channels=1) as file:
            for _ in range(minutes):
                file.write(minute)
        command = [sys.executable, "-c", _PEAK, str(path)]
        root = Path(audio.__file__).parents[1]
        done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True)
        samples, peaks[minutes] = map(int, done.stdout.split())
        assert samples == minutes * 60 * RATE
    # The hour is 230 MB as float32 at 16 kHz.
    assert peaks[60] - peaks[1] < 20_000, peaks
