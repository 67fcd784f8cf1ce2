"""Folders of noises and rooms: what is listed, refused, decoded and drawn."""

import os
import shutil
import subprocess
from pathlib import Path

import imageio_ffmpeg
import numpy as np
import pytest
import soundfile

from components.errors import SwarError
from components.settings import AugmentationSettings
from components.spectrogram_pair_gen import recorded_sounds
from components.spectrogram_pair_gen.recorded_sounds import (
    RecordedSounds,
    SoundFiles,
    sounds_digest,
)
from tests.support_bucket import BucketFileSystem

RATE = 16_000


def noise(seconds=1.0, rate=RATE, seed=0):
    return 0.1 * np.random.default_rng(seed).standard_normal(round(seconds * rate))


def settings(noises=None, rooms=None):
    return AugmentationSettings(
        noise_folder=None if noises is None else str(noises),
        reverberation_folder=None if rooms is None else str(rooms),
    )


@pytest.fixture
def folder(tmp_path):
    """Three noises, one of them below, and what is none."""
    root = tmp_path / "sounds"
    (root / "street" / "none").mkdir(parents=True)
    (root / ".hidden").mkdir()
    soundfile.write(root / "b.wav", noise(seed=1), RATE)
    soundfile.write(root / "a.flac", noise(seed=2), RATE)
    soundfile.write(root / "street" / "c.wav", noise(seed=3), RATE)
    (root / ".hidden" / "d.wav").write_text("no audio")
    return root


def test_all_below_a_folder_is_listed_by_name_without_what_is_hidden(folder):
    listed = SoundFiles.listed(settings(folder))
    assert [file.name for file in listed.noises] == ["a.flac", "b.wav", "street/c.wav"]
    assert listed.rooms == ()
    assert SoundFiles.listed(AugmentationSettings()) == SoundFiles()


def test_the_digest_follows_the_files_and_not_where_they_lie(folder, tmp_path):
    first = sounds_digest(settings(folder))
    assert sounds_digest(settings(rooms=folder)) != first != sounds_digest(settings())
    moved = folder.rename(tmp_path / "elsewhere")
    assert sounds_digest(settings(moved)) == first
    os.utime(moved / "b.wav", (1, 1))
    touched = sounds_digest(settings(moved))
    shutil.copy2(moved / "b.wav", moved / "e.wav")
    assert len({first, touched, sounds_digest(settings(moved))}) == 3


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("README.txt", b"all recorded in 2020", r"README\.txt' is no recording .*: take it out"),
        ("empty.wav", b"", r"empty\.wav' is no recording .*holds no bytes"),
    ],
)
def test_a_file_that_is_no_audio_is_named(folder, name, content, message):
    (folder / name).write_bytes(content)
    with pytest.raises(SwarError, match=message):
        sounds_digest(settings(folder))


def test_a_file_that_cannot_be_reached_is_named(folder):
    (folder / "away.wav").symlink_to("nowhere.wav")
    with pytest.raises(SwarError, match=r"away\.wav' cannot be used \(broken_link"):
        sounds_digest(settings(folder))


def test_a_folder_that_is_none_or_holds_nothing_is_told(folder):
    for wrong, message in (
        (folder / "no", r"pairs\.augmentation\.noise_folder '.*/no' does not exist"),
        (folder / "b.wav", r"noise_folder '.*b\.wav' is no folder"),
        (folder / "street" / "none", r"noise_folder '.*none' holds no recording"),
        ("nosuch://bucket", "no filesystem for 'nosuch://bucket'"),
    ):
        with pytest.raises(SwarError, match=message):
            sounds_digest(settings(wrong))
    with pytest.raises(SwarError, match=r"pairs\.augmentation\.reverberation_folder"):
        sounds_digest(settings(folder, rooms=folder / "no"))


def test_a_folder_may_lie_in_a_bucket(folder, monkeypatch):
    root = "testbucket://b/noise"
    objects = {f"{root}/a.flac": (folder / "a.flac").read_bytes(), f"{root}/.x/y": b"hidden"}
    monkeypatch.setattr(BucketFileSystem, "objects", objects)
    files = SoundFiles.listed(settings(f"{root}/"))
    (decoded,) = RecordedSounds.decoded(files, RATE).noises
    expected, _ = soundfile.read(folder / "a.flac", dtype="float32")
    np.testing.assert_array_equal(decoded, expected)
    with pytest.raises(SwarError, match="holds no recording"):
        sounds_digest(settings("testbucket://b/other"))
    objects[f"{root}/b.wav"] = b"no audio"
    files = SoundFiles.listed(settings(root))
    with pytest.raises(SwarError, match=r"testbucket://b/noise/b\.wav' is no recording"):
        RecordedSounds.decoded(files, RATE)


def test_what_is_silent_is_named(folder):
    soundfile.write(folder / "silent.wav", np.zeros(RATE), RATE)
    with pytest.raises(SwarError, match=r"silent\.wav' is silent"):
        RecordedSounds.decoded(SoundFiles.listed(settings(folder)), RATE)


def test_noises_are_mono_at_the_rate_of_the_speech_in_any_format(tmp_path):
    tone = 0.5 * np.sin(2 * np.pi * 440 * np.arange(44_100) / 44_100)
    soundfile.write(tmp_path / "a.wav", np.stack([tone, tone], axis=1), 44_100)
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-i", str(tmp_path / "a.wav")]
    subprocess.run([*command, str(tmp_path / "b.m4a")], check=True)
    sounds_digest(settings(tmp_path))
    decoded = RecordedSounds.decoded(SoundFiles.listed(settings(tmp_path)), RATE)
    for samples in decoded.noises:
        assert samples.dtype == np.float32 and abs(len(samples) - RATE) < RATE // 10
        assert np.argmax(np.abs(np.fft.rfft(samples[:RATE]))) == pytest.approx(440, abs=2)


def test_memory_is_bounded_and_the_files_share_it(folder, monkeypatch, caplog):
    caplog.set_level("INFO", "swar.progress")
    monkeypatch.setattr(recorded_sounds, "MOST_SECONDS", 0.8)
    monkeypatch.setattr(recorded_sounds, "MOST_FILES", 2)
    files = SoundFiles.listed(settings(folder, folder))
    decoded = RecordedSounds.decoded(files, RATE)
    for samples, name in zip(decoded.noises, ("a.flac", "b.wav"), strict=True):
        whole, _ = soundfile.read(folder / name, dtype="float32")
        np.testing.assert_array_equal(samples, whole[: round(0.4 * RATE)])
    assert len(decoded.rooms) == 2
    files.log_use()
    assert caplog.messages == [
        "rooms: 2 of 3 files",
        "noises: 2 of 3 files, 0.4 s of each at most",
    ]


@pytest.mark.parametrize("rate", [RATE, 48_000])
def test_a_room_begins_at_its_direct_sound_and_ends_after_two_seconds(tmp_path, rate):
    response = 1e-3 * noise(6.0, rate)
    response[round(1.5 * rate)] = -0.9
    soundfile.write(tmp_path / "hall.wav", response, rate, subtype="FLOAT")
    (room,) = RecordedSounds.decoded(SoundFiles.listed(settings(rooms=tmp_path)), RATE).rooms
    assert room.direct == np.argmax(np.abs(room.response)) == round(0.0025 * RATE)
    assert len(room.response) == room.direct + 2 * RATE
    if rate == RATE:
        first = round(1.5 * RATE) - room.direct
        expected = response.astype(np.float32)[first : first + len(room.response)]
        np.testing.assert_array_equal(room.response, expected)


def test_a_noise_is_drawn_as_a_part_of_it_and_repeated_where_it_is_shorter():
    long, short = np.arange(100, dtype=np.float32), np.arange(200, 208, dtype=np.float32)
    recorded = RecordedSounds(noises=(long, short))
    starts = set()
    for seed in range(300):
        drawn, again = (recorded.draw_noise(20, np.random.default_rng(seed)) for _ in range(2))
        np.testing.assert_array_equal(drawn, again)
        assert drawn.shape == (20,) and drawn.dtype == np.float32
        if drawn[0] >= 200:
            np.testing.assert_array_equal(drawn, np.tile(short, 3)[:20])
        else:
            np.testing.assert_array_equal(drawn, drawn[0] + np.arange(20))
        starts.add(int(drawn[0]))
    assert {0, 80, 200} < starts and max(starts - {200}) == 80


def test_a_relative_folder_is_the_same_folder(folder, monkeypatch):
    absolute = SoundFiles.listed(settings(folder))
    monkeypatch.chdir(folder.parent)
    assert SoundFiles.listed(settings(Path("sounds"))) == absolute
