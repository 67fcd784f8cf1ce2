import numpy as np
import pytest
import soundfile

from components.recordings.cleaning import channel_of


@pytest.mark.parametrize(
    ("rate", "expected"), [(4_000, "telephone"), (8_000, "telephone"), (8_001, "wideband")]
)
def test_the_channel_follows_the_files_rate(tmp_path, rate, expected):
    path = tmp_path / "a.wav"
    soundfile.write(path, np.zeros(100), rate)
    assert channel_of(path) == expected


def test_a_file_that_only_ffmpeg_reads_is_of_an_unknown_channel(tmp_path):
    path = tmp_path / "a.m4a"
    path.write_bytes(b"\0\0\0\x20ftypM4A ")
    assert channel_of(path) == "unknown"
