"""The examples of docs/rest.md run as they stand, against a small model."""

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import soundfile

from tests.serving.support_endpoint import ENDPOINTS, RATE, FakeModel, voice

PAGE = (Path(__file__).parents[2] / "docs" / "rest.md").read_text("utf-8")


def examples(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


@pytest.fixture
def recordings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for seed, name in enumerate(("a.wav", "b.wav")):
        soundfile.write(name, voice(180.0, 4.0, seed=seed), RATE, subtype="PCM_16")


@pytest.mark.usefixtures("recordings")
def test_the_python_of_the_page_runs(capsys: pytest.CaptureFixture[str]) -> None:
    namespace: dict[str, Any] = {}
    with ENDPOINTS["rest"](FakeModel()) as url:
        for example in examples("python"):
            exec(example.replace("http://127.0.0.1:8501", url), namespace)
    verified, compared, strictly = capsys.readouterr().out.splitlines()
    assert verified.startswith("True 0.9")
    assert compared == "True"
    assert strictly.startswith("False {")  # the small model's threshold for 1 % is 0.0001


@pytest.mark.usefixtures("recordings")
@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_the_curl_of_the_page_runs() -> None:
    (script,) = (example for example in examples("sh") if "recording()" in example)
    with ENDPOINTS["rest"](FakeModel()) as url:
        script = script.replace("http://127.0.0.1:8501", url)
        done = subprocess.run(["bash", "-ec", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert '"same_speaker": [true]' in done.stdout
