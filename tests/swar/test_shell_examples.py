"""The shell of every page runs as it stands, a page's blocks one after the other."""

import os
import shutil
import subprocess
from pathlib import Path

import imageio_ffmpeg
import pytest
import soundfile

from tests.serving.support_endpoint import RATE, FakeModel, rest_endpoint, voice
from tests.support_documents import PAGES, code_blocks

EXAMPLES = {page: "".join(code_blocks(page, "sh")) for page in PAGES if code_blocks(page, "sh")}


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
@pytest.mark.parametrize("page", EXAMPLES, ids=lambda page: page.stem)
def test_the_shell_of_a_page_runs(page: Path, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.mp3", voice(180.0, 4.0), RATE)
    soundfile.write(tmp_path / "b.wav", voice(180.0, 4.0, seed=1), RATE, subtype="PCM_16")
    (tmp_path / "ffmpeg").symlink_to(imageio_ffmpeg.get_ffmpeg_exe())
    with rest_endpoint(FakeModel()) as url:
        done = subprocess.run(
            ["bash", "-ec", EXAMPLES[page].replace("http://127.0.0.1:8501", url)],
            cwd=tmp_path,
            env=os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}"},
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.returncode == 0, done.stderr
    assert '"same_speaker": [true]' in done.stdout
